"""The security headers of every HTTP response."""

import httpx
import pytest
from fastapi import FastAPI, Response

from app.auth import AUTHENTICATION
from app.realtime import Application
from app.realtime.server.headers import DATA_POLICY, DOCS_POLICY, HEADERS
from tests.engine.example import events, handlers
from tests.engine.example.main import create_app
from tests.engine.example.permissions import may
from tests.engine.example.settings import Settings
from tests.support.auth import SETTINGS
from tests.support.server import AppServer, StartServer


def make_app(**settings: str) -> FastAPI:
    """An application with a route that fails. No server runs it."""
    needed = {name.lower(): value for name, value in SETTINGS.items()}
    app = create_app(Settings.model_validate({**needed, **settings}))

    @app.get("/fails")
    async def fails() -> None:
        raise LookupError("what only developers should see")

    return app


async def get(app: FastAPI, path: str, base_url: str = "http://chat.example") -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as http:
        return await http.get(path)


def assert_headers(answer: httpx.Response, policy: str = DATA_POLICY) -> None:
    for name, value in {**HEADERS, "Content-Security-Policy": policy}.items():
        assert answer.headers.get_list(name) == [value], (answer.url, name)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/nothing", 404),
        ("GET", "/ws", 404),
        ("POST", "/healthz", 405),
    ],
)
async def test_every_response_has_the_headers(
    server: AppServer, method: str, path: str, status: int
) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.request(method, path)
    assert answer.status_code == status
    assert_headers(answer)


async def test_a_response_to_an_error_has_the_headers() -> None:
    answer = await get(make_app(), "/fails")
    assert answer.status_code == 500
    assert_headers(answer)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
async def test_the_documentation_may_load_its_scripts_and_cannot_be_framed(
    server: AppServer, path: str
) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.get(path)
    assert answer.status_code == 200
    assert_headers(answer, DOCS_POLICY)
    for source in ("https://cdn.jsdelivr.net", "'unsafe-inline'"):
        assert source in DOCS_POLICY


DOCUMENTS = ["/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"]


@pytest.mark.parametrize(
    "path", [*DOCUMENTS, "/docs/", "/redoc/", "/asyncapi", "/asyncapi.json", "/asyncapi/"]
)
async def test_the_documentation_is_closed_in_production(path: str) -> None:
    nothing = await get(make_app(environment="production"), "/nothing")
    answer = await get(make_app(environment="production"), path)
    assert (answer.status_code, answer.content) == (404, nothing.content)
    assert_headers(answer, DATA_POLICY)


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"environment": "production", "docs_open": "true"}, 200),
        ({"environment": "development"}, 200),
        ({"environment": "development", "docs_open": "false"}, 404),
    ],
)
async def test_a_setting_opens_and_closes_the_documentation(
    settings: dict[str, str], status: int
) -> None:
    for path in DOCUMENTS:
        answer = await get(make_app(**settings), path)
        is_page = status == 200 and path != "/openapi.json"
        assert answer.status_code == status
        assert_headers(answer, DOCS_POLICY if is_page else DATA_POLICY)


async def test_closed_documentation_stays_closed_whatever_the_application_says() -> None:
    settings = Settings.model_validate({"docs_open": "false"})
    app = Application(
        settings=settings,
        authentication=AUTHENTICATION,
        events=events,
        handlers=handlers,
        may=may,
        openapi_url="/schema",
        docs_url="/documentation",
    )
    for path in ("/schema", "/documentation"):
        assert (await get(app, path)).status_code == 404


async def test_a_response_keeps_the_headers_that_it_sets_itself() -> None:
    app = make_app()

    @app.get("/framed")
    async def framed(response: Response) -> None:
        response.headers["X-Frame-Options"] = "SAMEORIGIN"

    assert (await get(app, "/framed")).headers.get_list("X-Frame-Options") == ["SAMEORIGIN"]


@pytest.mark.parametrize(
    ("environment", "scheme", "expected"),
    [
        ("production", "https", "max-age=31536000"),
        ("production", "http", None),
        ("development", "https", None),
        ("development", "http", None),
    ],
)
async def test_https_is_required_in_production_and_over_https_only(
    environment: str, scheme: str, expected: str | None
) -> None:
    answer = await get(make_app(environment=environment), "/healthz", f"{scheme}://chat.example")
    assert answer.headers.get("Strict-Transport-Security") == expected


async def test_a_request_by_https_through_a_listed_proxy_counts_as_https(
    start_server: StartServer,
) -> None:
    server = await start_server(ENVIRONMENT="production")
    async with httpx.AsyncClient(base_url=server.url) as http:
        plain = await http.get("/healthz")
        proxied = await http.get("/healthz", headers={"X-Forwarded-Proto": "https"})
    assert "Strict-Transport-Security" not in plain.headers
    assert proxied.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_a_traceback_is_shown_with_debug_only() -> None:
    for debug, is_shown in (("true", True), ("false", False)):
        answer = await get(make_app(debug=debug), "/fails")
        assert answer.status_code == 500
        assert ("what only developers should see" in answer.text) is is_shown
