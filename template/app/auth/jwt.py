"""Sockets open with an access token in the handshake.

It comes in `Authorization: Bearer`, or among the subprotocols, because browsers let scripts
set no headers on a handshake. Right for mobile and desktop apps and other services.
"""

from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from app.auth.accounts.logins import LoggedInUser, LoginStore
from app.auth.accounts.routes import make_router
from app.auth.accounts.settings import AccountSettings as AuthSettings
from app.auth.tokens import BearerToken, Refresh, open_session, router, user_of
from app.realtime.authentication import Authentication, Security
from app.realtime.protocol import SUBPROTOCOL

__all__ = ["AUTHENTICATION", "AuthSettings", "CurrentUser"]

SUBPROTOCOL_PREFIX = "bearer."


async def authenticate(
    connection: HTTPConnection, logins: LoginStore, token: BearerToken
) -> LoggedInUser:
    """The user to whom the access token was issued. Raises BadToken (HTTP 401)."""
    token = token or token_among(connection.scope.get("subprotocols", []))
    return await user_of(token, connection.app.state.settings, logins)


def token_among(subprotocols: list[str]) -> str | None:
    for name in subprotocols:
        if name.startswith(SUBPROTOCOL_PREFIX):
            return name.removeprefix(SUBPROTOCOL_PREFIX)
    return None


SECURITY = Security(
    "accessToken",
    {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token from POST /auth/login. Where a client can't set headers, "
        f"as in browsers, it offers the subprotocols {SUBPROTOCOL} and "
        f"{SUBPROTOCOL_PREFIX} with the token behind it.",
    },
)

AUTHENTICATION = Authentication(
    authenticate,
    routers=[make_router(authenticate, router)],
    messages=[Refresh],
    open_session=open_session,
    security=SECURITY,
)

CurrentUser = Annotated[LoggedInUser, Depends(authenticate)]
