"""`/asyncapi.json`, and `/asyncapi`: a page that shows it."""

from base64 import b64encode
from hashlib import sha256

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from app.realtime.contract.asyncapi import Server
from app.realtime.contract.page import STYLE, page
from app.realtime.origin import own_origin

router = APIRouter(include_in_schema=False)

STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()

# The page has no script, and one style sheet that is in it.
PAGE_POLICY = "; ".join(
    [
        "default-src 'none'",
        f"style-src 'sha256-{STYLE_HASH}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


@router.get("/asyncapi.json")
async def document(request: Request) -> Response:
    """The AsyncAPI document."""
    return JSONResponse(request.app.asyncapi(server_of(request)))


@router.get("/asyncapi")
async def show(request: Request) -> Response:
    """The document as a page."""
    headers = {"Content-Security-Policy": PAGE_POLICY}
    return HTMLResponse(page(request.app.asyncapi(server_of(request))), headers=headers)


def server_of(request: Request) -> Server:
    """Where the client reaches the application."""
    scheme, _, host = own_origin(request).partition("://")
    path: str = request.scope.get("root_path", "")
    return Server(host, scheme == "https", path.rstrip("/"))
