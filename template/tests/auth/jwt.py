"""Log in with a bearer token."""

from tests.auth.accounts import log_in
from tests.client import Credentials


async def sign_in(base_url: str, name: str) -> Credentials:
    """What a client sends after a login."""
    token = (await log_in(base_url, name)).json()["access_token"]
    return Credentials(headers={"Authorization": f"Bearer {token}"})
