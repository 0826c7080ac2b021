"""Cross-origin requests (CORS): which other pages may read what the application answers.

A browser lets a page read answers of another origin only if they name the page's origin.
https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Awaitable, Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

PATHS = ("/auth/", "/api/", "/healthz")
"""What such pages may read: these routes of the engine, and those below them."""


class CrossOrigin:
    """Lets pages of `origins` read the answers of `PATHS`.

    With `with_credentials`, their requests may carry what browsers send by themselves.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str], *, with_credentials: bool) -> None:
        self._app = app
        self._shared = CORSMiddleware(
            app,
            allow_origins=sorted(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"],
            allow_credentials=with_credentials,
            expose_headers=["Retry-After"],
        )

    # Not a coroutine, because it would stay in memory as long as its socket.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and is_shared(scope):
            return self._shared(scope, receive, send)
        return self._app(scope, receive, send)


def is_shared(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.startswith(PATHS)
