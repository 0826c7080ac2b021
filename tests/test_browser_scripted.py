"""What a tab does when its server is slow, refuses, repeats itself, or has lost messages.

The server that the tab talks with is the test itself.
"""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.app_server import AppServer, serving
from tests.chromium import chromium
from tests.tab import MISSED, Tab
from tests.template import Combination, render
from tests.wire import ScriptedServer, plant, wait_until

KEEPS_TRYING = "The room can't be entered at the moment. This page keeps trying."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """Where the page comes from."""
    folder = tmp_path_factory.mktemp("scripted")
    with serving(render(folder / "my-chat", Combination("none", "memory", "html"))) as server:
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


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
    before = ["message 1", "message 2", MISSED, KEEPS_TRYING]
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


def test_only_what_is_new_counts_as_unread(
    context: BrowserContext, script: ScriptedServer, server: AppServer
) -> None:
    context.add_init_script("""sessionStorage.setItem("rooms", '["lobby", "side"]')""")
    tab = Tab(context, server.url)
    script.accept()
    for room in ("lobby", "side"):
        assert script.hears("join") == {"room": room}
        script.says_joined(2, room=room)
        for offset in (1, 2):
            script.says_message(offset, f"{room} {offset}", room=room)
    tab.expect_log("lobby 1", "lobby 2")
    badge = tab.page.locator('[data-room="side"] .badge')
    expect(badge).to_be_hidden()
    script.close(1006)
    tab.wake()
    script.accept()
    for room in ("lobby", "side"):
        script.hears("join")
        script.says_joined(3, room=room, recovered=True)
        script.says_message(3, f"{room} 3", room=room)
    expect(badge).to_have_text("1 unread")


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


def test_a_room_that_may_not_be_entered_loses_nothing_that_was_typed(
    context: BrowserContext, script: ScriptedServer, server: AppServer
) -> None:
    tab = Tab(context, server.url)
    script.accept()
    assert script.hears("join") == {"room": "lobby"}
    tab.send("early")
    script.says_error("forbidden")
    tab.expect_log("It is forbidden.", "early")
    tab.send("late")
    for text in ("early", "late"):
        tab.expect_state(text, "failed")
    expect(tab.page.locator(".delivery").last).to_contain_text("It is forbidden.")
    script.hears_nothing()
    tab.page.locator(".retry").first.click()
    assert script.hears("join") == {"room": "lobby"}
    script.says_joined(0)
    early = script.hears("publish")
    script.says_message(1, "early", sender="ada", id=early["id"])
    tab.expect_messages("early")


def test_a_message_that_may_not_be_sent_is_kept(script: ScriptedServer, tab: Tab) -> None:
    tab.send("may I?")
    script.says_error("forbidden", script.hears("publish")["id"])
    tab.expect_state("may I?", "failed")
    expect(tab.page.locator(".delivery")).to_contain_text("It is forbidden.")
    tab.expect_log("may I?")
    script.hears_nothing()


def test_a_message_that_is_too_big_is_given_back(script: ScriptedServer, tab: Tab) -> None:
    tab.send("big")
    big = script.hears("publish")
    script.close(1009)
    tab.expect_state("big", "failed")
    expect(tab.page.locator(".delivery")).to_contain_text("is too big for the server.")
    tab.send("written meanwhile")
    tab.wake()
    script.accept()
    assert script.hears("join") == since(0)
    script.says_joined(0, recovered=True)
    other = script.hears("publish")
    script.says_message(1, "written meanwhile", sender="ada", id=other["id"])
    tab.expect_messages("written meanwhile")
    script.hears_nothing()
    tab.page.locator(".retry").click()
    assert script.hears("publish") == big
    script.close(1009)
    tab.expect_state("big", "failed")


def asks_before_unload(page: Page) -> bool:
    """Whether the page listens for its end, as one that asks does."""
    session = page.context.new_cdp_session(page)
    window = session.send("Runtime.evaluate", {"expression": "window"})["result"]
    found = session.send("DOMDebugger.getEventListeners", {"objectId": window["objectId"]})
    session.detach()
    return "beforeunload" in [listener["type"] for listener in found["listeners"]]


def test_a_page_with_something_to_send_asks_before_it_is_closed(
    script: ScriptedServer, tab: Tab
) -> None:
    page = tab.page
    assert not asks_before_unload(page)
    for text, end in (("pending", "acknowledged"), ("failed", "discarded"), ("last", "left")):
        tab.send(text)
        message = script.hears("publish")
        if text == "failed":
            script.says_error("unavailable", message["id"])
            tab.expect_state(text, "failed")
        assert asks_before_unload(page)
        with page.expect_event("dialog") as asked:
            page.close(run_before_unload=True)
        assert asked.value.type == "beforeunload"
        asked.value.dismiss()
        tab.expect_state(text, "failed" if text == "failed" else "pending")
        if end == "acknowledged":
            script.says_message(1, text, sender="ada", id=message["id"])
            tab.expect_messages(text)
        elif end == "discarded":
            page.locator(".discard").click()
        else:
            page.evaluate("location.hash = 'side'")
            assert script.hears("join") == {"room": "side"}
            assert asks_before_unload(page)
            page.get_by_role("button", name="Leave lobby").click()
        assert not asks_before_unload(page)
    with page.expect_event("close"):
        page.close(run_before_unload=True)


def test_an_empty_message_takes_one_line_whatever_the_room_is_called(tab: Tab) -> None:
    tab.page.set_viewport_size({"width": 320, "height": 600})
    field = tab.page.get_by_label("Message lobby", exact=True)
    expect(field).to_be_editable()
    height = field.evaluate("node => node.offsetHeight")
    long = "x" * 64
    tab.page.evaluate("name => { location.hash = name; }", long)
    field = tab.page.get_by_label(f"Message {long}", exact=True)
    assert field.evaluate("node => node.offsetHeight") == height


def test_who_is_asked_to_slow_down_pauses_and_keeps_the_order(
    script: ScriptedServer, tab: Tab
) -> None:
    for text in ("one", "two", "three"):
        tab.send(text)
    one, two, three = (script.hears("publish") for _ in range(3))
    tab.stop_clock()
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
    tab.page.clock.run_for(6_000)
    wait_until(tab.page, lambda: script.pings == 1, patience=3)
    tab.page.clock.run_for(15_000)
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
        tab.page.clock.fast_forward(3_600_000)
    else:
        tab.wake(event)
    tab.page.clock.run_for(6_000)
    tab.wake()
    script.accept()
    assert script.hears("join") == since(1)


def test_a_page_that_was_kept_for_the_back_button_comes_back(
    script: ScriptedServer, tab: Tab
) -> None:
    tab.stop_clock()
    tab.wake("pagehide")
    tab.expect_connection("waiting")
    tab.wake("pageshow")
    script.accept()
    assert script.hears("join") == since(0)


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [
        (1008, "closed", "it may have sent too much"),
        (1009, "waiting", "too big for the server"),
        (1012, "waiting", "The server is restarting."),
        (1013, "waiting", "too slow for it"),
        (4403, "closed", "does not allow you this connection"),
    ],
)
def test_a_close_code_is_explained(
    script: ScriptedServer, tab: Tab, code: int, state: str, words: str
) -> None:
    tab.stop_clock()
    script.close(code)
    tab.expect_connection(state)
    tab.expect_trouble(words)
    tab.page.locator("#reconnect").click()
    script.accept()
    assert script.hears("join") == since(0)


# --- The same promises are broken by faults that are planted ------------------

wake_from_sleep = partial(test_a_page_that_wakes_looks_whether_the_server_is_there, event="sleep")


@pytest.mark.parametrize(
    ("promise", "path", "old", "new"),
    [
        pytest.param(promise, f"static/{file}", old, new, id=name)
        for name, promise, file, old, new in (
            (
                "place",
                test_a_replay_that_breaks_off_goes_on_where_it_stopped,
                "room.js",
                "    this.#joinedAt = { epoch, offset };",
                "    this.#joinedAt = this.#position = { epoch, offset };",
            ),
            (
                "silent loss",
                test_what_can_not_be_filled_in_is_announced_once,
                "room.js",
                "if (this.#position !== null && !recovered)",
                "if (false)",
            ),
            ("gap", test_a_gap_is_filled_in, "room.js", "offset > last + 1", "false"),
            (
                "same id twice",
                test_nothing_is_shown_twice,
                "room.js",
                "if (this.log.some((entry) => entry.id === id)) return;",
                "",
            ),
            (
                "same offset twice",
                test_nothing_is_shown_twice,
                "room.js",
                "offset <= last",
                "false",
            ),
            (
                "too early",
                test_a_message_is_sent_once_when_all_that_was_missed_is_there,
                "room.js",
                'this.state = "replaying";',
                'this.state = "inside";',
            ),
            (
                "wrongly failed",
                test_a_message_that_is_there_already_counts_as_sent,
                "room.js",
                'code === "invalid" && entry.mayBeThere',
                "false",
            ),
            (
                "too big",
                test_a_message_that_is_too_big_is_given_back,
                "connection.js",
                "if (code === MESSAGE_TOO_BIG) this.#onTooBig();",
                "",
            ),
            (
                "lost on close",
                test_a_page_with_something_to_send_asks_before_it_is_closed,
                "view.js",
                "isAsking ? (event) => event.preventDefault() : null",
                "null",
            ),
            (
                "no pause",
                test_who_is_asked_to_slow_down_pauses_and_keeps_the_order,
                "rooms.js",
                "this.#pace.pause(PAUSE);",
                "",
            ),
            ("asleep", wake_from_sleep, "wake.js", "if (slept && !document.hidden) action();", ""),
            (
                "kept",
                test_a_page_that_was_kept_for_the_back_button_comes_back,
                "connection.js",
                'addEventListener("pagehide", () => this.#lose(""));',
                "",
            ),
        )
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
    script = ScriptedServer(context, patience=1)
    tab = Tab(context, server.url, patience=1)
    enter(script)
    with pytest.raises(AssertionError):
        promise(script, tab)
