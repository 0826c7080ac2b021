"""Against a server that misbehaves at random, no message is lost, doubled or reordered."""

import asyncio

import pytest

from client import MessagesMissed, Room, Unconfirmed, connect
from client.inbox import Inbox
from client.membership import Membership
from tests.engine.client.python.model import GAP, Model, check, publish_others
from tests.engine.client.python.scripted import NoCredentials, scripted
from tests.engine.example.events import ChatMessage

OTHERS = 80
OWN = 20

pytestmark = pytest.mark.usefixtures("known_events")


async def read(room: Room, received: list[str | None], model: Model) -> None:
    """Read until the last message of all. The reader is slow at times."""
    while True:
        try:
            async for message in room:
                received.append(message.id)
                if message.id == "last":
                    return
                if model.happens(0.1):
                    await asyncio.sleep(0.01)
        except MessagesMissed:
            received.append(GAP)


async def publish_own(room: Room) -> None:
    for number in range(OWN):
        await publish(room, str(number), f"own-{number}")


async def publish(room: Room, text: str, id: str) -> None:  # noqa: A002
    """Publish until the server confirms it."""
    while True:
        try:
            await room.publish(ChatMessage(text=text), id=id)
        except Unconfirmed:
            continue
        return


async def run(seed: int, patience: float = 20) -> None:
    """A conversation in which much goes wrong. Raises AssertionError if the client did."""
    model = Model(seed)
    received: list[str | None] = []

    async with (
        asyncio.timeout(patience),
        scripted(then=model.serve) as url,
        connect(url, NoCredentials(), messages_per_second=0, inbox_size=8) as client,
        asyncio.TaskGroup() as tasks,
    ):
        room = await client.join("r")
        reading = tasks.create_task(read(room, received, model))
        own = tasks.create_task(publish_own(room))
        await publish_others(model, OTHERS)
        await own
        model.is_calm = True
        await publish(room, "the end", "last")
        await reading
    check(model.log, received)
    published = [it["id"] for it in model.log if it["id"].startswith("own")]
    assert published == [f"own-{number}" for number in range(OWN)]


@pytest.mark.parametrize("seed", range(12))
async def test_no_message_is_lost_doubled_or_reordered(seed: int) -> None:
    await run(seed)


@pytest.mark.parametrize(
    ("owner", "name", "planted"),
    [
        (Membership, "resync", lambda _: None),
        (Membership, "_last", property(lambda _: -1)),
        (Membership, "_wanted_since", property(lambda _: None)),
        (Inbox, "missed", lambda *_: None),
    ],
    ids=["no resync", "no deduplication", "no position", "silent gaps"],
)
async def test_a_planted_fault_is_found(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, planted: object
) -> None:
    monkeypatch.setattr(owner, name, planted)
    with pytest.raises((AssertionError, ExceptionGroup, TimeoutError)):
        await run_several()


async def run_several() -> None:
    for seed in range(12):
        await run(seed, patience=3)
