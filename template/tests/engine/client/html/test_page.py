"""How the chat page is served: complete, with the right types, and under a strict policy."""

import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from app.realtime.replays import Replays
from tests.engine.doubles import TransportSocket, connection
from tests.engine.example.settings import Settings
from tests.support.server import PROJECT, AppServer

WEB = PROJECT / "web"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
TRY_AGAIN = re.compile(r"/(try again .+)/\.exec")
CONSTANT = re.compile(r"^const (\w+) = ([\d_]+);", re.MULTILINE)
IMPORTS = {
    ".js": re.compile(r"""^(?:import|export)\b[^;]*?\bfrom\s+["']([^"']+)["']""", re.MULTILINE),
    ".css": re.compile(r"""^@import\s+["']([^"']+)["']""", re.MULTILINE),
}


class Page(HTMLParser):
    """The files that a page refers to, and what a strict policy would not let it run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        target = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
        if target:
            self.references.append(target)
        elif tag in {"script", "style"}:
            self.inline.append(tag)
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]


def assets() -> list[str]:
    """The files of the page, by their paths in the folder `web`."""
    return sorted(
        path.relative_to(WEB).as_posix() for path in WEB.rglob("*") if path.suffix in TYPES
    )


def policy(response: httpx.Response) -> dict[str, list[str]]:
    directives = response.headers["content-security-policy"].split(";")
    return {name: sources for name, *sources in map(str.split, directives)}


@pytest.fixture
async def page(server: AppServer) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.url) as http:
        return await http.get("/")


async def test_page_is_html_and_always_revalidated(page: httpx.Response) -> None:
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"


async def test_page_answers_head_requests(server: AppServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.head("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.content == b""


async def test_page_has_no_inline_script_or_style(page: httpx.Response) -> None:
    assert Page(page.text).inline == []


async def test_the_folder_has_every_file_that_the_page_needs_and_no_other(
    page: httpx.Response,
) -> None:
    waiting = [reference.removeprefix("static/") for reference in Page(page.text).references]
    needed: set[str] = set()
    while waiting:
        asset = waiting.pop()
        if asset in needed:
            continue
        needed.add(asset)
        if pattern := IMPORTS.get(posixpath.splitext(asset)[1]):
            folder = posixpath.dirname(asset)
            waiting += [
                posixpath.normpath(posixpath.join(folder, name))
                for name in pattern.findall((WEB / asset).read_text(encoding="utf-8"))
            ]
    assert sorted(needed) == assets()


@pytest.mark.parametrize("asset", assets())
async def test_asset_is_served_with_its_type_and_the_policy(server: AppServer, asset: str) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        response = await http.get(f"/static/{asset}")
    assert response.status_code == 200
    assert response.headers["content-type"] == TYPES[Path(asset).suffix]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert policy(response)["default-src"] == ["'none'"]


async def test_policy_allows_only_the_pages_own_files(page: httpx.Response) -> None:
    directives = policy(page)
    assert directives["default-src"] == ["'none'"]
    assert directives["script-src"] == ["'self'"]
    assert directives["style-src"] == ["'self'"]
    assert directives["connect-src"] == ["'self'"]
    assert directives["base-uri"] == ["'none'"]
    assert directives["frame-ancestors"] == ["'none'"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin"


async def test_unchanged_page_is_not_sent_again(server: AppServer, page: httpx.Response) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        again = await http.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pyproject.toml",
        "/static/%2e%2e/pyproject.toml",
        "/static/..%2fpyproject.toml",
        "/static/..%5cpyproject.toml",
        "/static/auth/../../pyproject.toml",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/%00",
        "/static/",
    ],
)
async def test_nothing_outside_the_web_folder_is_served(server: AppServer, path: str) -> None:
    url = httpx.URL(server.url).copy_with(raw_path=path.encode())
    async with httpx.AsyncClient() as http:
        response = await http.get(url)
    assert response.status_code == 404


def test_page_sends_less_than_the_rate_limit() -> None:
    constants = dict(CONSTANT.findall((WEB / "realtime/pace.js").read_text(encoding="utf-8")))
    taken = Settings.model_fields["messages_per_second"].default
    assert int(constants["RATE"]) < taken
    assert int(constants["BURST"]) < 2 * taken


async def test_page_reads_when_the_server_will_replay_again() -> None:
    socket, asking = TransportSocket(), connection()
    asking.start(socket)
    replays = Replays(bytes_per_second=100_000)
    while replays.reserve(asking, "room"):
        pass
    (error,) = socket.given
    (pattern,) = TRY_AGAIN.findall((WEB / "realtime/protocol.js").read_text(encoding="utf-8"))
    found = re.search(pattern, error["detail"])
    assert error["code"] == "rate_limited"
    assert found is not None
    assert 1 <= int(found[1]) <= 3
