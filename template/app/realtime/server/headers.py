"""Security headers for every HTTP response.

A response that sets one of these headers itself keeps its own. Handshakes get none, because
browsers ignore them there.
"""

from collections.abc import Awaitable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

# Most responses are data. Displayed as a page, they must load and run nothing.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"

# Swagger UI and ReDoc come from a CDN and start with an inline script.
DOCS_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'unsafe-inline' https://cdn.jsdelivr.net",
        "style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com",
        "font-src https://fonts.gstatic.com",
        "img-src data: https://fastapi.tiangolo.com https://cdn.redoc.ly",
        "connect-src 'self'",
        "worker-src blob:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)

DOCS = {"/docs", "/docs/oauth2-redirect", "/redoc"}

STRICT_TRANSPORT_SECURITY = "max-age=31536000"
"""For a year, browsers use nothing but HTTPS for this host."""


class SecurityHeaders:
    """The middleware around everything else, so that error responses have the headers too.

    With `is_production`, responses over HTTPS tell browsers to use only HTTPS. With
    `has_docs`, the pages in `DOCS` may load what they need.
    """

    def __init__(self, app: ASGIApp, *, is_production: bool, has_docs: bool) -> None:
        self._app = app
        self._is_production = is_production
        self._docs = DOCS if has_docs else set()

    # Not a coroutine, because it would stay in memory as long as its socket.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(scope, MutableHeaders(scope=message))
            await send(message)

        return self._app(scope, receive, send_with_headers)

    def _add(self, scope: Scope, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        policy = DOCS_POLICY if scope["path"] in self._docs else DATA_POLICY
        headers.setdefault("Content-Security-Policy", policy)
        if self._is_production and scope["scheme"] == "https":
            headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY)
