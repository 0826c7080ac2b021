"""HEAD is answered wherever GET is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.realtime.server.headers import DATA_POLICY
from tests.engine.example.main import create_app
from tests.engine.example.settings import Settings
from tests.support.server import AppServer


@pytest.fixture
def app() -> FastAPI:
    return create_app(Settings())


async def ask(app: ASGIApp, method: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://chat.example"
    ) as http:
        return await http.request(method, path)


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/redoc"]
)
async def test_head_has_the_headers_of_get_and_no_body(server: AppServer, path: str) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        await server.wait_for_status("/readyz", 200)
        head, get = await http.head(path), await http.get(path)
        # Over the same connection: a body would be taken for the next answer.
        again = await http.head(path)
    for answer in (head, again):
        assert (answer.status_code, answer.content) == (get.status_code, b"")
        assert answer.headers.keys() == get.headers.keys()
        assert answer.headers["Content-Type"] == get.headers["Content-Type"]
    if path != "/metrics":  # each answer counts for the next one
        assert head.headers["Content-Length"] == get.headers["Content-Length"]


async def test_routes_of_the_owner_answer_head_with_the_status_of_get(app: FastAPI) -> None:
    router = APIRouter(prefix="/orders")

    @router.get("/{number}")
    async def order(number: int, response: Response) -> str:
        response.headers["X-Number"] = str(number)
        return "an order"

    app.include_router(router)
    answer = await ask(app, "HEAD", "/orders/7")
    assert (answer.status_code, answer.headers["X-Number"]) == (200, "7")
    assert (answer.content, answer.headers["Content-Length"]) == (b"", str(len('"an order"')))
    assert answer.headers["Content-Security-Policy"] == DATA_POLICY
    assert (await ask(app, "HEAD", "/orders/seven")).status_code == 422
    assert (await ask(app, "HEAD", "/nothing")).status_code == 404


async def test_mounted_files_and_applications_answer_head(app: FastAPI, tmp_path: Path) -> None:
    inner = FastAPI()

    @inner.get("/inside")
    async def inside() -> str:
        return "inside"

    (tmp_path / "page.txt").write_text("a page")
    app.mount("/inner", inner)
    app.mount("/", StaticFiles(directory=tmp_path))
    for path, length in (("/inner/inside", 8), ("/page.txt", 6), ("/healthz", 15)):
        answer = await ask(app, "HEAD", path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Content-Length"] == str(length)


async def test_a_route_that_takes_head_itself_answers_it(app: FastAPI) -> None:
    @app.get("/upload")
    async def read() -> str:
        raise AssertionError("HEAD has a route of its own")

    @app.head("/upload")
    async def position(response: Response) -> None:
        response.headers["Upload-Offset"] = "70"

    assert (await ask(app, "HEAD", "/upload")).headers["Upload-Offset"] == "70"


class Parts(Response):
    """A response that does not notice when it has ended."""

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for more in (True, True, False):
            await send({"type": "http.response.body", "body": b"part", "more_body": more})


async def test_a_body_in_parts_is_ended_once_and_not_produced_for_ever(app: FastAPI) -> None:
    stopped = asyncio.Event()

    async def numbers() -> AsyncIterator[str]:
        try:
            while True:
                yield "and so on"
                await asyncio.sleep(0)
        finally:
            stopped.set()

    @app.get("/stream")
    async def stream() -> Response:
        return StreamingResponse(numbers())

    @app.get("/parts")
    async def parts() -> Response:
        return Parts()

    for path in ("/stream", "/parts"):
        sent: list[str] = []
        async with asyncio.timeout(5):
            answer = await ask(recorded(app, sent), "HEAD", path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert sent == ["http.response.start", "http.response.body"]
    assert stopped.is_set()


def recorded(app: ASGIApp, sent: list[str]) -> ASGIApp:
    """The application, and in `sent` the types of the messages that it sends."""

    async def with_record(scope: Scope, receive: Receive, send: Send) -> None:
        async def record(message: Message) -> None:
            sent.append(message["type"])
            await send(message)

        await app(scope, receive, record)

    return with_record


async def test_middleware_of_the_owner_sees_each_request_once(app: FastAPI) -> None:
    seen: list[tuple[str, int]] = []

    @app.middleware("http")
    async def log(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        seen.append((request.method, response.status_code))
        return response

    await ask(app, "HEAD", "/healthz")
    assert seen == [("HEAD", 200)]


async def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(app: FastAPI) -> None:
    @app.post("/orders")
    async def order() -> None: ...

    for method, path, allowed in (
        ("POST", "/healthz", "GET, HEAD"),
        ("GET", "/orders", "POST"),
        ("HEAD", "/orders", "POST"),
    ):
        answer = await ask(app, method, path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
