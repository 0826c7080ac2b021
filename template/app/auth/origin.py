"""Which web pages may open a socket.

A browser lets any page open a WebSocket to any server and sends the cookies of
that server along (cross-site WebSocket hijacking), and CORS does not apply. What
it can't do is lie about the page's origin.
"""

from fastapi import HTTPException, status
from fastapi.requests import HTTPConnection

from app.settings import Settings


async def check_origin(connection: HTTPConnection) -> None:
    """Refuse a handshake from a foreign page with HTTP 403.

    The application's own origin and those in `ALLOWED_ORIGINS` may enter. A
    handshake without an Origin header is not from a browser; it may enter too.
    """
    origin = connection.headers.get("origin")
    if origin is None or origin == own_origin(connection):
        return
    settings: Settings = connection.app.state.settings
    if origin not in settings.allowed_origins:
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, "This origin is not listed in ALLOWED_ORIGINS."
        )


def own_origin(connection: HTTPConnection) -> str:
    """The origin of a page that this application serves itself.

    Its scheme is what the proxy names in X-Forwarded-Proto, if FORWARDED_ALLOW_IPS lists
    the proxy, and its host and port are those of the Host header.
    """
    is_secure = connection.scope["scheme"] in ("https", "wss")
    scheme, default_port = ("https", ":443") if is_secure else ("http", ":80")
    # Browsers leave the default port out of an origin; some proxies write it into Host.
    return f"{scheme}://{connection.headers.get('host', '').removesuffix(default_port)}"
