"""The page at /asyncapi, which browsers show without a script and without another request."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser

import httpx

from app.realtime.authentication import Authentication
from app.realtime.contract.asyncapi import Server, asyncapi
from app.realtime.contract.page import page
from app.realtime.contract.routes import PAGE_POLICY
from tests.engine.contract.shapes import MESSAGES
from tests.support.server import AppServer

HOSTILE = "</title></style><script>alert(1)</script>\"'&amp;"


async def nobody() -> None:
    """No authentication."""


DOCUMENT = asyncapi("Shapes", "1", MESSAGES, Authentication(nobody), Server("localhost"))


class Reader(HTMLParser):
    """Collects what a page links to, and what it names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


async def test_the_page_loads_nothing(server: AppServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.get("/asyncapi")
    assert answer.status_code == 200
    assert answer.headers["Content-Security-Policy"] == PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY
    reader = Reader(answer.text)
    assert not reader.tags & {"script", "link", "img", "iframe", "form"}
    assert not reader.values("src") + reader.values("style")
    assert {it for it in reader.values("href") if not it.startswith("#")} == {"asyncapi.json"}
    assert "chat.message" in answer.text


async def test_the_documentation_of_the_routes_links_to_it(server: AppServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        document = (await http.get("/openapi.json")).json()
    assert "(asyncapi)" in document["info"]["description"]


def test_every_link_leads_to_one_place() -> None:
    reader = Reader(page(DOCUMENT))
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    targets = {it.removeprefix("#") for it in reader.values("href") if it.startswith("#")}
    assert targets <= set(ids)
    for key in DOCUMENT["components"]["messages"]:
        assert f"message-{key}" in targets
    assert not reader.open
    labels = reader.values("aria-label")
    assert len(labels) == len(set(labels))


def test_hostile_text_stays_text() -> None:
    title = asyncapi(HOSTILE, HOSTILE, MESSAGES, Authentication(nobody), Server(HOSTILE))
    text = page(title)
    assert "script" not in Reader(text).tags
    assert not re.search("<script", text)
    assert "&lt;script&gt;" in text
