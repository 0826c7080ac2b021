"""Nobody logs in."""

from tests.support.client import Credentials

SETTINGS: dict[str, str] = {}
"""What every server needs: nothing."""


async def sign_in(base_url: str, name: str) -> Credentials:  # noqa: ARG001
    """What a guest presents: nothing. The server chooses the name."""
    return Credentials()
