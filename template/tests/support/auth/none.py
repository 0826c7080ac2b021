"""Nobody logs in."""

from tests.support.client import Credentials

SETTINGS: dict[str, str] = {}
"""The settings that every server needs for this style: none."""


async def sign_in(base_url: str, name: str) -> Credentials:  # noqa: ARG001
    """A guest presents nothing. The server chooses the name."""
    return Credentials()
