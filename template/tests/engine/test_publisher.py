"""The publisher: in the application, in other processes, and in a shell."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.realtime import (
    Application,
    Authentication,
    BrokerUnavailable,
    IdTaken,
    LocalBroker,
    Unauthenticated,
    User,
    open_publisher,
    open_sync_publisher,
)
from app.realtime.broker import Record
from app.realtime.broker.memory import MemoryBackend
from app.realtime.protocol import Position
from app.realtime.publisher import Publisher
from tests.engine.example.events import ChatMessage, ChatTyping
from tests.engine.example.permissions import may
from tests.engine.example.settings import Settings
from tests.engine.example_server import EXAMPLE
from tests.support.auth import SETTINGS, sign_in
from tests.support.client import Client, open_client
from tests.support.server import PROJECT, AppServer

HELLO = ChatMessage(text="hello")


@pytest.fixture
def settings(broker_url: str) -> Settings:
    """Those of another process, which skips the test where there can't be one."""
    return Settings.model_validate({"broker_url": broker_url})


@pytest_asyncio.fixture
async def alice(server: AppServer) -> AsyncIterator[Client]:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as client:
        await client.expect("welcome")
        yield client


# --- Another process --------------------------------------------------------------


async def test_another_process_publishes_to_rooms_and_users(
    alice: Client, settings: Settings, room: str
) -> None:
    await alice.join(room)
    await alice.join("@me")
    if settings.broker_url == "memory://":
        with pytest.raises(LocalBroker, match="within one process only"):
            async with open_publisher(settings):
                pass
        return
    async with open_publisher(settings) as publisher:
        position = await publisher.publish(room, HELLO, id="first")
        message = await alice.expect("message", room=room, id="first")
        assert message["offset"] == position.offset
        assert "sender" not in message
        await publisher.signal(room, ChatTyping())
        await alice.expect("signal", room=room, event="chat.typing")
        await publisher.notify(alice.user["id"], HELLO)
        await alice.expect("message", room="@me", data={"text": "hello"})
        sender = User(id="bot", name="Bot")
        await publisher.publish(room, HELLO, sender=sender)
        assert (await alice.expect("message"))["sender"] == {"id": "bot", "name": "Bot"}
        assert await publisher.publish(room, HELLO, id="first") == position
        with pytest.raises(IdTaken):
            await publisher.publish(room, ChatMessage(text="other"), id="first")


async def test_code_without_an_event_loop_publishes(
    alice: Client, settings: Settings, room: str
) -> None:
    def work() -> list[Position]:
        with open_sync_publisher(settings) as publisher:
            publisher.signal(room, ChatTyping())
            positions = [publisher.publish(room, HELLO, id="same") for _ in range(2)]
            publisher.notify(alice.user["id"], HELLO)
            return positions

    def dismiss() -> None:
        with open_sync_publisher(settings) as publisher:
            publisher.evict(alice.user["id"], room)
            publisher.disconnect(alice.user["id"])

    await alice.join(room)
    await alice.join("@me")
    if settings.broker_url == "memory://":
        with pytest.raises(LocalBroker):
            await asyncio.to_thread(work)
        return
    first, second = await asyncio.to_thread(work)
    assert first == second
    await alice.expect("signal", room=room)
    await alice.expect("message", room=room, offset=first.offset)
    await alice.expect("message", room="@me")
    await asyncio.to_thread(dismiss)
    await alice.socket.wait_closed()
    assert alice.socket.close_code == 4403


async def run_app(folder: Path, broker_url: str, *arguments: str) -> tuple[int, str, str]:
    """Run the command line in a process of its own: exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *EXAMPLE, *arguments),
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROJECT),
            "BROKER_URL": broker_url,
            **SETTINGS,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def test_the_shell_publishes(
    alice: Client, broker_url: str, room: str, tmp_path: Path
) -> None:
    await alice.join(room)
    await alice.join("@me")
    data = json.dumps({"text": "from a shell"})
    publish = ("publish", room, "chat.message", data)
    code, output, errors = await run_app(tmp_path, broker_url, *publish, "--id", "1")
    if broker_url == "memory://":
        assert (code, output) == (1, "")
        assert errors.startswith("BROKER_URL is memory://, which carries messages within one")
        return
    assert (code, errors) == (0, "")
    message = await alice.expect("message", room=room, id="1", data={"text": "from a shell"})
    assert json.loads(output)["offset"] == message["offset"]
    notify = ("notify", alice.user["id"], "chat.message", data)
    assert (await run_app(tmp_path, broker_url, *notify))[0] == 0
    await alice.expect("message", room="@me")
    assert (await run_app(tmp_path, broker_url, "publish", room, "chat.typing"))[:2] == (0, "{}\n")
    await alice.expect("signal", room=room)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("lobby", "no.such"), "there is no event 'no.such' in app/events.py"),
        (("lobby", "chat.message", '{"text": ""}'), "data.text: String should have at least"),
        (("lobby", "chat.message", "{"), "data: Invalid JSON"),
        (("no spaces", "chat.typing"), "'no spaces' is not the name of a room"),
    ],
    ids=["event", "data", "json", "room"],
)
async def test_the_shell_is_told_what_is_wrong(
    broker_url: str, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    if broker_url == "memory://" and "room" in sentence:
        sentence = "BROKER_URL is memory://"
    code, output, errors = await run_app(tmp_path, broker_url, "publish", *arguments)
    assert (code, output) == (1, "")
    assert errors.startswith(sentence)
    assert "Traceback" not in errors


# --- In one process ---------------------------------------------------------------


class AwayBackend(MemoryBackend):
    """A broker that takes nothing."""

    def submit(
        self,
        channel: str,  # noqa: ARG002
        message: str | Record,  # noqa: ARG002
        seen: Position | None = None,  # noqa: ARG002
    ) -> Position | None:
        raise BrokerUnavailable


async def test_a_publisher_says_when_the_broker_is_away() -> None:
    publisher = Publisher(AwayBackend("memory://", 10, 10))
    for work in (
        publisher.publish("lobby", HELLO),
        publisher.notify("user", HELLO),
        publisher.signal("lobby", ChatTyping()),
        publisher.disconnect("user"),
        publisher.evict("user", "lobby"),
    ):
        with pytest.raises(BrokerUnavailable):
            await work


async def test_the_applications_own_lifespan_can_publish() -> None:
    positions: list[Position] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        publisher: Publisher = app.state.publisher
        positions.append(await publisher.publish("lobby", HELLO))
        yield
        positions.append(await publisher.publish("lobby", HELLO))

    app = Application(
        settings=Settings.model_validate({name.lower(): it for name, it in SETTINGS.items()}),
        authentication=Authentication(nobody),
        events=ModuleType("events"),
        handlers=ModuleType("handlers"),
        may=may,
        lifespan=lifespan,
    )
    async with app.router.lifespan_context(app):
        assert len(positions) == 1
    assert positions[0].offset < positions[1].offset


async def nobody() -> User:
    raise Unauthenticated("nobody may connect")


@pytest.mark.parametrize("room", ["", "no spaces", "r" * 65, "@me", "@", "line\n"])
async def test_a_bad_room_is_refused(room: str) -> None:
    publisher = Publisher(MemoryBackend("memory://", 10, 10))
    with pytest.raises(ValueError, match="is not the name of a room"):
        await publisher.publish(room, HELLO)
    with pytest.raises(ValueError, match="is not the name of a room"):
        await publisher.signal(room, ChatTyping())


@pytest.mark.parametrize("id", ["", "i" * 65, "line\n", "\ud800"], ids=ascii)
async def test_a_bad_id_is_refused(id: str) -> None:  # noqa: A002
    publisher = Publisher(MemoryBackend("memory://", 10, 10))
    with pytest.raises(ValueError, match="an id has 1 to 64 printable characters"):
        await publisher.publish("lobby", HELLO, id=id)
