"""What a client sends besides messages: pings, pongs and fragments."""

import asyncio

import pytest
from websockets.frames import Close, Frame, Opcode

from app.realtime.server import frames
from app.realtime.server.frames import MAX_CONTROL_FRAMES, MAX_PARTS
from tests.engine.server.test_frames import LARGE, Socket, open_socket
from tests.support.client import until

FLOODS = {
    "pings": Frame(Opcode.PING, b""),
    "pongs": Frame(Opcode.PONG, b""),
    "fragments": Frame(Opcode.CONT, b"", fin=False),
}


@pytest.fixture
def any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allows any number of control frames and fragments."""
    monkeypatch.setattr(frames, "MAX_CONTROL_FRAMES", 1_000_000)


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_of_control_frames_closes_the_socket_at_once(kind: str) -> None:
    async with open_socket() as opened:
        opened.peer.write(Frame(Opcode.TEXT, b"begun", fin=False).serialize(mask=True))
        handled = 0
        handle = opened.protocol.handle_events

        def count() -> None:
            nonlocal handled
            handled += 1
            handle()

        opened.protocol.handle_events = count  # type: ignore[method-assign]
        opened.peer.write(FLOODS[kind].serialize(mask=True) * 5_000)
        answers = [await opened.frame()]
        while answers[-1][0] is not Opcode.CLOSE:
            answers.append(await opened.frame())
        assert Close.parse(answers[-1][1]).code == 1008
        assert len(answers) < 1000, "too much was parsed before the limit was checked"
        await until(lambda: opened.is_lost)
        assert handled < 5, "the server went on reading"


async def test_a_client_may_send_as_many_control_frames_as_allowed() -> None:
    async with open_socket() as opened:
        for _ in range(MAX_CONTROL_FRAMES):
            opened.answer(Opcode.PONG, b"")
        opened.answer(Opcode.TEXT, b"hello")
        await until(lambda: opened.events == ["websocket.receive"])


async def test_a_second_later_a_client_may_send_as_many_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_socket() as opened:
        for _ in range(2):
            for _ in range(MAX_CONTROL_FRAMES):
                opened.answer(Opcode.PING, b"")
            for _ in range(MAX_CONTROL_FRAMES):
                assert (await opened.frame())[0] is Opcode.PONG
            now = opened.protocol.loop.time()
            monkeypatch.setattr(opened.protocol, "_control_frames_since", now - 1)


async def test_empty_fragments_take_no_memory(any_number: None) -> None:  # noqa: ARG001
    async with open_socket() as opened:
        opened.peer.write(Frame(Opcode.TEXT, b"one", fin=False).serialize(mask=True))
        for _ in range(1000):
            opened.peer.write(Frame(Opcode.CONT, b"", fin=False).serialize(mask=True))
        opened.peer.write(Frame(Opcode.CONT, b" two", fin=False).serialize(mask=True))
        opened.answer(Opcode.PING, b"")
        assert (await opened.frame())[0] is Opcode.PONG
        assert opened.protocol.frames == [b"one", b" two"]
        opened.peer.write(Frame(Opcode.CONT, b"").serialize(mask=True))
        await until(lambda: opened.events == ["websocket.receive"])


async def test_a_message_in_many_pieces_is_kept_as_few(any_number: None) -> None:  # noqa: ARG001
    async with open_socket() as opened:
        opened.peer.write(Frame(Opcode.TEXT, b"a", fin=False).serialize(mask=True))
        opened.peer.write(Frame(Opcode.CONT, b"b", fin=False).serialize(mask=True) * 1000)
        opened.answer(Opcode.PING, b"")
        assert (await opened.frame())[0] is Opcode.PONG
        assert len(opened.protocol.frames) <= MAX_PARTS
        assert b"".join(opened.protocol.frames) == b"a" + b"b" * 1000


async def test_pongs_do_not_pile_up_for_a_client_that_does_not_read(
    any_number: None,  # noqa: ARG001
) -> None:
    async with open_socket() as opened:
        opened.fill()
        full = opened.protocol.transport.get_write_buffer_size()
        for _ in range(10):
            for _ in range(1000):
                opened.answer(Opcode.PING, b"x" * 125)
            await opened.peer.drain()
        opened.answer(Opcode.TEXT, b"the last")
        await until(lambda: opened.events == ["websocket.receive"])
        assert opened.protocol.transport.get_write_buffer_size() == full


# --- Pongs that can't be read yet -------------------------------------------------


async def leave_unread(opened: Socket) -> None:
    """Send a message while the application is busy with another one, so that reading is paused."""
    opened.reads.clear()
    for _ in range(2):
        opened.answer(Opcode.TEXT, b"hello")
        await asyncio.sleep(0.05)
    await until(lambda: opened.protocol.read_paused)


async def test_a_client_that_takes_data_is_kept_though_its_pong_cannot_be_read() -> None:
    async with open_socket(ws_ping_interval=0.3, ws_ping_timeout=0.3) as opened:
        await leave_unread(opened)
        for _ in range(20):
            opened.protocol.pause_writing()
            await asyncio.sleep(0.1)
            opened.protocol.resume_writing()  # as the transport does: it has taken some
        assert not opened.is_lost
        await until(lambda: opened.is_lost)
        opened.reads.set()


async def test_a_client_that_takes_no_data_is_dropped_when_its_pong_cannot_be_read() -> None:
    async with open_socket(ws_ping_interval=0.1, ws_ping_timeout=0.1) as opened:
        await leave_unread(opened)
        opened.protocol.write_frames(LARGE)
        await until(lambda: opened.is_lost)
        opened.reads.set()
