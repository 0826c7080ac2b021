"""Messages that clients publish."""

import asyncio
from datetime import datetime

from tests.conformance.target import Skipped, Target, equal, expect, messages_in, new_room

COUNT = 15
"""Messages that each client publishes at once: fewer than a usual limit."""


async def every_member_receives_it_and_the_sender_too(target: Target) -> None:
    room = new_room()
    async with target.pair() as (alice, bob):
        await alice.join(room)
        await bob.join(room)
        id = await target.publish(alice, room)  # noqa: A001
        own, other = [await client.expect("message", id=id) for client in (alice, bob)]
        equal(own, other, "what the sender and another member got")
        equal(own["sender"], alice.user, "the sender")
        equal(own["event"], target.message.event, "the event")
        expect(target.message.data.items() <= own["data"].items(), "the data is another one")
        moment = datetime.fromisoformat(own["sent_at"])
        expect(moment.tzinfo is not None, f"sent_at has no time zone: {own['sent_at']}")


async def all_members_see_one_order(target: Target) -> None:
    room = new_room()
    async with target.open() as first, target.open() as second, target.open() as third:
        clients = (first, second, third)
        for client in clients:
            await client.join(room)
        sent = await asyncio.gather(
            *(_publish_many(target, client, room) for client in (first, second))
        )
        seen = [await client.messages(2 * COUNT) for client in clients]
        more = [messages_in(await client.on_the_way(), room) for client in clients]
    orders = [[it["id"] for it in messages] for messages in seen]
    equal(more, [[], [], []], "messages that came once more")
    equal(orders[1:], [orders[0]] * 2, "the order of the others")
    equal(sorted(orders[0]), sorted([*sent[0], *sent[1]]), "the messages")
    offsets = [it["offset"] for it in seen[0]]
    equal(offsets, sorted(set(offsets)), "the offsets, which grow")
    for ids in sent:
        equal([id for id in orders[0] if id in ids], ids, "the order of a sender")  # noqa: A001


async def _publish_many(target: Target, client: object, room: str) -> list[str]:
    return [await target.publish(client, room) for _ in range(COUNT)]  # type: ignore[arg-type]


async def an_id_is_delivered_once(target: Target) -> None:
    room = new_room()
    async with target.open() as sender, target.open() as reader:
        await sender.join(room)
        await reader.join(room)
        for _ in range(2):
            await target.publish(sender, room, "twice")
            await sender.expect("message", id="twice")  # its acknowledgement, again
        last = await target.publish(sender, room)
        found = [await reader.expect("message") for _ in range(2)]
    equal([it["id"] for it in found], ["twice", last], "what another member received")


async def an_id_is_of_its_room_only(target: Target) -> None:
    rooms = [new_room(), new_room()]
    async with target.open() as client:
        for room in rooms:
            await client.join(room)
            await target.publish(client, room, "same")
            await client.expect("message", room=room, id="same")


async def an_id_of_another_users_message_is_taken(target: Target) -> None:
    room = new_room()
    async with target.pair() as (alice, bob):
        await alice.join(room)
        await bob.join(room)
        await target.publish(alice, room, "taken")
        await bob.expect("message", id="taken")
        await target.publish(bob, room, "taken")
        await bob.expect("error", code="invalid", ref="taken")


async def outside_of_the_room_it_is_refused(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        await target.publish(client, room, "early")
        await client.expect("error", code="not_joined", room=room, ref="early")


async def an_unknown_event_is_refused_by_its_id(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        await client.join(room)
        await client.publish_event(room, "no.such.event", {}, "unknown")
        await client.expect("error", code="invalid", ref="unknown")
        await target.publish(client, room, "fine")
        await client.expect("message", id="fine")


async def data_that_does_not_fit_is_refused_by_its_id(target: Target) -> None:
    room = new_room()
    if not target.message.data:
        raise Skipped("the sample message has no data that could be wrong")
    async with target.open() as client:
        await client.join(room)
        wrong = {name: [[value]] for name, value in target.message.data.items()}
        await client.publish_event(room, target.message.event, wrong, "wrong")
        await client.expect("error", code="invalid", room=room, ref="wrong")


async def a_signal_cannot_be_published(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        await client.join(room)
        await client.publish_event(room, target.signal.event, {**target.signal.data}, "signal")
        await client.expect("error", code="invalid", ref="signal")
