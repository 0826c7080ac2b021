"""Log in with a session cookie."""

from tests.support.auth.accounts import log_in
from tests.support.auth.sessions import session_cookie
from tests.support.client import Credentials


async def sign_in(base_url: str, name: str) -> Credentials:
    """The session cookie of a new login, and the Origin that a browser sends with it."""
    cookie = session_cookie(await log_in(base_url, name))
    return Credentials(headers={"Cookie": cookie, "Origin": base_url})
