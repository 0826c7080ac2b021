"""The settings of this application, from environment variables and `.env`.

This file is yours. `.env.example` explains the settings that are there already.
"""

from app.auth import AuthSettings
from app.realtime import read_settings


class Settings(AuthSettings):
    """Add your own here: `stripe_key: SecretStr` is read from STRIPE_KEY."""


def load_settings() -> Settings:
    """Read the settings. Raises SystemExit with a sentence for each bad value."""
    return read_settings(Settings)
