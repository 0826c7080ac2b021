"""Two tabs of a real browser and a real server, with each style of authentication."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from secrets import token_hex

import pytest
from playwright.sync_api import Browser, expect

from tests.app_server import AppServer, serving
from tests.chromium import chromium
from tests.tab import MISSED, Tab
from tests.template import Combination, choices, render
from tests.wire import plant

MARKUP = '<img src=x onerror="alert(1)"><script>alert(2)</script><b>bold</b> {{ 7*7 }}'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def serving_auth(auth: str, factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    project = render(factory.mktemp(auth) / "my-chat", Combination(auth, "memory", "html"))
    with serving(project) as server:
        yield server


@pytest.fixture(scope="module", params=choices("auth"))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AppServer]:
    """A server for each style of auth."""
    yield from serving_auth(request.param, tmp_path_factory)


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """A server without accounts."""
    yield from serving_auth("none", tmp_path_factory)


@contextmanager
def two_people(
    browser: Browser,
    server: AppServer,
    fault: tuple[str, str, str] | None = None,
) -> Iterator[list[Tab]]:
    """A tab for each, in a room of their own, in browsers that share nothing."""
    room, patience = token_hex(4), 15 if fault is None else 1.5
    with browser.new_context() as one, browser.new_context() as other:
        if fault is not None:
            for context in (one, other):
                plant(context, server.url, *fault)
        yield [Tab(context, server.url, room, patience) for context in (one, other)]


def enter(*tabs: Tab) -> list[str]:
    """All enter, each under a unique name. Returns the names that the page shows."""
    return [tab.enter(f"{name}-{tab.room}") for name, tab in zip(("ada", "bob"), tabs, strict=True)]


def exchange(ada: Tab, bob: Tab) -> None:
    names = enter(ada, bob)
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
    enter(ada, bob)
    ada.send(MARKUP)
    for tab in (ada, bob):
        tab.expect_messages(MARKUP)
        expect(tab.messages.locator("img, script, b")).to_have_count(0)
        assert not tab.problems


def outlive_a_restart(ada: Tab, bob: Tab, server: AppServer) -> None:
    enter(ada, bob)
    ada.send("before")
    bob.expect_messages("before")
    server.stop()
    for tab in (ada, bob):
        tab.expect_connection("waiting")
    ada.send("written meanwhile")
    server.start()
    for tab in (ada, bob):
        tab.expect_connection("open")
    ada.expect_state("written meanwhile", "sent")
    bob.send("and now")
    # The history of the server is gone, so messages may be missing.
    for tab in (ada, bob):
        tab.expect_log("before", MISSED, "written meanwhile", "and now")


def test_two_people_exchange_messages_and_find_them_again(
    browser: Browser, server: AppServer
) -> None:
    with two_people(browser, server) as (ada, bob):
        exchange(ada, bob)
        name = ada.page.locator("#user").inner_text()
        ada.page.reload()
        ada.expect_messages("Good morning, Bob", "Good morning, Ada")
        expect(ada.notices).to_have_count(0)
        # After a reload, a guest is another user.
        is_same = ada.page.locator("#user").inner_text() == name
        own = ada.messages.and_(ada.page.locator(".own")).locator(".text")
        expect(own).to_have_text(["Good morning, Bob"] if is_same else [])


def test_two_tabs_of_one_person_exchange_messages(browser: Browser, server: AppServer) -> None:
    room = token_hex(4)
    with browser.new_context() as context:
        first = Tab(context, server.url, room)
        names = {first.enter(f"ada-{room}")}
        # With accounts, the second tab finds the session of the first one.
        second = Tab(context, server.url, room)
        names.add(second.enter(f"bob-{room}"))
        first.expect_members(*names)
        for tab, text in ((first, "from the first tab"), (second, "from the second tab")):
            tab.send(text)
            for reader in (first, second):
                expect(reader.messages.get_by_text(text)).to_be_visible()
                assert not reader.problems


def test_markup_in_a_message_is_shown_as_text(browser: Browser, server: AppServer) -> None:
    with two_people(browser, server) as (ada, bob):
        exchange_markup(ada, bob)


def test_a_tab_shows_who_is_typing_in_another(browser: Browser, guests: AppServer) -> None:
    with two_people(browser, guests) as (ada, bob):
        name = enter(ada, bob)[1]
        bob.page.locator("#text").press_sequentially("Good morning")
        ada.expect_typing(f"{name} is typing…")
        bob.page.locator("#text").press("Enter")
        ada.expect_messages("Good morning")
        ada.expect_typing("")
        bob.expect_typing("")
        for tab in (ada, bob):
            assert not tab.problems


def test_the_page_reconnects_after_a_restart(browser: Browser, guests: AppServer) -> None:
    with two_people(browser, guests) as (ada, bob):
        outlive_a_restart(ada, bob, guests)


# --- Faults that are planted make these steps fail ------------------------------


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        (
            exchange,
            (
                "static/realtime/connection.js",
                "    this.#listeners.onMessage(message);",
                '    if (message.type !== "message") this.#listeners.onMessage(message);',
            ),
        ),
        (exchange, ("", "</body>", "<script>document.title = 1;</script></body>")),
        (exchange, ("", "</body>", '<p style="color: red">red</p></body>')),
        (
            exchange_markup,
            (
                "static/message.js",
                "text.append(...content(entry));",
                "text.innerHTML = textOf(entry);",
            ),
        ),
        (
            outlive_a_restart,
            (
                "static/realtime/connection.js",
                "setTimeout(() => void this.connect(), delay);",
                "0;",
            ),
        ),
    ],
    ids=["lost", "inline script", "inline style", "markup", "no reconnection"],
)
def test_a_fault_of_the_page_is_found(
    browser: Browser,
    guests: AppServer,
    steps: Callable[..., None],
    fault: tuple[str, str, str],
) -> None:
    with two_people(browser, guests, fault) as tabs:
        more = [guests] if steps is outlive_a_restart else []
        with pytest.raises(AssertionError):
            steps(*tabs, *more)
