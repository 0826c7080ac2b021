"""The chat in the terminal."""

import asyncio
import re
from datetime import date
from typing import Any

import pytest

pytest.importorskip("client.chat.app", reason="there is no chat", exc_type=ImportError)

from textual.events import AppBlur, AppFocus

from client import State, Status, connect
from client.chat.log import Unsent
from client.chat.text import visible
from client.chat.words import connection_words, day_words, typing_words
from tests.engine.client.python.presented import user
from tests.engine.client.python.scripted import USER, NoCredentials, Peer, message, scripted
from tests.engine.client.python.terminal import terminal
from tests.engine.example.events import ChatMessage
from tests.support.auth import sign_in
from tests.support.server import PROJECT, AppServer, StartServer

HOSTILE = "[bold red]no markup[/] \x1b[31mno color\x1b]0;no title\x07 \u202eno turn"


async def test_two_people_chat(server: AppServer, room: str) -> None:
    url = f"{server.ws_url}/ws"
    ada, bob = await user(server.url, "Ada"), await user(server.url, "Bob")
    async with terminal(url, ada, room) as one, terminal(url, bob, room) as two:
        await one.until(lambda: one.text("member-count") == "Members (2)")
        await one.say("hello Bob")
        await two.shows("hello Bob")
        await one.shows("hello Bob")
        await one.until(lambda: not one.unsent)
        assert "Today" in one.rows
        await two.pilot.press("h")
        await one.until(lambda: one.text("typing").endswith("is typing…"))
        await two.say(HOSTILE)
        await one.shows("[bold red]no markup[/] ␛[31mno color␛]0;no title␇ \ufffdno turn")
        await one.until(lambda: one.text("typing") == "")


async def test_other_rooms_have_a_count_of_new_messages(server: AppServer, room: str) -> None:
    url = f"{server.ws_url}/ws"
    ada, bob = await user(server.url, "Ada"), await user(server.url, "Bob")
    async with terminal(url, ada, room) as one, connect(url, bob) as two:
        await one.submit("room-name", "not a name")
        await one.submit("room-name", f"{room}.2")
        await one.until(lambda: one.text("member-count") == "Members (1)")
        assert one.rooms == [room, f"{room}.2"]
        await one.until(lambda: one.rooms[0] == room)
        entered = await two.join(room)
        await one.until(lambda: entered.count == 2)
        for text in ("first", "second"):
            await entered.publish(ChatMessage(text=text))
        await one.until(lambda: one.rooms == [f"{room} (2)", f"{room}.2"])
        await one.pilot.press("ctrl+up")
        await one.shows("second")
        assert one.rooms == [room, f"{room}.2"]
        [place] = [place for place, row in enumerate(one.rows) if row == "New messages"]
        assert "first" in "".join(one.rows[place:])
        assert "first" not in "".join(one.rows[:place])
        await one.pilot.press("ctrl+l")
        await one.until(lambda: one.rooms == [f"{room}.2"])


async def test_what_comes_while_the_user_looks_elsewhere_is_marked(
    server: AppServer, room: str
) -> None:
    url = f"{server.ws_url}/ws"
    ada, bob = await user(server.url, "Ada"), await user(server.url, "Bob")
    async with terminal(url, ada, room) as one, connect(url, bob) as two:
        entered = await two.join(room)
        await one.until(lambda: entered.count == 2)
        one.chat.post_message(AppBlur())
        await one.pilot.pause()
        await entered.publish(ChatMessage(text="are you there?"))
        await one.until(lambda: one.rooms == [f"{room} (1)"])
        one.chat.post_message(AppFocus())
        await one.until(lambda: one.rooms == [room])
        assert "New messages" in one.rows


async def test_the_example_of_the_guide_runs(
    server: AppServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await sign_in(server.url, "ada")
    guide = (PROJECT / "docs" / "client" / "python.md").read_text()
    [code] = re.findall(r"```python\n(import asyncio.*?)asyncio\.run\(main\(\)\)", guide, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("ws://127.0.0.1:8000", server.ws_url), names)  # noqa: S102
    example = asyncio.create_task(names["main"]())
    shown = ""
    async with asyncio.timeout(10):
        while "text='hello'" not in shown:
            await asyncio.sleep(0.02)
            shown += capsys.readouterr().out
    example.cancel()


async def test_a_message_waits_for_a_server_that_restarts(
    start_server: StartServer, room: str
) -> None:
    server = await start_server()
    async with terminal(f"{server.ws_url}/ws", await user(server.url, "Ada"), room) as one:
        await one.say("before")
        await one.shows("before")
        await server.stop()
        await one.until(lambda: "Next attempt in" in one.text("connection"))
        await one.say("meanwhile")
        await one.until(lambda: one.unsent == ["meanwhile\nSending…"])
        await server.start()
        await one.shows("meanwhile")
        await one.until(lambda: not one.unsent)
        assert one.text("connection").startswith("Connected as ")
        assert len([row for row in one.rows if "meanwhile" in row]) == 1
        await one.shows("Messages may be missing here.")  # the server's memory was empty


async def test_earlier_messages_are_loaded(server: AppServer, room: str) -> None:
    url = f"{server.ws_url}/ws"
    ada = await user(server.url, "Ada")
    async with connect(url, ada, messages_per_second=0) as client:
        entered = await client.join(room)
        async with asyncio.TaskGroup() as tasks:
            for number in range(120):
                tasks.create_task(entered.publish(ChatMessage(text=f"<{number}>")))
    async with terminal(url, ada, room) as one:
        await one.shows("<119>")
        assert not any("<20>" in row for row in one.rows)

        async def scroll_up_to(text: str) -> None:
            while not any(text in row for row in one.rows):
                await one.pilot.press("pageup")

        async with asyncio.timeout(5):
            await scroll_up_to("<0>")
        texts = [row.rsplit(" ", 1)[1] for row in one.rows if "<" in row]
        assert texts == [f"<{number}>" for number in range(120)]
        assert one.rows.count("Today") == 1
        await one.shows("Nothing older is remembered.")


async def test_a_refused_message_can_be_sent_again_or_discarded() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.expect("join")
        await peer.joined()
        ids = []
        for text in ("one", "two", "one"):
            frame = await peer.receive()
            while frame["type"] != "publish":
                frame = await peer.receive()
            assert frame["data"] == {"text": text}
            ids.append(frame["id"])
            if len(ids) < 3:
                await peer.send(
                    "error", code="refused", detail="not [b]now[/b]", room="r", ref=frame["id"]
                )
        assert ids[2] == ids[0]
        await peer.send("message", **message(1, ids[0], sender=USER, text="one"))

    async with scripted(script) as url, terminal(url, NoCredentials(), "r") as one:
        for text in ("one", "two"):
            await one.say(text)
            await one.until(lambda: f"{text}\nNot sent: Not [b]now[/b]." in "".join(one.unsent))  # noqa: B023
        first, second = one.chat.screen.query(Unsent)
        second.focus()
        await one.pilot.press("d")
        first.focus()
        await one.pilot.press("r")
        await one.shows("one")
        await one.until(lambda: not one.unsent)


async def test_who_was_removed_from_a_room_can_come_back() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.expect("join")
        await peer.joined()
        await peer.message(1)
        await peer.expect("signal")
        await peer.send("left", room="r", reason="evicted")
        await peer.expect("join")
        await peer.send("error", code="forbidden", detail="you may not join here", room="r")
        await peer.expect("join")
        await peer.joined(offset=1, recovered=True)
        frame = await peer.expect("publish", data={"text": "hello"})
        await peer.message(2, frame["id"], sender=USER, text="hello")

    async with scripted(script) as url, terminal(url, NoCredentials(), "r") as one:
        await one.shows("Bob")
        await one.pilot.press("h")
        await one.shows("You were removed from this room.")
        await one.say("hello")
        await one.until(lambda: "Not sent: You may not join here." in "".join(one.unsent))
        [unsent] = one.chat.screen.query(Unsent)
        unsent.focus()
        await one.pilot.press("r")
        await one.shows("hello")
        await one.until(lambda: not one.unsent)


async def test_the_end_is_said_in_words() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.expect("join")
        await peer.socket.close(4403, "[b]go[/b]")

    async with scripted(script) as url, terminal(url, NoCredentials(), "r") as one:
        await one.until(lambda: "Ctrl+R connects again." in one.text("connection"))
        assert "does not allow this connection. ([b]go[/b])" in one.text("connection")


def test_words() -> None:
    now = 100.0
    assert connection_words(Status(State.CONNECTING), "", now) == "Connecting…"
    assert connection_words(Status(State.OPEN), "Ada", now) == "Connected as Ada"
    waiting = Status(State.WAITING, "The server is restarting.", now + 2.5)
    assert connection_words(waiting, "", now).startswith(
        "The server is restarting. Next attempt in 3 s."
    )
    assert typing_words([]) == ""
    assert typing_words(["Ada"]) == "Ada is typing…"
    assert typing_words(["Ada", "Bob"]) == "Ada and Bob are typing…"
    assert typing_words(["Ada", "Bob", "Cy"]) == "Several people are typing…"
    today = date(2026, 3, 1)
    assert day_words(today, today) == "Today"
    assert day_words(date(2026, 2, 28), today) == "Yesterday"
    assert day_words(date(2026, 1, 5), today).endswith(", 5 January 2026")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ž 聊天 💬 👩\u200d🚀", "plain ž 聊天 💬 👩\u200d🚀"),
        ("\x1b[2J", "␛[2J"),
        ("a\r\nb\tc\x7f\x9b", "a␍␊b␉c␡\ufffd"),
        ("\u202e\u2066\ufeff\u2028", "\ufffd" * 4),
    ],
)
def test_no_control_character_reaches_the_terminal(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_line_breaks_may_stay() -> None:
    assert visible("a\nb\x1b", keep="\n") == "a\nb␛"
