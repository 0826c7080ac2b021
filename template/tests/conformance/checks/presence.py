"""Who is in a room."""

from tests.conformance.target import Skipped, Target, equal, expect, new_room
from tests.support.client import JSON, Client


async def members_see_who_joins_and_leaves(target: Target) -> None:
    room = new_room()
    async with target.pair() as (alice, bob):
        await alice.join(room)
        joined = await bob.join(room)
        equal(joined["count"], 2, "count")
        names = sorted(member["id"] for member in joined["members"])
        equal(names, sorted([alice.user["id"], bob.user["id"]]), "members")
        await _expect_presence(alice, room, "join", bob.user)
        await bob.send(type="leave", room=room)
        await _expect_presence(alice, room, "leave", bob.user)


async def a_socket_that_closes_leaves_its_rooms(target: Target) -> None:
    room = new_room()
    async with target.open() as alice:
        await alice.join(room)
        async with target.open(1) as bob:
            await bob.join(room)
            await _expect_presence(alice, room, "join", bob.user)
        await _expect_presence(alice, room, "leave", bob.user)


async def two_connections_of_a_user_count_once(target: Target) -> None:
    room = new_room()
    async with target.open(1) as watcher, target.open() as first, target.open() as second:
        if first.user["id"] != second.user["id"]:
            raise Skipped("every connection is a user of its own")
        await watcher.join(room)
        await first.join(room)
        await _expect_presence(watcher, room, "join", first.user)
        joined = await second.join(room)
        equal(joined["count"], 2, "count")
        await first.send(type="leave", room=room)
        await first.expect("left", room=room)
        await target.publish(second, room)
        await watcher.expect("message", room=room)  # after whatever the leaving had caused
        later = [it for it in await watcher.on_the_way() if it.get("event") == "leave"]
        equal(later, [], "who left, while one of their connections is there")
        await second.send(type="leave", room=room)
        await _expect_presence(watcher, room, "leave", first.user)
        told = [it for it in watcher.seen if it.get("event") == "leave"]
        equal(len(told), 1, "how often the user left")


async def _expect_presence(client: Client, room: str, event: str, user: JSON) -> None:
    """Wait until members are told that a user has come or gone."""
    while True:
        presence = await client.expect("presence", room=room)
        expect("event" in presence, f"a room of two has no list of members: {presence}")
        users = presence.get("users") or [presence["user"]]
        if presence["event"] == event and user in users:
            return
