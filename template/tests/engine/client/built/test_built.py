"""How a built page is served: under a strict policy, and cached as far as that is safe."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.auth import AUTHENTICATION
from app.client import built, include_client
from app.realtime import Application
from tests.engine.example import events, handlers
from tests.engine.example.permissions import may
from tests.engine.example.settings import Settings

PAGE = '<!doctype html><title>Chat</title><script type="module" src="./static/a.js"></script>'
SCRIPT = "static/index-BqZ3_-8k.js"
IMMUTABLE = "public, max-age=31536000, immutable"


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page is built to. Nothing is there yet."""
    folder = tmp_path / "web" / "dist"
    monkeypatch.setattr(built, "DIST", folder)
    return folder


@pytest.fixture
def app(dist: Path) -> FastAPI:  # noqa: ARG001 - the application serves that folder
    app = Application(
        title="chat",
        settings=Settings(),
        authentication=AUTHENTICATION,
        events=events,
        handlers=handlers,
        may=may,
    )
    include_client(app)
    return app


@pytest_asyncio.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://chat.example"
    ) as http:
        yield http


def build(dist: Path) -> None:
    """Leave what a build leaves, and a file beside it that is not the page's."""
    files = {
        "index.html": PAGE,
        SCRIPT: "export {};",
        "static/index-C0ffee00.css": "p {}",
        "static/icon-DeadBeef.svg": "<svg/>",
        "static/icon.svg": "<svg/>",
        "../secret.txt": "secret",
    }
    for name, content in files.items():
        path = dist / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def policy(response: httpx.Response) -> dict[str, list[str]]:
    directives = response.headers["content-security-policy"].split(";")
    return {name: sources for name, *sources in map(str.split, directives)}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_page_that_is_not_built_says_what_to_run(
    http: httpx.AsyncClient, method: str
) -> None:
    answer = await http.request(method, "/")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "npm run build" in built.NOT_BUILT
    assert answer.text == (built.NOT_BUILT if method == "GET" else "")


async def test_there_are_no_files_before_the_page_is_built(http: httpx.AsyncClient) -> None:
    assert (await http.get(f"/{SCRIPT}")).status_code == 404


async def test_the_page_is_served_as_soon_as_it_is_built(
    http: httpx.AsyncClient, dist: Path
) -> None:
    assert (await http.get("/")).status_code == 503
    assert (await http.get(f"/{SCRIPT}")).status_code == 404
    build(dist)
    assert (await http.get("/")).text == PAGE
    assert (await http.get(f"/{SCRIPT}")).text == "export {};"


async def test_page_is_html_and_always_revalidated(http: httpx.AsyncClient, dist: Path) -> None:
    build(dist)
    page = await http.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    again = await http.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["cache-control"] == "no-cache"


async def test_page_answers_head_requests(http: httpx.AsyncClient, dist: Path) -> None:
    build(dist)
    head, get = await http.head("/"), await http.get("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == get.headers


async def test_policy_allows_only_the_pages_own_files(http: httpx.AsyncClient, dist: Path) -> None:
    build(dist)
    page = await http.get("/")
    directives = policy(page)
    assert directives["default-src"] == ["'none'"]
    assert directives["script-src"] == ["'self'"]
    assert directives["style-src"] == ["'self'"]
    assert directives["connect-src"] == ["'self'"]
    assert directives["base-uri"] == ["'self'"]
    assert directives["frame-ancestors"] == ["'none'"]
    assert directives["require-trusted-types-for"] == ["'script'"]
    assert directives["trusted-types"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("trusted_types", "allowed"), [([], ["'none'"]), (["one", "two"], ["one", "two"])]
)
def test_policy_names_the_trusted_types(trusted_types: list[str], allowed: list[str]) -> None:
    policy = built.content_security_policy(trusted_types)
    assert policy.endswith(f"; trusted-types {' '.join(allowed)}")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        (SCRIPT, "text/javascript; charset=utf-8"),
        ("static/index-C0ffee00.css", "text/css; charset=utf-8"),
        ("static/icon-DeadBeef.svg", "image/svg+xml"),
    ],
)
async def test_files_with_a_hash_in_their_names_are_kept(
    http: httpx.AsyncClient, dist: Path, path: str, content_type: str
) -> None:
    build(dist)
    file = await http.get(f"/{path}")
    assert file.status_code == 200
    assert file.headers["content-type"] == content_type
    assert file.headers["cache-control"] == IMMUTABLE
    assert file.headers["x-content-type-options"] == "nosniff"
    assert policy(file)["default-src"] == ["'none'"]
    again = await http.get(f"/{path}", headers={"If-None-Match": file.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, IMMUTABLE)


async def test_other_files_are_revalidated(http: httpx.AsyncClient, dist: Path) -> None:
    build(dist)
    assert (await http.get("/static/icon.svg")).headers["cache-control"] == "no-cache"


async def test_what_is_missing_is_not_cached(http: httpx.AsyncClient, dist: Path) -> None:
    build(dist)
    missing = await http.get("/static/index-Missing0.js")
    assert missing.status_code == 404
    assert "cache-control" not in missing.headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../index.html",
        "/static/%2e%2e/index.html",
        "/static/../../secret.txt",
        "/static/%2e%2e/%2e%2e/secret.txt",
        "/static/..%2f..%2fsecret.txt",
        "/static/..%5c..%5csecret.txt",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/%00",
        "/static/",
        "/index.html",
    ],
)
async def test_nothing_outside_the_folder_is_served(app: FastAPI, dist: Path, path: str) -> None:
    build(dist)
    url = httpx.URL("http://chat.example").copy_with(raw_path=path.encode())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        assert (await http.get(url)).status_code == 404
