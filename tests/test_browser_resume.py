"""A tab reconnects by itself: real servers, and lines that break."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.app_server import AppServer, serving
from tests.chromium import chromium
from tests.tab import Tab
from tests.template import Combination, render
from tests.wire import Line, wait_until

ROOMS = 45
"""More joins than the server takes in one burst."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def project(folder: Path, **settings: str) -> Path:
    """A project for guests."""
    made = render(folder / "my-chat", Combination("none", "memory", "html"))
    lines = [f"{name}={value}\n" for name, value in settings.items()]
    (made / ".env").write_text("".join(lines))
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with serving(project(tmp_path_factory.mktemp("memory"))) as server:
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


@contextmanager
def two_people(browser: Browser, context: BrowserContext, server: AppServer) -> Iterator[list[Tab]]:
    """Ada in her browser, and Bob in another, in a room of their own."""
    room = token_hex(4)
    with browser.new_context() as other:
        tabs = [Tab(each, server.url, room) for each in (context, other)]
        for tab in tabs:
            tab.enter("a guest")
        yield tabs


def test_a_tab_that_was_cut_off_misses_nothing(
    browser: Browser, context: BrowserContext, server: AppServer
) -> None:
    line = Line(context)
    with two_people(browser, context, server) as (ada, bob):
        bob.send("before")
        ada.expect_messages("before")
        line.cut()
        ada.expect_connection("waiting")
        ada.send("written meanwhile")
        for text in ("one", "two", "three"):
            bob.send(text)
        bob.expect_messages("before", "one", "two", "three")
        line.mend()
        for tab in (ada, bob):
            tab.expect_messages("before", "one", "two", "three", "written meanwhile")
        expect(ada.notices).to_have_count(0)


def test_a_tab_that_was_offline_is_back_at_once(
    browser: Browser, context: BrowserContext, server: AppServer
) -> None:
    context.clock.install()
    with two_people(browser, context, server) as (ada, bob):
        ada.stop_clock()
        context.set_offline(True)
        ada.expect_connection("waiting")
        ada.expect_trouble("This device is offline.")
        ada.send("written meanwhile")
        bob.send("meanwhile")
        bob.expect_messages("meanwhile")
        context.set_offline(False)
        for tab in (ada, bob):
            tab.expect_messages("meanwhile", "written meanwhile")
        expect(ada.notices).to_have_count(0)


def test_a_message_whose_acknowledgement_was_lost_is_not_sent_again(
    browser: Browser, context: BrowserContext, server: AppServer
) -> None:
    line = Line(context)
    with two_people(browser, context, server) as (ada, bob):
        line.is_deaf = True
        ada.send("once")
        bob.expect_messages("once")
        ada.expect_state("once", "pending")
        line.cut()
        line.mend()
        ada.expect_messages("once")
        ada.send("and then")
        for tab in (ada, bob):
            tab.expect_messages("once", "and then")
        # Ada is another guest now, with another id.
        expect(ada.page.locator(".own .text")).to_have_text(["once", "and then"])
        published = [m["data"] for m in line.sent if m["type"] == "publish"]
        assert published == [{"text": "once"}, {"text": "and then"}]


def test_many_rooms_are_entered_no_faster_than_the_server_allows(
    context: BrowserContext, server: AppServer
) -> None:
    names = [f"{token_hex(4)}-{number}" for number in range(ROOMS)]
    context.add_init_script(f"sessionStorage.setItem('rooms', '{json.dumps(names)}')")
    line = Line(context)
    tab = Tab(context, server.url, names[-1])
    tab.enter("a guest")
    wait_until(tab.page, lambda: line.count("joined") == ROOMS)
    line.cut()
    tab.expect_connection("waiting")
    tab.send("written meanwhile")
    line.mend()
    wait_until(tab.page, lambda: line.count("joined") == 2 * ROOMS)
    tab.expect_messages("written meanwhile")
    assert line.count("error") == 0
    # The room on display comes first.
    joins = [m["room"] for m in line.sent if m["type"] == "join"]
    assert joins[0] == joins[ROOMS] == names[-1]


def test_a_message_too_big_for_the_server_stays_in_the_log(
    context: BrowserContext, tmp_path: Path
) -> None:
    with serving(project(tmp_path, MAX_FRAME_BYTES="2000")) as server:
        tab = Tab(context, server.url)
        tab.enter("a guest")
        tab.send("before")
        tab.expect_messages("before")
        big = "big" * 1000
        tab.send(big)
        for _ in range(2):
            tab.expect_state(big, "failed")
            expect(tab.page.locator(".delivery").last).to_contain_text("is too big for the server.")
            tab.expect_connection("open")
            tab.page.locator(".retry").click()
        tab.expect_state(big, "failed")
        tab.send("after")
        tab.page.locator(".discard").click()
        tab.expect_log("before", "after")
        tab.expect_messages("before", "after")
        expect(tab.notices).to_have_count(0)


def test_a_page_that_finds_the_server_full_tries_again(browser: Browser, tmp_path: Path) -> None:
    with (
        serving(project(tmp_path, MAX_CONNECTIONS="1")) as server,
        browser.new_context() as context,
        browser.new_context() as other,
    ):
        Tab(context, server.url).enter("a guest")
        late = Tab(other, server.url)
        late.expect_connection("waiting")
        late.expect_trouble("does not accept the connection")
        context.close()
        late.expect_connection("open")
