"""Joining and leaving, and what a client missed meanwhile."""

from tests.conformance.target import Target, equal, expect, messages_in, new_room
from tests.support.client import Client


async def a_join_says_where_the_room_is_and_who_is_there(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        joined = await client.join(room)
        expect(isinstance(joined["epoch"], str), "epoch is no string")
        expect(isinstance(joined["offset"], int), "offset is no number")
        expect(isinstance(joined["recovered"], bool), "recovered is neither true nor false")
        equal(joined["count"], 1, "count")
        equal(joined["members"], [client.user], "members")


async def a_first_join_brings_the_recent_messages_and_then_live_ones(target: Target) -> None:
    room = new_room()
    async with target.open() as writer, target.open() as reader:
        await writer.join(room)
        ids = [await target.publish(writer, room) for _ in range(3)]
        await writer.messages(3)
        joined = await reader.join(room)
        ids.append(await target.publish(writer, room))
        found = await reader.messages(4)
    equal([it["id"] for it in found], ids, "the messages")
    equal(found[2]["offset"], joined["offset"], "the offset of the newest that was remembered")
    _expect_growing([it["offset"] for it in found])


async def a_client_that_was_away_gets_what_it_missed_once_and_in_order(target: Target) -> None:
    room = new_room()
    async with target.open() as writer:
        await writer.join(room)
        async with target.open() as reader:
            await reader.join(room)
            await target.publish(writer, room)
            seen = await reader.expect("message")
            await writer.expect("message")
        missed = [await target.publish(writer, room) for _ in range(5)]
        newest = (await writer.messages(5))[-1]
        async with target.open() as again:
            joined = await _come_back(again, room, reader, seen["offset"])
            live = await target.publish(writer, room)
            await writer.expect("message", id=live)
            found = messages_in([*await again.messages(6), *await again.on_the_way()], room)
    equal(joined["recovered"], True, "recovered")
    equal(joined["offset"], newest["offset"], "the offset of joined")
    equal([it["id"] for it in found], [*missed, live], "the messages after the position")
    _expect_growing([it["offset"] for it in found])


async def who_missed_nothing_gets_nothing(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        await client.join(room)
        await target.publish(client, room)
        last = await client.expect("message")
        async with target.open() as again:
            joined = await _come_back(again, room, client, last["offset"])
            equal(joined["recovered"], True, "recovered")
            equal(messages_in(await again.on_the_way(), room), [], "the messages")


async def a_position_of_another_epoch_is_not_recovered(target: Target) -> None:
    room = new_room()
    async with target.open() as writer, target.open() as reader:
        await writer.join(room)
        await target.publish(writer, room)
        await writer.expect("message")
        joined = await reader.join(room, {"epoch": "no-such-epoch", "offset": 0})
        equal(joined["recovered"], False, "recovered")
        equal(messages_in(await reader.on_the_way(), room), [], "the messages")
        live = await target.publish(writer, room)
        await reader.expect("message", id=live)


async def who_has_left_receives_nothing_more(target: Target) -> None:
    room = new_room()
    async with target.open() as writer, target.open() as reader:
        await writer.join(room)
        await reader.join(room)
        await reader.send(type="leave", room=room)
        await reader.expect("left", room=room)
        await target.publish(writer, room)
        await writer.expect("message")
        equal(messages_in(await reader.on_the_way(), room), [], "the messages")
        await reader.send(type="leave", room=room)
        await reader.expect("error", code="not_joined", room=room)


async def one_socket_is_in_several_rooms(target: Target) -> None:
    rooms = [new_room(), new_room()]
    async with target.open() as client:
        for room in rooms:
            await client.join(room)
        for room in reversed(rooms):
            await target.publish(client, room)
            await client.expect("message", room=room)


async def the_own_room_is_open_and_only_the_application_writes_there(target: Target) -> None:
    async with target.open() as client:
        await client.join("@me")
        id = await target.publish(client, "@me")  # noqa: A001
        await client.expect("error", code="forbidden", ref=id)
        await client.signal("@me", target.signal.event, **target.signal.data)
        await client.expect("error", code="forbidden", room="@me")
        await client.send(type="leave", room="@me")
        await client.expect("left", room="@me")


async def _come_back(client: Client, room: str, before: Client, offset: int) -> dict[str, object]:
    """Join again, after the messages up to an offset that another client has received."""
    joined = next(it for it in before.seen if it["type"] == "joined" and it["room"] == room)
    return await client.join(room, {"epoch": joined["epoch"], "offset": offset})


def _expect_growing(offsets: list[int]) -> None:
    equal(offsets, sorted(set(offsets)), "the offsets, which grow")
