"""The chat page of each client, as people use it: the same scenarios for all of them.

They run with a real server and a real browser, with each style of authentication.
"""

import itertools
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from secrets import token_hex
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, expect

from tests.app_server import AppServer
from tests.axe import barriers
from tests.chromium import chromium
from tests.matrix import IS_FULL
from tests.people import enter, publish, serving_page, two_people
from tests.tab import MISSED, Tab
from tests.template import Combination, choices

CLIENTS = [client for client in choices("client") if client not in {"python", "none"}]

EVERY = [Combination(auth, "memory", client) for client in CLIENTS for auth in choices("auth")]

STYLES = dict(zip(CLIENTS, ("cookie", "jwt", "ticket", "first_message"), strict=True))
"""The style of authentication with which the long scenarios run, by the client."""

ONE_EACH = EVERY if IS_FULL else [it for it in EVERY if it.auth == STYLES[it.client]]

SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]

HOSTILE = [
    '<img src=x onerror="alert(1)"><script>alert(2)</script><b>bold</b> {{ 7*7 }} ${7*7}',
    "javascript:alert(1) data:text/html,<script>alert(2)</script>",
    "\u202egnp.exe \u2066 isolated \u2069 https://evil.example/\u202emoc.elpmaxe.knab",
    "شكرا جزيلا، إلى اللقاء غدا!",
    "x" * 4096,
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L" * 20,
    '<a href="javascript:alert(1)">[a](javascript:alert(1))</a>',
]

on_every_page = pytest.mark.parametrize("server", EVERY, indirect=True, ids=str)
on_each_client = pytest.mark.parametrize("server", ONE_EACH, indirect=True, ids=str)
with_accounts = pytest.mark.parametrize(
    "server", [it for it in ONE_EACH if it.auth != "none"], indirect=True, ids=str
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AppServer]:
    """A server of a project with this page."""
    combination: Combination = request.param
    with serving_page(tmp_path_factory.mktemp(str(combination)), combination) as server:
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


@pytest.fixture
def people(browser: Browser, server: AppServer) -> Iterator[list[Tab]]:
    """Ada and Bob, each in a browser of their own, in a room of their own."""
    with two_people(browser, server) as tabs:
        yield tabs
        for tab in tabs:
            assert not tab.problems


# --- Messages -----------------------------------------------------------------


@on_every_page
def test_two_people_enter_and_chat(people: list[Tab]) -> None:
    ada, bob = people
    names = enter(ada, bob)
    for tab in people:
        tab.expect_members(*names)
    ada.send("Good morning, Bob")
    bob.expect_messages("Good morning, Bob")
    bob.send("Good morning, Ada")
    for tab in people:
        tab.expect_messages("Good morning, Bob", "Good morning, Ada")
        expect(tab.messages.locator(".sender")).to_have_text(names)
        expect(tab.page.locator(".day")).to_have_text(["Today"])
    own = [tab.page.locator(".own .text") for tab in people]
    expect(own[0]).to_have_text(["Good morning, Bob"])
    expect(own[1]).to_have_text(["Good morning, Ada"])


@on_each_client
def test_who_was_offline_gets_what_was_missed(people: list[Tab]) -> None:
    ada, bob = people
    enter(ada, bob)
    bob.send("before")
    ada.expect_messages("before")
    ada.page.context.set_offline(True)
    ada.expect_connection("waiting")
    ada.expect_trouble("This device is offline.")
    ada.send("written meanwhile")
    ada.expect_state("written meanwhile", "pending")
    for text in ("one", "two"):
        bob.send(text)
    bob.expect_messages("before", "one", "two")
    ada.page.context.set_offline(False)
    for tab in people:
        tab.expect_messages("before", "one", "two", "written meanwhile")
    expect(ada.notices).to_have_count(0)
    forget_failed_requests(ada)


@on_each_client
def test_the_page_comes_back_when_the_server_was_killed(
    people: list[Tab], server: AppServer
) -> None:
    ada, bob = people
    enter(ada, bob)
    ada.send("before")
    bob.expect_messages("before")
    server.kill()
    for tab in people:
        tab.expect_connection("waiting")
        expect(tab.page.locator("#connection")).to_have_text("Reconnecting…")
        expect(tab.page.get_by_role("button", name="Try now")).to_be_visible()
    ada.send("written meanwhile")
    server.start()
    for tab in people:
        tab.expect_connection("open")
    ada.expect_state("written meanwhile", "sent")
    bob.send("and now")
    # The history of the server is gone, so messages may be missing.
    for tab in people:
        tab.expect_log("before", MISSED, "written meanwhile", "and now")
        forget_failed_requests(tab)


@with_accounts
def test_who_logs_in_again_finds_everything_as_it_was(
    context: BrowserContext, server: AppServer
) -> None:
    tab = Tab(context, server.url, token_hex(4))
    name = tab.enter(f"ada-{token_hex(4)}")
    context.set_offline(True)
    tab.expect_connection("waiting")
    with closing(sqlite3.connect(server.project / "app.db")) as database, database:
        database.execute("DELETE FROM logins")
    tab.send("written meanwhile")
    tab.page.locator("#text").fill("a draft")
    context.set_offline(False)
    tab.wake()
    tab.expect_login_form("Your session has ended. Log in again.")
    expect(tab.page.locator("#username")).to_have_value(name)
    tab.fill_in(name)
    tab.expect_messages("written meanwhile")
    expect(tab.page.locator("#text")).to_have_value("a draft")
    tab.page.get_by_role("button", name="Log out").click()
    tab.expect_login_form("You have logged out.")


@on_each_client
def test_hostile_texts_stay_texts(people: list[Tab]) -> None:
    ada, bob = people
    enter(ada, bob)
    for text in HOSTILE:
        ada.send(text)
    for tab in people:
        tab.expect_messages(*HOSTILE)
        foreign = tab.messages.locator("img, script, b, [onerror], a[href^='javascript']")
        expect(foreign).to_have_count(0)
        expect(tab.page.locator(".text a")).to_have_text(["https://evil.example/"])
        assert fits(tab)


@on_each_client
def test_a_link_is_a_link(people: list[Tab]) -> None:
    ada, bob = people
    enter(ada, bob)
    ada.send("See https://example.org/a?b=c, or (http://example.net/).")
    links = bob.messages.locator("a")
    expect(links).to_have_text(["https://example.org/a?b=c", "http://example.net/"])
    expect(links.first).to_have_attribute("href", "https://example.org/a?b=c")
    for link in links.all():
        expect(link).to_have_attribute("target", "_blank")
        expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    bob.expect_messages("See https://example.org/a?b=c, or (http://example.net/).")


@on_each_client
def test_the_page_shows_who_is_typing(people: list[Tab]) -> None:
    ada, bob = people
    name = enter(ada, bob)[1]
    bob.page.locator("#text").press_sequentially("Good morning")
    ada.expect_typing(f"{name} is typing…")
    bob.page.locator("#text").press("Enter")
    ada.expect_messages("Good morning")
    ada.expect_typing("")
    bob.expect_typing("")


# --- Rooms --------------------------------------------------------------------


def go_to(tab: Tab, room: str) -> None:
    """Enter a room through the form."""
    tab.page.get_by_label("Go to a room").fill(room)
    tab.page.get_by_label("Go to a room").press("Enter")
    expect(tab.page.locator("#room-title")).to_have_text(room)


def room_names(tab: Tab) -> Locator:
    return tab.page.locator("#rooms .name")


@on_each_client
def test_rooms_are_entered_and_left(people: list[Tab]) -> None:
    ada, bob = people
    names = enter(ada, bob)
    other = f"{ada.room}:other"
    ada.send("in the first room")
    go_to(ada, other)
    expect(room_names(ada)).to_have_text([ada.room, other])
    ada.expect_members(names[0])
    ada.expect_messages()
    expect(ada.page.get_by_text("Nothing has been written here lately.")).to_be_visible()
    expect(ada.page.get_by_role("link", name=other)).to_have_attribute("aria-current", "page")
    ada.page.locator("#text").fill("a draft")
    ada.page.get_by_role("link", name=re.compile(f"^{ada.room}( |$)")).click()
    ada.expect_messages("in the first room")
    ada.expect_members(*names)
    expect(ada.page.locator("#text")).to_have_value("")
    ada.page.get_by_role("link", name=other).click()
    expect(ada.page.locator("#text")).to_have_value("a draft")
    ada.page.get_by_role("button", name=f"Leave {other}", exact=True).click()
    expect(room_names(ada)).to_have_text([ada.room])
    expect(ada.page.locator("#room-title")).to_have_text(ada.room)
    ada.page.get_by_label("Go to a room").fill("not a room!")
    ada.page.get_by_label("Go to a room").press("Enter")
    expect(ada.page.locator("#room-error")).to_contain_text("A room's name is")
    go_to(ada, other)
    ada.page.reload()
    expect(room_names(ada)).to_have_text([ada.room, other])
    ada.page.get_by_role("button", name=f"Leave {ada.room}", exact=True).click()
    bob.expect_members(names[1])


@on_each_client
def test_unread_messages_are_counted_and_marked(people: list[Tab]) -> None:
    ada, bob = people
    enter(ada, bob)
    bob.send("seen")
    ada.expect_messages("seen")
    go_to(ada, f"{ada.room}-other")
    item = ada.page.locator(f'[data-room="{ada.room}"]')
    expect(item.locator(".badge")).to_be_hidden()
    for text in ("one", "two"):
        bob.send(text)
    expect(item.locator(".badge")).to_have_text("2 unread")
    expect(ada.page).to_have_title("(2) my-chat")
    item.get_by_role("link").click()
    ada.expect_messages("seen", "one", "two")
    expect(item.locator(".badge")).to_be_hidden()
    expect(ada.page).to_have_title("my-chat")
    entries = ada.page.locator("#messages > .unread, #messages .text")
    expect(entries).to_have_text(["seen", "New messages", "one", "two"])
    go_to(ada, f"{ada.room}-other")
    item.get_by_role("link").click()
    expect(ada.page.locator("#messages > .unread")).to_have_count(0)


# --- The past -----------------------------------------------------------------

HISTORY = [f"message {number}" for number in range(1, 181)]
"""Several pages of messages."""

TOP = "node => node.getBoundingClientRect().top"

SCROLL_TO = """(log, top) => {
    log.scrollTop = top;
    return log.querySelector(".message .text").getBoundingClientRect().top;
}"""
"""Scroll the log, and find out where its first message is then."""


@on_each_client
def test_earlier_messages_appear_where_the_reader_scrolls(
    context: BrowserContext, server: AppServer
) -> None:
    room = token_hex(4)
    publish(server, room, *HISTORY)
    tab = Tab(context, server.url, room)
    tab.enter(f"ada-{room}")
    log, earlier = tab.page.locator("#log"), tab.page.locator("#earlier")
    expect(tab.page.get_by_text(HISTORY[-1], exact=True)).to_be_in_viewport()
    expect(earlier).to_have_text("Earlier messages")
    tops = itertools.cycle((0, 100))
    while (count := tab.messages.count()) < len(HISTORY):
        oldest = tab.page.get_by_text(tab.messages.locator(".text").first.inner_text(), exact=True)
        # The reader sees the oldest message when the earlier ones come.
        before = log.evaluate(SCROLL_TO, next(tops))
        expect(tab.messages).not_to_have_count(count)
        expect(oldest).to_be_in_viewport()
        assert oldest.evaluate(TOP) - before == pytest.approx(0, abs=2)
    tab.expect_messages(*HISTORY)
    expect(earlier).to_be_hidden()
    expect(tab.page.locator(".day")).to_have_count(1)
    assert not tab.problems


@on_each_client
def test_earlier_messages_can_be_asked_for(context: BrowserContext, server: AppServer) -> None:
    room = token_hex(4)
    publish(server, room, *HISTORY[:90])
    tab = Tab(context, server.url, room)
    tab.enter(f"ada-{room}")
    expect(tab.page.get_by_text(HISTORY[89], exact=True)).to_be_visible()
    tab.page.get_by_role("button", name="Earlier messages").press("Enter")
    tab.expect_messages(*HISTORY[:90])
    assert not tab.problems


@on_each_client
def test_who_reads_the_past_stays_there(people: list[Tab], server: AppServer) -> None:
    ada, bob = people
    publish(server, ada.room, *HISTORY[:45])
    enter(ada, bob)
    expect(ada.messages).to_have_count(45)
    ada.page.locator("#log").press("Home")
    first = ada.page.get_by_text(HISTORY[0], exact=True)
    expect(first).to_be_in_viewport()
    bob.send("one")
    expect(ada.page.get_by_role("button", name="1 new message", exact=True)).to_be_visible()
    bob.send("two")
    more = ada.page.get_by_role("button", name="2 new messages", exact=True)
    expect(more).to_be_visible()
    expect(first).to_be_in_viewport()
    more.click()
    expect(ada.page.get_by_text("two", exact=True)).to_be_in_viewport()
    expect(more).to_be_hidden()
    # Who is at the end stays at the end.
    bob.send("three")
    expect(ada.page.get_by_text("three", exact=True)).to_be_in_viewport()


# --- For everybody ------------------------------------------------------------


def fits(tab: Tab) -> bool:
    """Whether nothing makes the page wider than its window."""
    wide: bool = tab.page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return not wide


@on_each_client
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious(
    browser: Browser, server: AppServer, scheme: Literal["light", "dark"]
) -> None:
    room = token_hex(4)
    publish(server, room, *HISTORY[:60])
    with browser.new_context(color_scheme=scheme) as context:
        tab = Tab(context, server.url, room)
        tab.page.locator("#account:not([hidden]), #chat:not([hidden])").first.wait_for()
        assert barriers(tab.page) == []
        tab.enter(f"ada-{room}")
        tab.send("see https://example.org/")
        tab.expect_state("see https", "sent")
        go_to(tab, f"{room}-other")
        publish(server, room, "unread")
        expect(tab.page.locator(".badge:visible")).to_have_text("1 unread")
        assert barriers(tab.page) == []
        tab.page.get_by_role("link", name=re.compile(f"^{room} ")).click()
        expect(tab.page.locator("li.unread")).to_be_visible()
        context.set_offline(True)
        tab.expect_connection("waiting")
        tab.send("waits")
        tab.expect_state("waits", "pending")
        assert barriers(tab.page) == []
        tab.page.set_viewport_size({"width": 390, "height": 700})
        tab.page.locator("#open-panel").click()
        expect(tab.page.get_by_label("Go to a room")).to_be_visible()
        assert barriers(tab.page) == []


@on_each_client
def test_the_page_is_used_with_a_keyboard_only(context: BrowserContext, server: AppServer) -> None:
    room = token_hex(4)
    tab = Tab(context, server.url, room)
    page, press = tab.page, tab.page.keyboard.press
    page.locator("#account:not([hidden]), #chat:not([hidden])").first.wait_for()
    if page.locator("#account").is_visible():
        tab_to(tab, page.get_by_role("button", name="No account yet? Register"))
        press("Enter")
        expect(page.locator("#username")).to_be_focused()
        page.keyboard.type(f"ada-{room}")
        press("Tab")
        page.keyboard.type(f"a long password {room}")
        press("Enter")
    tab.expect_connection("open")
    tab_to(tab, page.get_by_label("Go to a room"))
    page.keyboard.type(f"{room}-other")
    press("Enter")
    expect(page.locator("#room-title")).to_have_text(f"{room}-other")
    tab_to(tab, page.get_by_role("button", name="Skip to the message field"))
    press("Enter")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("one line")
    press("Shift+Enter")
    page.keyboard.type("and another")
    press("Enter")
    tab.expect_messages("one line\nand another")
    tab_to(tab, page.locator("#log"))
    tab_to(tab, page.get_by_role("button", name=f"Leave {room}-other", exact=True))
    press("Space")
    expect(page.locator("#room-title")).to_have_text(room)
    assert not tab.problems


def tab_to(tab: Tab, target: Locator, most: int = 60) -> None:
    """Press Tab until this has the focus."""
    for _ in range(most):
        if target.evaluate("node => node === document.activeElement"):
            return
        tab.page.keyboard.press("Tab")
    raise AssertionError(f"{target} can't be reached")


@on_each_client
def test_the_page_fits_a_phone(browser: Browser, server: AppServer) -> None:
    room = token_hex(4)
    with browser.new_context(
        viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True
    ) as context:
        tab = Tab(context, server.url, room)
        tab.enter(f"ada-{room}")
        tab.send("A message that is long enough for more than one line on a phone. " * 3)
        expect(tab.messages).to_have_count(1)
        assert fits(tab)
        for name in ("#room-title", "#open-panel", "#text", "#send"):
            expect(tab.page.locator(name)).to_be_in_viewport(ratio=1)
        tab.page.locator("#open-panel").tap()
        go_to(tab, f"{room}-other")
        expect(tab.page.locator("#panel")).to_be_hidden()
        assert fits(tab)


@on_each_client
def test_dark_and_light_differ(browser: Browser, server: AppServer) -> None:
    found = []
    with browser.new_context() as context:
        page = context.new_page()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.goto(server.url)
            found.append(
                page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            )
    assert found == ["rgb(244, 245, 248)", "rgb(18, 20, 27)"]


def forget_failed_requests(tab: Tab) -> None:
    """Without a network or a server, Chromium logs each request that failed."""
    tab.problems[:] = [it for it in tab.problems if "net::ERR" not in it]
