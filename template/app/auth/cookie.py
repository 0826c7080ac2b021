"""Sockets open with the session cookie, which browsers send by themselves.

So they do for any page that opens a socket to this server, whoever wrote it: see
`origin.py`. Right for a page that this application serves itself.
"""

from fastapi import HTTPException, status
from fastapi.requests import HTTPConnection

from app.auth.logins import LoggedInUser
from app.auth.sessions import SessionUser, router

__all__ = ["authenticate", "router"]


async def authenticate(connection: HTTPConnection, user: SessionUser) -> LoggedInUser:
    """Whose session the cookie belongs to.

    Raises Unauthenticated without a session, and HTTP 403 for a handshake that has the
    cookie but no Origin: a browser always sends both, so nothing vouches for where
    this one comes from.
    """
    if connection.scope["type"] == "websocket" and "origin" not in connection.headers:
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, "A handshake with a cookie needs an Origin header."
        )
    return user
