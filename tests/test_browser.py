"""Two tabs of a real browser talk through a real server, whatever the style of auth."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.app_server import AppServer, serving
from tests.chromium import chromium
from tests.tab import Tab
from tests.template import Combination, choices, render

MARKUP = '<img src=x onerror="alert(1)"><script>alert(2)</script><b>bold</b> {{ 7*7 }}'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(params=choices("auth"))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AppServer]:
    """A server for each style of auth, with nobody in it yet."""
    project = render(tmp_path / "my-chat", Combination(request.param, "memory", "html"))
    with serving(project) as server:
        yield server


@contextmanager
def two_people(browser: Browser, server: AppServer, patience: float = 30) -> Iterator[list[Tab]]:
    """A tab each, in browsers that share nothing."""
    with browser.new_context() as one, browser.new_context() as other:
        yield [Tab(context, server.url, patience) for context in (one, other)]


def exchange(ada: Tab, bob: Tab) -> None:
    names = [ada.enter("ada"), bob.enter("bob")]
    for tab in (ada, bob):
        tab.expect_members(*names)
    ada.send("Good morning, Bob")
    bob.expect_messages("Good morning, Bob")
    bob.send("Good morning, Ada")
    for tab in (ada, bob):
        tab.expect_messages("Good morning, Bob", "Good morning, Ada")
        expect(tab.messages.locator(".sender")).to_have_text(names)
        assert not tab.problems


def exchange_markup(ada: Tab, bob: Tab) -> None:
    ada.enter("ada")
    bob.enter("bob")
    ada.send(MARKUP)
    for tab in (ada, bob):
        tab.expect_messages(MARKUP)
        expect(tab.messages.locator("img, script, b")).to_have_count(0)
        assert not tab.problems


def outlive_a_restart(ada: Tab, bob: Tab, server: AppServer) -> None:
    ada.enter("ada")
    bob.enter("bob")
    server.stop()
    for tab in (ada, bob):
        tab.expect_connection("waiting")
    ada.send("written meanwhile")
    server.start()
    ada.expect_connection("open")
    ada.expect_messages("written meanwhile")
    bob.expect_connection("open")
    ada.send("and now")
    expect(bob.messages.get_by_text("and now")).to_be_visible()


def test_two_people_exchange_messages(browser: Browser, server: AppServer) -> None:
    with two_people(browser, server) as (ada, bob):
        exchange(ada, bob)


def test_two_tabs_of_one_person_exchange_messages(browser: Browser, server: AppServer) -> None:
    with browser.new_context() as context:
        first, second = Tab(context, server.url), Tab(context, server.url)
        # Where the browser keeps who is logged in, the second tab asks for nobody.
        names = {first.enter("ada"), second.enter("ada-again")}
        first.expect_members(*names)
        for tab, text in ((first, "from the first tab"), (second, "from the second tab")):
            tab.send(text)
            for reader in (first, second):
                expect(reader.messages.get_by_text(text)).to_be_visible()
                assert not reader.problems


def test_markup_in_a_message_is_shown_as_text(browser: Browser, server: AppServer) -> None:
    with two_people(browser, server) as (ada, bob):
        exchange_markup(ada, bob)


def test_the_page_connects_again_after_a_restart(browser: Browser, server: AppServer) -> None:
    with two_people(browser, server) as (ada, bob):
        outlive_a_restart(ada, bob, server)


# --- The same steps find a fault that is planted ------------------------------


@pytest.mark.parametrize(
    ("steps", "file", "old", "new"),
    [
        (
            exchange,
            "web/connection.js",
            'if (message.type !== "pong") this.#onMessage(message);',
            'if (message.type !== "message") this.#onMessage(message);',
        ),
        (exchange, "web/index.html", "</body>", "<script>document.title = 1;</script></body>"),
        (exchange, "web/index.html", "</body>", '<p style="color: red">red</p></body>'),
        (exchange_markup, "web/log.js", "text.textContent = entry", "text.innerHTML = entry"),
        (outlive_a_restart, "web/connection.js", "() => this.connect());\n", "() => {});\n"),
    ],
    ids=["lost", "inline script", "inline style", "markup", "no reconnection"],
)
def test_a_fault_of_the_page_is_found(
    browser: Browser, tmp_path: Path, steps: Callable[..., None], file: str, old: str, new: str
) -> None:
    project = render(tmp_path / "my-chat", Combination("none", "memory", "html"))
    text = (project / file).read_text()
    assert text.count(old) == 1
    (project / file).write_text(text.replace(old, new))
    with serving(project) as server, two_people(browser, server, patience=3) as tabs:
        more = [server] if steps is outlive_a_restart else []
        with pytest.raises(AssertionError):
            steps(*tabs, *more)
