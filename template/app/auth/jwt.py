"""Sockets open with an access token on the handshake.

It comes as `Authorization: Bearer`, or with the subprotocols, for browsers let scripts
set no headers on a handshake. Right for mobile, desktop and other services.
"""

from fastapi.requests import HTTPConnection

from app.auth.logins import LoggedInUser, LoginStore
from app.auth.tokens import BearerToken, router, user_of

__all__ = ["authenticate", "router"]

SUBPROTOCOL_PREFIX = "bearer."


async def authenticate(
    connection: HTTPConnection, logins: LoginStore, token: BearerToken
) -> LoggedInUser:
    """Whom the access token was issued to. Raises BadToken (HTTP 401)."""
    token = token or token_among(connection.scope.get("subprotocols", []))
    return await user_of(token, connection.app.state.settings, logins)


def token_among(subprotocols: list[str]) -> str | None:
    for name in subprotocols:
        if name.startswith(SUBPROTOCOL_PREFIX):
            return name.removeprefix(SUBPROTOCOL_PREFIX)
    return None
