"""Nobody logs in."""

from tests.client import Credentials

SETTINGS: dict[str, str] = {}
"""What every server needs for it: nothing."""


async def sign_in(base_url: str, name: str) -> Credentials:  # noqa: ARG001
    """What a guest presents: nothing. The server picks the name."""
    return Credentials()
