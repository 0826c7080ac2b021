"""Log in, and say in the client's terms why that is not possible."""

import httpx

from client.auth.accounts.http import Refused, post
from client.credentials import Unreachable
from client.errors import Unauthenticated

TOO_MANY = 429


async def log_in(server: str, username: str, password: str) -> httpx.Response:
    """The answer to a login.

    Raises Unauthenticated without a password or for a wrong one, and Unreachable.
    """
    if not password:
        raise Unauthenticated(401, "The login has ended: log in again.")
    try:
        return await post(server, "auth/login", {"username": username, "password": password})
    except Refused as refusal:
        if refusal.status == TOO_MANY:
            raise Unreachable(str(refusal)) from None
        raise Unauthenticated(refusal.status, str(refusal)) from None
