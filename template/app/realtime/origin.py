"""Which web pages may open a socket.

A browser lets any page open a WebSocket to any server, and sends the cookies of that
server along (cross-site WebSocket hijacking). CORS does not apply. But the browser always
names the page's true origin.
"""

from fastapi import HTTPException, status
from fastapi.requests import HTTPConnection

from app.realtime.settings import RealtimeSettings


async def check_origin(connection: HTTPConnection) -> None:
    """Refuse a handshake from a foreign page with HTTP 403.

    The application's own origin and those in `ALLOWED_ORIGINS` are accepted. A handshake
    without an Origin header does not come from a browser, and is accepted too.
    """
    origin = connection.headers.get("origin")
    if origin is None or origin == own_origin(connection):
        return
    settings: RealtimeSettings = connection.app.state.settings
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
