"""A tab that was away comes back by itself, and its person misses nothing in silence."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import pytest
from playwright.sync_api import Browser, BrowserContext, expect
from websockets.sync.client import connect

from tests.app_server import PATIENCE, AppServer, serving
from tests.chromium import chromium
from tests.redis_server import redis_folder
from tests.tab import MISSED, Tab
from tests.template import Combination, render
from tests.wire import Line, ScriptedServer, plant, wait_until

ROOMS = 45
"""More than the server takes messages in one burst."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def project(folder: Path, broker: str, **settings: str) -> Path:
    """A project for guests."""
    made = render(folder / "my-chat", Combination("none", broker, "html"))
    lines = [f"{name}={value}\n" for name, value in settings.items()]
    (made / ".env").write_text("".join(lines))
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with serving(project(tmp_path_factory.mktemp("memory"), "memory")) as server:
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


# --- Real servers, and lines that break ---------------------------------------


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
        # From here on no timer helps.
        context.clock.pause_at(ada.page.evaluate("Date.now()") / 1000 + 1)
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
        # As a guest, Ada has another name now.
        expect(ada.page.locator(".own .text")).to_have_text(["once", "and then"])
        assert [m["text"] for m in line.sent if m["type"] == "publish"] == ["once", "and then"]


def test_many_rooms_are_entered_at_a_pace_that_the_server_takes(
    context: BrowserContext, server: AppServer
) -> None:
    names = [f"{token_hex(4)}-{number}" for number in range(ROOMS)]
    context.add_init_script(f"sessionStorage.setItem('rooms', '{json.dumps(names)}')")
    line = Line(context)
    tab = Tab(context, server.url, names[-1])
    for connections in (1, 2):
        tab.enter("a guest")
        tab.send(f"message {connections}")
        wait_until(
            tab.page,
            lambda all_of_them=connections * ROOMS: (
                len([m for m in line.received if m["type"] == "joined"]) == all_of_them
            ),
        )
        tab.expect_state(f"message {connections}", "sent")
        line.cut()
        tab.expect_connection("waiting")
        line.mend()
    assert [m for m in line.received if m["type"] == "error"] == []
    joins = [m["room"] for m in line.sent if m["type"] == "join"]
    assert joins[0] == joins[ROOMS] == names[-1]


@contextmanager
def redis() -> Iterator[str]:
    """The URL of a Redis server that keeps nothing on disk."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [redis_folder() / "redis-server", "--port", str(port), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def publish(server: AppServer, room: str, *texts: str) -> None:
    """Say something in a room of this server, as a client that is no browser."""
    with connect(f"{server.url.replace('http', 'ws')}ws") as socket:
        socket.send(json.dumps({"type": "join", "room": room}))
        for text in texts:
            socket.send(json.dumps({"type": "publish", "room": room, "id": text, "text": text}))
        acknowledged = 0
        while acknowledged < len(texts):
            message = json.loads(socket.recv(PATIENCE))
            acknowledged += message["type"] == "message" and message["text"] in texts


def test_a_server_that_restarts_loses_nothing_that_redis_has(
    context: BrowserContext, tmp_path: Path
) -> None:
    with redis() as url:
        made = project(tmp_path, "redis", BROKER_URL=url)
        with serving(made) as server, serving(made) as other:
            tab = Tab(context, server.url)
            tab.enter("a guest")
            publish(other, "lobby", "before")
            tab.expect_messages("before")
            server.stop()
            tab.expect_connection("waiting")
            tab.send("written meanwhile")
            publish(other, "lobby", "one", "two", "three")
            server.start()
            tab.expect_messages("before", "one", "two", "three", "written meanwhile")
            expect(tab.notices).to_have_count(0)


def test_a_page_that_finds_the_server_full_tries_again(browser: Browser, tmp_path: Path) -> None:
    with serving(project(tmp_path, "memory", MAX_CONNECTIONS="1")) as server:
        with browser.new_context() as context, browser.new_context() as other:
            Tab(context, server.url).enter("a guest")
            late = Tab(other, server.url)
            late.expect_connection("waiting")
            late.expect_trouble("does not accept the connection")
            context.close()
            late.expect_connection("open")


# --- A server whose every word is the test's ----------------------------------


@pytest.fixture
def script(context: BrowserContext) -> ScriptedServer:
    """What speaks to the tab in place of its server."""
    context.clock.install()
    return ScriptedServer(context)


@pytest.fixture
def tab(context: BrowserContext, script: ScriptedServer, server: AppServer) -> Tab:
    """A tab that has entered an empty room."""
    tab = Tab(context, server.url)
    enter(script)
    return tab


def enter(script: ScriptedServer) -> None:
    script.accept()
    assert script.hears("join") == {"room": "lobby"}
    script.says_joined(0)


def since(offset: int) -> dict[str, object]:
    """A join that asks for what came after this."""
    return {"room": "lobby", "since": {"epoch": "e1", "offset": offset}}


def test_a_replay_that_breaks_off_goes_on_where_it_stopped(
    script: ScriptedServer, tab: Tab
) -> None:
    script.says("resync", room="lobby", epoch="e1", offset=7)
    assert script.hears("join") == since(0)
    script.says_joined(10, recovered=False)
    assert script.hears("join") == {"room": "lobby"}
    script.says_joined(10)
    script.says_message(8, "eight")
    script.says_message(9, "nine")
    tab.expect_log(MISSED, "eight", "nine")
    script.close(1006)
    tab.wake()
    script.accept()
    assert script.hears("join") == since(9)
    script.says_joined(11, recovered=True)
    script.says_message(10, "ten")
    script.close(1012)
    tab.wake()
    script.accept()
    assert script.hears("join") == since(10)
    script.says_joined(11, recovered=True)
    script.says_message(11, "eleven")
    script.says_message(12, "twelve")
    tab.expect_log(MISSED, "eight", "nine", "ten", "eleven", "twelve")


def test_what_can_not_be_filled_in_is_announced_once(script: ScriptedServer, tab: Tab) -> None:
    for offset in (1, 2):
        script.says_message(offset, f"message {offset}")
    script.says("resync", room="lobby", epoch="e1", offset=40)
    script.says_message(41, "too early to have a place")
    assert script.hears("join") == since(2)
    script.says_joined(41, recovered=False)
    assert script.hears("join") == {"room": "lobby"}
    script.says_error("unavailable")
    tab.page.clock.run_for(2_000)
    assert script.hears("join") == {"room": "lobby"}
    script.says_joined(42)
    script.says_message(2, "message 2")
    for offset in (40, 41, 42, 43):
        script.says_message(offset, f"message {offset}")
    before = ["message 1", "message 2", MISSED, "It is unavailable."]
    tab.expect_log(*before, "message 40", "message 41", "message 42", "message 43")


def test_a_gap_is_filled_in(script: ScriptedServer, tab: Tab) -> None:
    script.says_message(1, "one")
    script.says_message(4, "four")
    script.says_message(5, "five")
    assert script.hears("join") == since(1)
    script.says_joined(5, recovered=True)
    # The third can't be read by anybody.
    for offset, text in ((2, "two"), (4, "four"), (5, "five"), (6, "six")):
        script.says_message(offset, text)
    tab.expect_log("one", "two", "four", "five", "six")
    script.hears_nothing()


def test_nothing_is_shown_twice(script: ScriptedServer, tab: Tab) -> None:
    script.says_message(1, "one")
    script.says_message(1, "one")
    script.says_message(1, "another at the same place")
    script.says_message(2, "two")
    script.says_message(3, "two")
    script.says_message(4, "four")
    tab.expect_log("one", "two", "four")
    script.hears_nothing()


def test_a_message_is_sent_once_when_all_that_was_missed_is_there(
    script: ScriptedServer, tab: Tab
) -> None:
    tab.send("taken")
    tab.send("not taken")
    taken, lost = (script.hears("publish") for _ in range(2))
    script.close(1006)
    tab.wake()
    script.accept(user="ada-again")
    assert script.hears("join") == since(0)
    script.says_joined(3, recovered=True)
    script.says_message(1, "one")
    script.says_message(2, "taken", sender="ada", id=taken["id"])
    tab.expect_messages("one", "taken")
    script.hears_nothing()
    # The last one can't be read by anybody: the answer to a ping is the end.
    script.says("pong")
    assert script.hears("publish") == lost
    script.says_message(4, "not taken", sender="ada-again", id=lost["id"])
    tab.expect_messages("one", "taken", "not taken")
    script.hears_nothing()


def test_a_message_that_is_there_already_counts_as_sent(script: ScriptedServer, tab: Tab) -> None:
    tab.send("taken")
    message = script.hears("publish")
    script.close(1006)
    tab.wake()
    script.accept(user="ada-again")
    script.hears("join")
    script.says_joined(0, recovered=True)
    assert script.hears("publish") == message
    script.says_error("invalid", message["id"])
    tab.expect_messages("taken")
    script.says_message(1, "taken", sender="ada", id=message["id"])
    script.says_message(2, "two")
    tab.expect_log("taken", "two")


def test_a_message_that_failed_is_sent_again_on_demand(script: ScriptedServer, tab: Tab) -> None:
    for text in ("first", "second"):
        tab.send(text)
        script.says_error("unavailable", script.hears("publish")["id"])
        tab.expect_state(text, "failed")
    tab.page.locator(".retry").first.click()
    first = script.hears("publish")
    assert first["text"] == "first"
    second = tab.page.locator(".message").filter(has_text="second").get_attribute("data-id")
    script.says_message(1, "first", sender="ada", id=first["id"])
    # It had been taken after all.
    script.says_message(2, "second", sender="ada", id=second)
    tab.expect_log("first", "second")
    tab.expect_messages("first", "second")
    script.hears_nothing()


def test_who_is_asked_to_slow_down_pauses_and_keeps_the_order(
    script: ScriptedServer, tab: Tab
) -> None:
    for text in ("one", "two", "three"):
        tab.send(text)
    one, two, three = (script.hears("publish") for _ in range(3))
    script.says_error("rate_limited", two["id"])
    script.says_error("rate_limited", three["id"])
    script.says_message(1, "one", sender="ada", id=one["id"])
    tab.page.clock.run_for(1_000)
    script.hears_nothing()
    tab.page.clock.run_for(1_000)
    assert [script.hears("publish") for _ in range(2)] == [two, three]
    for offset, message in ((2, two), (3, three)):
        script.says_message(offset, message["text"], sender="ada", id=message["id"])
    tab.expect_messages("one", "two", "three")
    script.close(1006)
    tab.wake()
    script.accept()
    assert script.hears("join") == since(3)
    script.says_error("rate_limited")
    tab.page.clock.run_for(2_000)
    assert script.hears("join") == since(3)
    expect(tab.notices).to_have_count(0)


def test_a_message_that_nobody_confirms_does_not_wait_for_ever(
    script: ScriptedServer, tab: Tab
) -> None:
    script.answer_pings = True
    tab.send("is anybody there?")
    message = script.hears("publish")
    tab.page.clock.run_for(21_000)
    tab.expect_state("is anybody there?", "failed")
    tab.expect_connection("open")
    script.says_message(1, message["text"], sender="ada", id=message["id"])
    tab.expect_messages(message["text"])


@pytest.mark.parametrize("event", ["visibilitychange", "resume", "pageshow", "sleep"])
def test_a_page_that_wakes_looks_whether_the_server_is_there(
    script: ScriptedServer, tab: Tab, event: str
) -> None:
    script.says_message(1, "before")
    tab.expect_messages("before")
    if event == "sleep":
        tab.page.clock.fast_forward(3600_000)
    else:
        tab.page.evaluate("event => document.dispatchEvent(new Event(event, {bubbles: true}))", event)
    tab.page.clock.run_for(6_000)
    tab.wake()
    script.accept()
    assert script.hears("join") == since(1)


def test_a_page_that_was_kept_for_the_back_button_comes_back(
    script: ScriptedServer, tab: Tab
) -> None:
    tab.page.clock.pause_at(tab.page.evaluate("Date.now()") / 1000 + 1)
    tab.wake("pagehide")
    tab.expect_connection("waiting")
    tab.wake("pageshow")
    script.accept()
    assert script.hears("join") == since(0)


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [
        (1008, "closed", "it may have sent too much"),
        (1012, "waiting", "The server is restarting."),
        (1013, "waiting", "too slow for it"),
    ],
)
def test_a_close_code_is_explained(
    script: ScriptedServer, tab: Tab, code: int, state: str, words: str
) -> None:
    tab.page.clock.pause_at(tab.page.evaluate("Date.now()") / 1000 + 1)
    script.close(code)
    tab.expect_connection(state)
    tab.expect_trouble(words)
    tab.page.locator("#reconnect").click()
    script.accept()
    assert script.hears("join") == since(0)


# --- The same promises are broken by faults that are planted ------------------


@pytest.mark.parametrize(
    ("promise", "path", "old", "new"),
    [
        (
            test_a_replay_that_breaks_off_goes_on_where_it_stopped,
            "static/room.js",
            "    this.#joinedAt = { epoch, offset };",
            "    this.#joinedAt = this.#position = { epoch, offset };",
        ),
    ],
)
def test_a_fault_of_the_page_is_found(
    context: BrowserContext,
    server: AppServer,
    promise: Callable[[ScriptedServer, Tab], None],
    path: str,
    old: str,
    new: str,
) -> None:
    plant(context, server.url, path, old, new)
    context.clock.install()
    script = ScriptedServer(context, patience=1.5)
    tab = Tab(context, server.url, patience=1.5)
    enter(script)
    with pytest.raises(AssertionError):
        promise(script, tab)
