"""What a tab does with all that a server may say: slow, refusing, repeating, losing messages.

The test itself takes the part of the server.
"""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.app_server import AppServer, serving
from tests.chromium import chromium
from tests.tab import MISSED, Tab
from tests.template import Combination, render
from tests.wire import ADA, BOB, ScriptedServer, person, plant, wait_until

KEEPS_TRYING = "The room can't be entered at the moment. This page keeps trying."
EVICTED = "You were removed from this room."
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """The server of the page itself."""
    folder = tmp_path_factory.mktemp("scripted")
    with serving(render(folder / "my-chat", Combination("none", "memory", "html"))) as server:
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


@pytest.fixture
def script(context: BrowserContext) -> ScriptedServer:
    """The server of the tab's socket."""
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
    """A join that asks for the messages after this offset."""
    return {"room": "lobby", "since": {"epoch": "e1", "offset": offset}}


def test_an_interrupted_replay_continues_where_it_stopped(script: ScriptedServer, tab: Tab) -> None:
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


def test_lost_messages_are_announced_once(script: ScriptedServer, tab: Tab) -> None:
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


def test_offsets_that_grow_by_more_than_one_are_no_gap(script: ScriptedServer, tab: Tab) -> None:
    for offset, text in ((3, "three"), (40, "forty"), (41, "forty-one"), (1000, "a thousand")):
        script.says_message(offset, text)
    tab.expect_log("three", "forty", "forty-one", "a thousand")
    script.hears_nothing()
    script.close(1006)
    tab.wake()
    script.accept()
    assert script.hears("join") == since(1000)


def test_only_new_messages_count_as_unread(
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
    script.says_message(1, "another with the same offset")
    script.says_message(2, "two")
    script.says_message(3, "two")
    script.says_message(4, "four")
    tab.expect_log("one", "two", "four")
    script.hears_nothing()


def test_a_message_is_sent_once_and_after_the_replay(script: ScriptedServer, tab: Tab) -> None:
    tab.send("taken")
    tab.send("not taken")
    taken, lost = (script.hears("publish") for _ in range(2))
    script.close(1006)
    tab.wake()
    script.accept(user=person("ada-again"))
    assert script.hears("join") == since(0)
    script.says_joined(3, recovered=True)
    script.says_message(1, "one")
    script.says_message(2, "taken", sender=ADA, id=taken["id"])
    tab.expect_messages("one", "taken")
    script.hears_nothing()
    # The third message is unreadable, so only the answer to the ping ends the replay.
    script.says("pong")
    assert script.hears("publish") == lost
    script.says_message(4, "not taken", sender=person("ada-again"), id=lost["id"])
    tab.expect_messages("one", "taken", "not taken")
    script.hears_nothing()


def test_a_message_whose_id_is_taken_after_a_reconnect_counts_as_sent(
    script: ScriptedServer, tab: Tab
) -> None:
    tab.send("taken")
    message = script.hears("publish")
    script.close(1006)
    tab.wake()
    script.accept(user=person("ada-again"))
    script.hears("join")
    script.says_joined(0, recovered=True)
    assert script.hears("publish") == message
    script.says_error("invalid", message["id"])
    tab.expect_messages("taken")
    script.says_message(1, "taken", sender=ADA, id=message["id"])
    script.says_message(2, "two")
    tab.expect_log("taken", "two")


def test_a_message_that_failed_is_sent_again_on_demand(script: ScriptedServer, tab: Tab) -> None:
    for text in ("first", "second"):
        tab.send(text)
        script.says_error("unavailable", script.hears("publish")["id"])
        tab.expect_state(text, "failed")
    tab.page.locator(".retry").first.click()
    first = script.hears("publish")
    assert first["data"]["text"] == "first"
    second = tab.page.locator(".message").filter(has_text="second").get_attribute("data-id")
    script.says_message(1, "first", sender=ADA, id=first["id"])
    # The server had taken it after all.
    script.says_message(2, "second", sender=ADA, id=second)
    tab.expect_log("first", "second")
    tab.expect_messages("first", "second")
    script.hears_nothing()


def test_nothing_that_was_typed_is_lost_when_the_user_may_not_enter_the_room(
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
    script.says_message(1, "early", sender=ADA, id=early["id"])
    tab.expect_messages("early")


@pytest.mark.parametrize(
    ("code", "detail", "words"),
    [
        ("forbidden", "you may not publish here", "You may not publish here."),
        ("refused", "Not on Sundays!", "Not on Sundays!"),
        ("refused", MARKUP, f"{MARKUP}."),
        ("internal", "a traceback", "Something went wrong in the server. Try again in a moment."),
    ],
)
def test_a_message_that_the_server_refuses_is_kept(
    script: ScriptedServer, tab: Tab, code: str, detail: str, words: str
) -> None:
    tab.send("may I?")
    message = script.hears("publish")
    script.says_error(code, message["id"], detail)
    tab.expect_state("may I?", "failed")
    expect(tab.page.locator(".delivery")).to_have_text(f"{words} Try again Discard")
    tab.expect_log("may I?")
    script.hears_nothing()
    tab.page.locator(".retry").click()
    assert script.hears("publish") == message
    assert not tab.problems


def test_a_room_that_fails_in_the_server_is_tried_again(
    context: BrowserContext, script: ScriptedServer, server: AppServer
) -> None:
    tab = Tab(context, server.url)
    script.accept()
    script.hears("join")
    script.says_error("internal")
    tab.expect_log("Something went wrong in the server. This page keeps trying.")
    tab.page.clock.run_for(2_000)
    assert script.hears("join") == {"room": "lobby"}


def test_a_user_who_was_removed_from_a_room_stays_outside(script: ScriptedServer, tab: Tab) -> None:
    script.says_message(1, "one")
    tab.send("sent")
    script.hears("publish")
    script.says("left", room="lobby", reason="evicted")
    script.says_message(2, "not for this user")
    tab.expect_log("one", EVICTED, "sent")
    tab.expect_state("sent", "failed")
    tab.expect_members()
    # Neither space for another room nor a reconnect brings the page back.
    script.says("left", room="elsewhere")
    script.close(1006)
    tab.wake()
    script.accept()
    tab.send("typed meanwhile")
    tab.expect_state("typed meanwhile", "failed")
    expect(tab.page.locator(".delivery").last).to_contain_text(EVICTED)
    script.hears_nothing()
    tab.page.locator(".retry").last.click()
    assert script.hears("join") == since(1)
    script.says_joined(1, recovered=True)
    assert script.hears("publish")["data"] == {"text": "typed meanwhile"}
    tab.expect_members("ada", "bob")


def test_a_room_that_the_user_is_not_in_is_left_without_a_word(
    script: ScriptedServer, tab: Tab
) -> None:
    script.says("left", room="lobby", reason="evicted")
    tab.expect_log(EVICTED)
    tab.page.evaluate("location.hash = 'side'")
    assert script.hears("join") == {"room": "side"}
    script.says_joined(0, room="side")
    tab.page.get_by_role("button", name="Leave lobby").click()
    tab.page.evaluate("location.hash = 'lobby'")
    assert script.hears("join") == {"room": "lobby"}
    tab.page.get_by_role("button", name="Leave side").click()
    assert script.hears("leave") == {"room": "side"}


# --- Users, events and signals ------------------------------------------------


def test_a_message_is_published_as_an_event(script: ScriptedServer, tab: Tab) -> None:
    tab.send("good morning")
    message = script.hears("publish")
    assert 1 <= len(message.pop("id")) <= 64
    assert message == {"room": "lobby", "event": "chat.message", "data": {"text": "good morning"}}


def test_today_becomes_yesterday(script: ScriptedServer, tab: Tab) -> None:
    tab.send("written today")
    script.hears("publish")
    day = tab.page.locator(".day")
    expect(day).to_have_text("Today")
    tab.page.clock.fast_forward("24:00:00")
    expect(day).to_have_text("Yesterday")


def test_a_user_is_known_by_id_and_not_by_name(script: ScriptedServer, tab: Tab) -> None:
    renamed, namesake = {**ADA, "name": "Ada Lovelace"}, {**BOB, "name": ADA["name"]}
    script.says_message(1, "renamed", sender=renamed)
    script.says_message(2, "namesake", sender=namesake)
    tab.expect_messages("renamed", "namesake")
    expect(tab.messages.locator(".sender")).to_have_text(["Ada Lovelace", "ada"])
    expect(tab.page.locator(".own .text")).to_have_text(["renamed"])
    script.says("presence", room="lobby", event="join", user=namesake)
    expect(tab.page.locator("#members li")).to_have_text(["ada (you)", "ada"])
    script.says("presence", room="lobby", event="leave", user=namesake)
    expect(tab.page.locator("#members li")).to_have_text(["ada (you)"])


def test_a_large_room_tells_the_number_of_its_members(script: ScriptedServer, tab: Tab) -> None:
    tab.expect_members("ada", "bob")
    script.says("presence", room="lobby", count=5000)
    members = tab.page.locator("#members li")
    expect(members).to_have_text(["This room is too large for a list."])
    expect(tab.page.locator("#members-title")).to_have_text("Members (5000)")
    script.close(1006)
    tab.wake()
    script.accept()
    script.hears("join")
    script.says("joined", room="lobby", epoch="e1", offset=0, recovered=True, count=4000)
    expect(tab.page.locator("#members-title")).to_have_text("Members (4000)")
    expect(members).to_have_text(["This room is too large for a list."])
    script.says("presence", room="lobby", event="leave", user=BOB)
    expect(tab.page.locator("#members-title")).to_have_text("Members (3999)")


def test_a_large_room_that_becomes_small_names_its_members_again(
    script: ScriptedServer, tab: Tab
) -> None:
    title, members = tab.page.locator("#members-title"), tab.page.locator("#members li")
    script.says("presence", room="lobby", count=120)
    expect(title).to_have_text("Members (120)")
    script.says("presence", room="lobby", count=3, members=[ADA, person("carol"), person("dan")])
    tab.expect_members("ada", "carol", "dan")
    expect(title).to_have_text("Members (3)")
    script.says("presence", room="lobby", event="leave", user=person("dan"))
    tab.expect_members("ada", "carol")
    script.says("presence", room="lobby", count=0)
    expect(members).to_have_count(0)


def test_several_users_come_and_go_in_one_message(script: ScriptedServer, tab: Tab) -> None:
    carol, dan = person("carol"), person("dan")
    script.says_typing(BOB)
    tab.expect_typing("bob is typing…")
    # It may repeat what is known.
    script.says("presence", room="lobby", event="join", users=[BOB, carol, dan])
    tab.expect_members("ada", "bob", "carol", "dan")
    script.says("presence", room="lobby", event="leave", users=[BOB, dan])
    tab.expect_members("ada", "carol")
    tab.expect_typing("")
    assert not tab.problems


def test_the_application_speaks_in_its_own_name(script: ScriptedServer, tab: Tab) -> None:
    script.says_message(1, "from the application", sender=None)
    script.says_message(2, "and again", sender=None)
    script.says_message(3, "from a user who took its name", sender=person("my-chat"))
    tab.expect_messages("from the application", "and again", "from a user who took its name")
    expect(tab.messages.locator(".sender")).to_have_text(["my-chat"] * 3)
    application = tab.page.locator(".message.application .text")
    expect(application).to_have_text(["from the application", "and again"])
    expect(tab.page.locator(".own")).to_have_count(0)


def test_an_event_that_the_page_does_not_know_is_shown_as_json(
    script: ScriptedServer, tab: Tab
) -> None:
    script.says_event(1, "order.shipped", {"order": 7, "to": MARKUP}, sender=None)
    script.says_event(2, "chat.message", {"words": ["of", "another", "version"]})
    script.says_event(3, MARKUP, {})
    script.says_message(4, "goes on")
    tab.expect_messages(
        f'order.shipped {{"order":7,"to":"{MARKUP}"}}',
        'chat.message {"words":["of","another","version"]}',
        f"{MARKUP} {{}}",
        "goes on",
    )
    expect(tab.messages.locator("code")).to_have_count(3)
    expect(tab.messages.locator("img, script")).to_have_count(0)
    assert not tab.problems


def test_the_page_says_who_is_typing(script: ScriptedServer, tab: Tab) -> None:
    tab.stop_clock()
    clock = tab.page.clock
    script.says_typing(ADA)  # in another tab
    script.says_typing(BOB)
    tab.expect_typing("bob is typing…")
    clock.run_for(4_000)
    script.says("presence", room="lobby", event="join", users=[person("dan"), person("eve")])
    script.says_typing(BOB)
    script.says_typing(person("eve"))
    tab.expect_typing("bob and eve are typing…")
    clock.run_for(4_000)
    script.says_typing(person("dan"))
    tab.expect_typing("Several people are typing…")
    script.says_message(1, "I am done", sender=BOB)
    tab.expect_typing("eve and dan are typing…")
    clock.run_for(1_000)
    tab.expect_typing("dan is typing…")
    script.says("presence", room="lobby", event="leave", user=person("dan"))
    tab.expect_typing("")
    script.says_typing(person(MARKUP))
    tab.expect_typing(f"{MARKUP} is typing…")
    script.close(1006)
    tab.expect_typing("")
    assert not tab.problems


def test_the_server_hears_now_and_then_that_the_user_is_typing(
    script: ScriptedServer, tab: Tab
) -> None:
    tab.stop_clock()
    text, clock = tab.page.locator("#text"), tab.page.clock
    typing = {"room": "lobby", "event": "chat.typing", "data": {}}
    text.press_sequentially("Good morning")
    wait_until(tab.page, lambda: script.signals == [typing], patience=3)
    clock.run_for(2_900)
    text.press_sequentially(", Bob")
    clock.run_for(200)
    text.press("Backspace")
    wait_until(tab.page, lambda: script.signals == [typing] * 2, patience=3)
    clock.run_for(3_000)
    text.fill("")  # there is nothing to announce
    text.fill("Good morning")
    text.press("Enter")
    script.hears("publish")
    wait_until(tab.page, lambda: len(script.signals) == 3, patience=3)
    clock.run_for(10_000)
    script.hears_nothing()
    assert script.signals == [typing] * 3


def test_nothing_is_signalled_outside_the_room(script: ScriptedServer, tab: Tab) -> None:
    tab.page.locator("#text").fill("typed inside")
    wait_until(tab.page, lambda: len(script.signals) == 1, patience=3)
    tab.page.clock.run_for(4_000)
    script.says("resync", room="lobby", epoch="e1", offset=7)
    assert script.hears("join") == since(0)
    tab.page.locator("#text").fill("typed while it joins")
    script.says_joined(7, recovered=True)
    tab.page.locator("#text").fill("typed during the replay")
    script.says("pong")
    script.says("left", room="lobby", reason="evicted")
    tab.expect_log(EVICTED)
    tab.page.locator("#text").fill("typed outside")
    script.hears_nothing()
    assert len(script.signals) == 1


@pytest.mark.parametrize("code", ["invalid", "forbidden"])
def test_a_server_that_takes_no_signals_gets_no_more(
    script: ScriptedServer, tab: Tab, code: str
) -> None:
    for number in range(3):
        tab.page.locator("#text").fill(f"draft {number}")
        wait_until(tab.page, lambda: len(script.signals) == 1, patience=3)
        script.says_error(code)
        script.says_message(number + 1, f"message {number}")
        tab.expect_messages(*(f"message {each}" for each in range(number + 1)))
        tab.page.clock.run_for(4_000)
    tab.send("a message all the same")
    script.hears("publish")
    expect(tab.notices).to_have_count(0)
    assert len(script.signals) == 1


def test_an_error_about_a_signal_does_not_keep_the_page_outside(
    script: ScriptedServer, tab: Tab
) -> None:
    tab.page.locator("#text").fill("a draft")
    wait_until(tab.page, lambda: len(script.signals) == 1, patience=3)
    script.says("resync", room="lobby", epoch="e1", offset=7)
    script.hears("join")
    script.says_error("forbidden")
    script.says_joined(0, recovered=True)
    tab.send("and now")
    script.hears("publish")


def test_the_name_of_a_room_may_have_a_colon(script: ScriptedServer, tab: Tab) -> None:
    field = tab.page.locator("#room-name")
    field.fill("orders:7")
    field.press("Enter")
    assert script.hears("join") == {"room": "orders:7"}
    for name in ("@me", "@someone", "a b", "x" * 65):
        field.fill(name)
        field.press("Enter")
        expect(tab.page.locator("#room-error")).to_contain_text("A room's name is")
    tab.page.evaluate("location.hash = '@me'")
    expect(tab.notices).to_contain_text("There is no room “@me”.")
    script.hears_nothing()


# --- Limits, silence and the end of a page ------------------------------------


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
    script.says_message(1, "written meanwhile", sender=ADA, id=other["id"])
    tab.expect_messages("written meanwhile")
    script.hears_nothing()
    tab.page.locator(".retry").click()
    assert script.hears("publish") == big
    script.close(1009)
    tab.expect_state("big", "failed")


def asks_before_unload(page: Page) -> bool:
    """Whether the page listens for `beforeunload`."""
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
            script.says_message(1, text, sender=ADA, id=message["id"])
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


def test_a_page_over_the_rate_limit_pauses_and_keeps_the_order(
    script: ScriptedServer, tab: Tab
) -> None:
    for text in ("one", "two", "three"):
        tab.send(text)
    one, two, three = (script.hears("publish") for _ in range(3))
    tab.stop_clock()
    script.says_error("rate_limited", two["id"])
    script.says_error("rate_limited", three["id"])
    script.says_message(1, "one", sender=ADA, id=one["id"])
    tab.page.clock.run_for(1_000)
    script.hears_nothing()
    tab.page.clock.run_for(1_000)
    assert [script.hears("publish") for _ in range(2)] == [two, three]
    for offset, message in ((2, two), (3, three)):
        script.says_message(offset, message["data"]["text"], sender=ADA, id=message["id"])
    tab.expect_messages("one", "two", "three")
    script.close(1006)
    tab.wake()
    script.accept()
    assert script.hears("join") == since(3)
    script.says_error("rate_limited")
    tab.page.clock.run_for(2_000)
    assert script.hears("join") == since(3)
    expect(tab.notices).to_have_count(0)


def test_a_room_with_too_much_to_replay_is_entered_when_the_server_says(
    script: ScriptedServer, tab: Tab
) -> None:
    script.says_message(1, "one")
    tab.expect_log("one")
    tab.stop_clock()
    words = "The server does not send so much at once. This page tries again by itself in"
    for seconds, said in ((7, "7 seconds"), (1, "1 second")):
        script.says("resync", room="lobby", epoch="e1", offset=40)
        assert script.hears("join") == since(1)
        tab.send(f"waits {said}")
        detail = f"too much history was asked for: try again in {seconds} s"
        script.says_error("rate_limited", detail=detail)
        expect(tab.notices.last).to_have_text(f"{words} {said}.")
        tab.page.clock.run_for(1_000 * seconds - 100)
        script.hears_nothing()
        tab.page.clock.run_for(200)
        assert script.hears("join") == since(1)
        script.says_joined(1, recovered=True)
        assert script.hears("publish")["data"] == {"text": f"waits {said}"}
    expect(tab.notices).to_have_count(2)


def test_the_other_rooms_do_not_wait_for_one_that_is_entered_later(
    script: ScriptedServer, tab: Tab
) -> None:
    tab.page.evaluate("location.hash = 'side'")
    assert script.hears("join") == {"room": "side"}
    script.says_joined(0, room="side")
    tab.stop_clock()
    script.says("resync", room="lobby", epoch="e1", offset=40)
    assert script.hears("join") == since(0)
    script.says_error("rate_limited", detail="too much history was asked for: try again in 60 s")
    tab.send("at once")
    assert script.hears("publish")["room"] == "side"


def test_a_message_that_the_server_does_not_confirm_fails_in_the_end(
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
    script.says_message(1, message["data"]["text"], sender=ADA, id=message["id"])
    tab.expect_messages(message["data"]["text"])


@pytest.mark.parametrize("event", ["visibilitychange", "resume", "pageshow", "sleep"])
def test_a_page_that_wakes_checks_its_connection(
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


def test_a_page_that_was_kept_for_the_back_button_reconnects(
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


# --- Faults that are planted break these promises ------------------------------

wake_from_sleep = partial(test_a_page_that_wakes_checks_its_connection, event="sleep")


@pytest.mark.parametrize(
    ("promise", "path", "old", "new"),
    [
        pytest.param(promise, f"static/{file}", old, new, id=name)
        for name, promise, file, old, new in (
            (
                "place",
                test_an_interrupted_replay_continues_where_it_stopped,
                "realtime/room.js",
                "    this.#joinedAt = { epoch, offset };",
                "    this.#joinedAt = this.#position = { epoch, offset };",
            ),
            (
                "silent loss",
                test_lost_messages_are_announced_once,
                "realtime/room.js",
                "since !== null && !(recovered && epoch === since.epoch)",
                "false",
            ),
            (
                "gap",
                test_offsets_that_grow_by_more_than_one_are_no_gap,
                "realtime/room.js",
                "    this.#position = { epoch: this.#joinedAt.epoch, offset };",
                "    if (offset > this.#position.offset + 1) return this.#become('outside');"
                "    this.#position = { epoch: this.#joinedAt.epoch, offset };",
            ),
            (
                "evicted",
                test_a_user_who_was_removed_from_a_room_stays_outside,
                "realtime/room.js",
                'if (this.state !== "evicted") this.#become("outside");',
                'this.#become("outside");',
            ),
            (
                "known by name",
                test_a_user_is_known_by_id_and_not_by_name,
                "realtime/client.js",
                'this.#ids.has(sender?.id ?? "")',
                "sender?.name === this.#user?.name",
            ),
            (
                "markup in an event",
                test_an_event_that_the_page_does_not_know_is_shown_as_json,
                "page/dom.js",
                "created.textContent =",
                "created.innerHTML =",
            ),
            (
                "a signal for every letter",
                test_the_server_hears_now_and_then_that_the_user_is_typing,
                "chat/typing.js",
                "now - this.#sentAt < EVERY",
                "false",
            ),
            (
                "typing for ever",
                test_the_page_says_who_is_typing,
                "chat/typing.js",
                "this.#stopped(id);\n    }, SHOWN)",
                "}, SHOWN)",
            ),
            (
                "same offset twice",
                test_nothing_is_shown_twice,
                "realtime/log.js",
                "if (before === offset) return null;",
                "",
            ),
            (
                "too early",
                test_a_message_is_sent_once_and_after_the_replay,
                "realtime/room.js",
                'this.#become("replaying");',
                'this.#become("inside");',
            ),
            (
                "wrongly failed",
                test_a_message_whose_id_is_taken_after_a_reconnect_counts_as_sent,
                "realtime/outbox.js",
                'code === "invalid" && waiting.mayBeThere',
                "false",
            ),
            (
                "too big",
                test_a_message_that_is_too_big_is_given_back,
                "realtime/connection.js",
                "if (code === MESSAGE_TOO_BIG) this.#listeners.onTooBig();",
                "",
            ),
            (
                "lost on close",
                test_a_page_with_something_to_send_asks_before_it_is_closed,
                "page/main.js",
                "isAsking ? (event) => event.preventDefault() : null",
                "null",
            ),
            (
                "no pause",
                test_a_page_over_the_rate_limit_pauses_and_keeps_the_order,
                "realtime/client.js",
                "this.#pace.pause(PAUSE);",
                ";",
            ),
            (
                "too early",
                test_a_room_with_too_much_to_replay_is_entered_when_the_server_says,
                "realtime/room.js",
                "seconds * 1000",
                "seconds * 500",
            ),
            (
                "everything waits",
                test_the_other_rooms_do_not_wait_for_one_that_is_entered_later,
                "realtime/client.js",
                "&& secondsToWait(detail) === 0",
                "",
            ),
            (
                "only the first",
                test_several_users_come_and_go_in_one_message,
                "realtime/members.js",
                "for (const each of users) {",
                "for (const each of users.slice(0, 1)) {",
            ),
            (
                "large for ever",
                test_a_large_room_that_becomes_small_names_its_members_again,
                "realtime/members.js",
                "this.set(members, count);",
                "this.set(undefined, count);",
            ),
            (
                "asleep",
                wake_from_sleep,
                "realtime/wake.js",
                "if (slept) wakeIfVisible();",
                "",
            ),
            (
                "kept",
                test_a_page_that_was_kept_for_the_back_button_reconnects,
                "realtime/wake.js",
                "{ ...others, pageshow: wake }",
                "{ ...others, pagehide: () => {}, pageshow: wake }",
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
