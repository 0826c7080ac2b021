"""A page that `npm run build` makes: served at `/`, and its files under `/static`."""

import mimetypes
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles

DIST = Path(__file__).parents[2] / "web" / "dist"

NOT_BUILT = """\
The page is not built yet. In web/, run

    npm ci
    npm run build

and load this address again. Or run "npm run dev" there, which serves the page while you
work on it.
"""

# Some systems register other types for these. With nosniff, browsers would refuse them.
mimetypes.add_type("text/css", ".css")
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("image/svg+xml", ".svg")


def content_security_policy(trusted_types: Sequence[str]) -> str:
    """A policy with which the page runs nothing but its own scripts.

    Only the `trusted_types` policies may turn a string into markup or code.
    """
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            f"trusted-types {' '.join(trusted_types) or "'none'"}",
        ]
    )


class BuiltFiles(StaticFiles):
    """Files whose names change with their content, so that browsers keep them for ever."""

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def built_client(*, trusted_types: Sequence[str] = ()) -> Callable[[FastAPI], None]:
    """What includes the page in an application. The page may use these `trusted_types`."""
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": content_security_policy(trusted_types),
    }

    async def page(_: Request) -> Response:
        """The page itself, or what to do when it is not built."""
        index = DIST / "index.html"
        if not index.is_file():
            return PlainTextResponse(NOT_BUILT, status_code=503)
        return FileResponse(index, headers=headers)

    def include_client(app: FastAPI) -> None:
        """Serve the page at `/`, and its files under `/static`."""
        app.add_api_route("/", page, include_in_schema=False)
        app.mount("/static", BuiltFiles(directory=DIST / "static", check_dir=False))

    return include_client
