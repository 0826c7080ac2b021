"""The page that `npm run build` makes in `web/dist`: at `/`, and its files under `/static`."""

import mimetypes
import re
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

DIST = Path(__file__).parents[2] / "web" / "dist"

NOT_BUILT = """\
The page is not built yet. In the folder web, run

    npm ci
    npm run build

and load this address again. Or run "npm run dev" there while you work on the page: it says
where to open it.
"""

HASHED = re.compile(r"-[A-Za-z0-9_-]{8,}\.\w+$")
"""The end of a file name that has a hash of the content, as in `index-BqZ3xY8k.js`."""

FOR_EVER = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"

# Some systems register other types for these. With nosniff, browsers would refuse them.
mimetypes.add_type("text/css", ".css")
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("image/svg+xml", ".svg")


def content_security_policy(trusted_types: Sequence[str]) -> str:
    """A policy under which the page runs nothing but its own scripts.

    Only the policies named in `trusted_types` may turn a string into markup or code.
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
            "trusted-types " + (" ".join(trusted_types) or "'none'"),
        ]
    )


class BuiltFiles(StaticFiles):
    """Files of a build. Browsers keep those that have a hash in their names."""

    async def check_config(self) -> None:
        """The folder may be missing until the page is built."""

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        response = await super().get_response(path, scope)
        is_hashed = HASHED.search(path) is not None
        response.headers["Cache-Control"] = FOR_EVER if is_hashed else REVALIDATE
        return response


def built_client(*, trusted_types: Sequence[str] = ()) -> Callable[[FastAPI], None]:
    """A function that adds the page to an application.

    The page may use the trusted types policies that `trusted_types` names.
    """
    policy = content_security_policy(trusted_types)

    def include_client(app: FastAPI) -> None:
        """Serve the page at `/`, and its files under `/static`."""
        pages = BuiltFiles(directory=DIST, check_dir=False)

        async def page(request: Request) -> Response:
            """The page itself, or what to do when it is not built."""
            try:
                response = await pages.get_response("index.html", request.scope)
            except HTTPException:
                return PlainTextResponse(NOT_BUILT, status_code=503)
            response.headers["Content-Security-Policy"] = policy
            return response

        app.add_api_route("/", page, include_in_schema=False)
        app.mount("/static", BuiltFiles(directory=DIST / "static", check_dir=False))

    return include_client
