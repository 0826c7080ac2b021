"""Sockets open with the session cookie, which browsers send by themselves.

Browsers send it for every page that opens a socket to this server, also for foreign ones:
see `app/realtime/origin.py`. Right for a page that this application serves itself.
"""

from typing import Annotated

from fastapi import Depends, HTTPException, status
from fastapi.requests import HTTPConnection

from app.auth.accounts.live import open_session
from app.auth.accounts.logins import LoggedInUser
from app.auth.accounts.routes import make_router
from app.auth.accounts.settings import AccountSettings as AuthSettings
from app.auth.sessions import COOKIE, SECURE_COOKIE, SessionUser, router
from app.realtime.authentication import Authentication, Security

__all__ = ["AUTHENTICATION", "AuthSettings", "CurrentUser"]


async def authenticate(connection: HTTPConnection, user: SessionUser) -> LoggedInUser:
    """The user whose session the cookie belongs to.

    Raises Unauthenticated without a session, and HTTP 403 for a handshake that has the
    cookie but no Origin. A browser always sends both, so this one does not come from a
    browser.
    """
    if connection.scope["type"] == "websocket" and "origin" not in connection.headers:
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, "A handshake with a cookie needs an Origin header."
        )
    return user


SECURITY = Security(
    "session",
    {
        "type": "httpApiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": f"The cookie that POST /auth/login sets. In production, it is "
        f"{SECURE_COOKIE}. A handshake with it needs an Origin header, too.",
    },
)

AUTHENTICATION = Authentication(
    authenticate,
    routers=[make_router(authenticate, router)],
    open_session=open_session,
    is_sent_by_browsers=True,
    security=SECURITY,
)

CurrentUser = Annotated[LoggedInUser, Depends(authenticate)]
