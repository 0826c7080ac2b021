"""People in browsers that share nothing, who use the chat page of a project."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex

from playwright.sync_api import Browser

from tests.app_server import AppServer, serving
from tests.tab import Tab
from tests.template import Combination, render
from tests.web_build import build
from tests.wire import plant

API_KEY = "a key of the server API that is long enough"


@contextmanager
def serving_page(folder: Path, combination: Combination) -> Iterator[AppServer]:
    """A project with its page, which is built if it must be, and the server API."""
    project = render(folder / "my-chat", combination)
    (project / ".env").write_text(f"API_KEYS={API_KEY}\n")
    build(project)
    with serving(project) as server:
        yield server


@contextmanager
def two_people(
    browser: Browser, server: AppServer, fault: tuple[str, str, str] | None = None
) -> Iterator[list[Tab]]:
    """A tab for each, in a room of their own. The page may get a fault."""
    room, patience = token_hex(4), 15 if fault is None else 1.5
    with ExitStack() as stack:
        contexts = [stack.enter_context(browser.new_context()) for _ in range(2)]
        for context in contexts:
            if fault is not None:
                plant(context, server.url, *fault)
        yield [Tab(context, server.url, room, patience) for context in contexts]


def enter(*tabs: Tab) -> list[str]:
    """All enter, each under a unique name. Returns the names that the page shows."""
    return [tab.enter(f"{name}-{tab.room}") for name, tab in zip(("ada", "bob"), tabs, strict=True)]


def publish(server: AppServer, room: str, *texts: str) -> None:
    """Publish messages in the name of the application."""
    for text in texts:
        body = {"room": room, "event": "chat.message", "data": {"text": text}}
        request = urllib.request.Request(  # noqa: S310
            f"{server.url}api/publish",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request):  # noqa: S310
            pass
