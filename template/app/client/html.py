"""The html client: the chat page at `/`, and its files under `/static`."""

import mimetypes
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

# The page runs nothing but its own modules. Trusted types refuse every way to turn a string
# into markup or code.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
}

# Some systems register other types for these. With nosniff, browsers would refuse them.
mimetypes.add_type("text/css", ".css")
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("image/svg+xml", ".svg")


class WebFiles(StaticFiles):
    """Static files, each with the headers of the page."""

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


files = WebFiles(directory=Path(__file__).parents[2] / "web")


def include_client(app: FastAPI) -> None:
    """Serve the page at `/`, and its files under `/static`."""
    app.add_api_route("/", page, include_in_schema=False)
    app.mount("/static", files)


async def page(request: Request) -> Response:
    """The page itself."""
    return await files.get_response("index.html", request.scope)
