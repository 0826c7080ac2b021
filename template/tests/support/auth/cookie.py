"""Log in with a session cookie."""

from tests.support.auth.accounts import log_in
from tests.support.client import Credentials


async def sign_in(base_url: str, name: str) -> Credentials:
    """The session cookie of a new login, and the Origin that a browser sends with it."""
    session = (await log_in(base_url, name)).cookies["session"]
    return Credentials(headers={"Cookie": f"session={session}", "Origin": base_url})
