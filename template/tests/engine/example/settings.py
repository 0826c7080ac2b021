"""The settings of the example: those of the engine and of authentication."""

from app.auth import AuthSettings
from app.realtime import read_settings


class Settings(AuthSettings):
    """The example has no settings of its own."""


def load_settings() -> Settings:
    """Read the settings. Raises SystemExit with a sentence for each bad value."""
    return read_settings(Settings)
