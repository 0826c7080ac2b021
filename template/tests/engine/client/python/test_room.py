"""What a room gives its reader, and what it does with own messages."""

import asyncio

import pytest

from client import (
    ConnectionLost,
    Evicted,
    Message,
    MessagesMissed,
    Position,
    RawEvent,
    ReceivedSignal,
    Room,
    ServerError,
    Unconfirmed,
)
from client.room import MAX_SIGNALS
from tests.engine.client.python.scripted import OTHER, USER, Peer, Script, message, talking
from tests.engine.example.events import ChatMessage, ChatTyping

pytestmark = pytest.mark.usefixtures("known_events")


async def enter(peer: Peer, offset: int = 0) -> None:
    await peer.welcome()
    frame = await peer.expect("join", room="r")
    await peer.joined(offset=offset, recovered="since" in frame)


async def ids(room: Room, count: int) -> list[str]:
    """The ids of the next messages."""
    found = []
    async for each in room:
        found.append(each.id)
        if len(found) == count:
            break
    return found


async def test_a_message_is_an_event_of_the_application() -> None:
    async def script(peer: Peer) -> None:
        await enter(peer, offset=1)
        await peer.message(1, text="old")
        await peer.message(2, text="[b]\x1b[2J")
        unknown = {**message(3), "event": "newer", "data": {"x": [1]}}
        await peer.send("message", **unknown)
        misfit = {**message(4), "data": {"text": 7}}
        del misfit["sender"]
        await peer.send("message", **misfit)

    async with talking(script) as client:
        room = await client.join("r")
        messages: list[Message] = [await anext(room) for _ in range(4)]
    assert messages[0].event == ChatMessage(text="old")
    assert [it.is_new for it in messages] == [False, True, True, True]
    assert messages[1].event == ChatMessage(text="[b]\x1b[2J")
    assert messages[1].sender is not None
    assert messages[1].sender.name == "Bob"
    assert messages[1].sent_at.year == 2026
    assert messages[2].event == RawEvent("newer", {"x": [1]})
    assert messages[3].event == RawEvent("chat.message", {"text": 7})
    assert messages[3].sender is None


async def test_a_cut_replay_goes_on_where_it_was_cut() -> None:
    async def cut(peer: Peer) -> None:
        await enter(peer, offset=9)
        await peer.message(3)
        await peer.message(7)
        await peer.socket.close(1012)

    async def go_on(peer: Peer) -> None:
        await peer.welcome()
        await peer.expect("join", since={"epoch": "e", "offset": 7})
        await peer.joined(offset=9, recovered=True)
        await peer.message(9)

    async with talking(cut, go_on) as client:
        assert await ids(await client.join("r"), 3) == ["m3", "m7", "m9"]


async def test_messages_out_of_order_are_told() -> None:
    async def script(peer: Peer) -> None:
        await enter(peer)
        await peer.message(2)
        await peer.message(1)
        await peer.message(3)

    async with talking(script) as client:
        room = await client.join("r")
        assert await ids(room, 1) == ["m2"]
        with pytest.raises(MessagesMissed, match="out of order"):
            await anext(room)
        assert await ids(room, 1) == ["m3"]


async def test_a_message_that_cannot_be_read_is_told() -> None:
    async def script(peer: Peer) -> None:
        await enter(peer)
        await peer.send("message", room="r", offset=1)
        await peer.socket.send("no JSON")
        await peer.message(2)

    async with talking(script) as client:
        room = await client.join("r")
        with pytest.raises(MessagesMissed, match="can't be read"):
            await anext(room)
        assert await ids(room, 1) == ["m2"]


async def test_a_slow_reader_loses_nothing_and_holds_up_nothing() -> None:
    """The inbox has room for 4. The server's history has the rest, if it is asked again."""

    async def script(peer: Peer) -> None:
        await peer.welcome(heartbeat=0.05)
        await peer.expect("join", room="r")
        await peer.joined()
        for offset in range(1, 21):
            await peer.message(offset)
        here = 0
        while here < 20:
            frame = await peer.receive()
            if frame["type"] == "ping":
                await peer.send("pong")
                continue
            here = frame["since"]["offset"]
            await peer.joined(offset=20, recovered=True)
            for offset in range(here + 1, 21):
                await peer.message(offset)
            here += 4

    async with talking(script, inbox_size=4) as client:
        room = await client.join("r")
        await asyncio.sleep(0.2)  # several heartbeats
        assert room.unread == 4
        assert await ids(room, 20) == [f"m{offset}" for offset in range(1, 21)]


async def test_a_room_begins_at_a_stored_position() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.expect("join", since={"epoch": "e", "offset": 4})
        await peer.joined(offset=5, recovered=True)
        await peer.message(5)

    async with talking(script) as client:
        room = await client.join("r", since=Position("e", 4))
        assert (await anext(room)).is_new
        assert room.position == Position("e", 5)


async def test_an_own_message_is_sent_again_under_the_same_id() -> None:
    async def lose(peer: Peer) -> None:
        await enter(peer)
        await peer.expect("publish", id="own", event="chat.message", data={"text": "hello"})
        peer.abort()

    async def take(peer: Peer) -> None:
        await enter(peer)
        await peer.expect("publish", id="own")
        await peer.message(1, "own", sender=USER)

    async with talking(lose, take) as client:
        room = await client.join("r")
        position = await room.publish(ChatMessage(text="hello"), id="own")
        assert position == Position("e", 1)
        assert (await anext(room)).is_own
        assert client.unsent == 0


async def test_a_message_in_the_replay_is_not_sent_again() -> None:
    async def lose(peer: Peer) -> None:
        await enter(peer)
        await peer.expect("publish", id="own")
        peer.abort()

    async def replay(peer: Peer) -> None:
        await enter(peer, offset=1)
        await peer.message(1, "own", sender=USER)
        await peer.expect("signal")
        signalled.set()

    signalled = asyncio.Event()
    async with talking(lose, replay) as client:
        room = await client.join("r")
        assert await room.publish(ChatMessage(text="hello"), id="own") == Position("e", 1)
        await room.signal(ChatTyping())
        await signalled.wait()


async def test_a_refused_message_raises_why() -> None:
    async def script(peer: Peer) -> None:
        await enter(peer)
        frame = await peer.expect("publish")
        await peer.send("error", code="refused", detail="not today", room="r", ref=frame["id"])
        await peer.expect("publish")
        await peer.expect("ping")
        await peer.send("pong")
        await peer.expect("publish", id="big")
        await peer.socket.close(1009)

    async def go_on(peer: Peer) -> None:
        await enter(peer)
        await peer.expect("publish", id="small")
        await peer.message(1, "small", sender=USER)

    async with talking(script, go_on) as client:
        room = await client.join("r")
        with pytest.raises(ServerError, match="refused: not today") as error:
            await room.publish(ChatMessage(text="hello"))
        assert (error.value.code, error.value.detail) == ("refused", "not today")
        with pytest.raises(Unconfirmed, match="did not confirm"):
            await room.publish(ChatMessage(text="hello"))
        with pytest.raises(Unconfirmed, match="too big"):
            await room.publish(ChatMessage(text="hello"), id="big")
        await room.publish(ChatMessage(text="hello"), id="small")


async def test_what_was_too_fast_is_sent_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.expect("join")
        await peer.send("error", code="rate_limited", detail="slow down", room="r")
        await peer.expect("join")
        await peer.joined()
        await peer.expect("publish", id="own")
        await peer.send("error", code="rate_limited", detail="slow down", room="r", ref="own")
        await peer.expect("publish", id="own")
        await peer.message(1, "own", sender=USER)
        await peer.expect("history")
        await peer.send("error", code="rate_limited", detail="slow down", room="r")
        await peer.expect("ping")
        await peer.send("pong")
        await peer.expect("history")
        await peer.send("error", code="rate_limited", detail="too much: try again in 0 s", room="r")
        await peer.expect("history")
        await peer.send("history", room="r", epoch="e", messages=[message(1)], complete=True)

    async with talking(script) as client:
        room = await client.join("r")
        await room.publish(ChatMessage(text="hello"), id="own")
        page = await room.history(before=2)
        assert [it.id for it in page.messages] == ["m1"]
        assert page.is_complete


@pytest.mark.parametrize("code", ["forbidden", "refused", "too_many_rooms", "invalid"])
async def test_a_room_that_may_not_be_entered_raises_why(code: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.expect("join")
        await peer.send("error", code=code, detail="not you", room="r")
        await peer.expect("join")
        await peer.joined()

    async with talking(script) as client:
        with pytest.raises(ServerError, match="not you"):
            await client.join("r")
        assert not client.rooms
        await client.join("r")


async def test_a_join_that_is_cancelled_leaves_those_who_wait_too() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.expect("join", room="r")
        await peer.expect("join", room="other")
        await peer.joined()
        await peer.expect("leave", room="other")

    async with talking(script) as client:
        patient = asyncio.create_task(client.join("r"))
        for name in ("r", "other"):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.join(name), 0.05)
            if name == "r":
                assert "r" in client.rooms
        assert "other" not in client.rooms
        await patient


async def test_an_evicted_reader_is_told_and_may_come_back() -> None:
    async def script(peer: Peer) -> None:
        await enter(peer)
        await peer.message(1)
        await peer.expect("signal")
        await peer.send("left", room="r", reason="evicted")
        await peer.expect("join", since={"epoch": "e", "offset": 1})
        await peer.joined(offset=1, recovered=True)
        await peer.message(2)

    async with talking(script) as client:
        room = await client.join("r")
        assert await ids(room, 1) == ["m1"]
        await room.signal(ChatTyping())
        with pytest.raises(Evicted):
            await anext(room)
        with pytest.raises(Evicted):
            await room.publish(ChatMessage(text="hello"))
        assert await client.join("r") is room
        assert await ids(room, 1) == ["m2"]


async def test_a_call_is_answered_or_raises() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        call = await peer.expect("call", event="chat.message", data={"text": "a"})
        await peer.send("result", id=call["id"], event="chat.message", data={"text": "b"})
        call = await peer.expect("call")
        await peer.send("result", id=call["id"])
        call = await peer.expect("call")
        await peer.send("error", code="refused", detail="no", ref=call["id"])
        await peer.expect("call")
        peer.abort()

    async def again(peer: Peer) -> None:
        await peer.welcome()
        await peer.expect("call", data={"text": "once more"})  # the lost one is not sent again

    ask = ChatMessage(text="a")
    async with talking(script, again) as client:
        assert (await client.call(ask, ChatMessage)).text == "b"
        with pytest.raises(TypeError, match=r"the answer to .* is None"):
            await client.call(ask, ChatMessage)
        with pytest.raises(ServerError, match="refused: no"):
            await client.call(ask)
        with pytest.raises(ConnectionLost):
            await client.call(ask)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.call(ChatMessage(text="once more"))


async def test_signals_and_presence() -> None:
    async def script(peer: Peer) -> None:
        await enter(peer)
        for number in range(MAX_SIGNALS + 10):
            sender = {"id": f"u{number}", "name": "x"}
            for _ in range(2):
                await peer.send("signal", room="r", event="chat.typing", data={}, sender=sender)
        await peer.send("presence", room="r", user=OTHER, event="join")
        await peer.message(1)
        await peer.expect("leave", room="r")
        left.set()

    left = asyncio.Event()
    async with talking(script) as client:
        room = await client.join("r")
        await anext(room)
        assert room.members is not None
        assert [it.name for it in room.members.values()] == ["Ada", "Bob"]
        assert room.count == 2
        found = await next_signals(room, MAX_SIGNALS)
        assert found[-1].sender is not None
        assert found[-1].sender.id == f"u{MAX_SIGNALS + 9}"
        await room.leave()
        assert [it async for it in room] == []
        await left.wait()


async def next_signals(room: Room, count: int) -> list[ReceivedSignal]:
    found = []
    async for signal in room.signals():
        found.append(signal)
        if len(found) == count:
            break
    return found


async def test_another_guest_s_own_room_is_another_room() -> None:
    """Where each connection is another user, so is the room @me."""

    def own(user: str, *since: object) -> Script:
        async def script(peer: Peer) -> None:
            await peer.welcome({"id": user, "name": user})
            assert "since" not in await peer.expect("join", room="@me")
            await peer.joined("@me")
            await peer.message(1, user, room="@me")
            if not since:
                peer.abort()

        return script

    async with talking(own("a"), own("b", "last")) as client:
        room = await client.join("@me")
        assert await ids(room, 1) == ["a"]
        with pytest.raises(MessagesMissed):
            await anext(room)
        assert await ids(room, 1) == ["b"]


async def test_a_page_that_cannot_be_had_raises_why() -> None:
    async def script(peer: Peer) -> None:
        await enter(peer)
        await peer.expect("history", limit=7)
        await peer.send("error", code="invalid", detail="before: too small", room="r")
        await peer.expect("history")
        await peer.send("history", room="r", epoch="e", messages=[{}], complete=True)
        await peer.expect("history")
        await peer.send("error", code="unavailable", detail="try again", room="r")
        await peer.expect("history", before=5)
        await peer.send("history", room="r", epoch="e", messages=[message(7)], complete=True)
        await peer.send("history", room="r", epoch="e", messages=[message(4)], complete=False)

    async with talking(script) as client:
        room = await client.join("r")
        for reason in ("before: too small", "can't be read"):
            with pytest.raises(ServerError, match=reason):
                await room.history(limit=7)
        page = await room.history(before=5)
        assert [it.offset for it in page.messages] == [4]
        for limit in (0, 101):
            with pytest.raises(ValueError, match="limit must be 1 to 100"):
                await room.history(limit=limit)


async def test_a_cancelled_request_does_not_answer_the_next_one() -> None:
    async def script(peer: Peer) -> None:
        await enter(peer)
        await peer.expect("history", before=9)
        await peer.send("signal", room="r", event="chat.typing", data={}, sender=OTHER)
        await asyncio.sleep(0.05)
        await peer.send("history", room="r", epoch="e", messages=[message(2)], complete=False)
        await peer.expect("history", before=5)
        await peer.send("history", room="r", epoch="e", messages=[message(4)], complete=False)

    async with talking(script) as client:
        room = await client.join("r")
        abandoned = asyncio.create_task(room.history(before=9))
        await anext(room.signals())
        abandoned.cancel()
        assert [it.offset for it in (await room.history(before=5)).messages] == [4]


async def test_no_more_than_so_many_own_messages_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.room.MAX_UNSENT", 2)

    async def script(peer: Peer) -> None:
        await enter(peer)
        for number in range(5):
            await peer.expect("publish", id=str(number))
            assert client.unsent <= 2
            await peer.message(number + 1, str(number), sender=USER)

    async with talking(script) as client:
        room = await client.join("r")
        async with asyncio.TaskGroup() as tasks:
            for number in range(5):
                tasks.create_task(room.publish(ChatMessage(text="x"), id=str(number)))
