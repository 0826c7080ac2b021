"""Paging back."""

from tests.conformance.target import Target, equal, new_room


async def pages_go_back_to_the_oldest_message(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        joined = await client.join(room)
        ids = [await target.publish(client, room) for _ in range(5)]
        await client.messages(5)
        found: list[str] = []
        before: dict[str, int] = {}
        for size, complete in ((2, False), (2, False), (1, True)):
            await client.send(type="history", room=room, limit=2, **before)
            page = await client.expect("history", room=room)
            equal(page["epoch"], joined["epoch"], "the epoch")
            equal(len(page["messages"]), size, "the messages of a page")
            equal(page["complete"], complete, "complete")
            found = [it["id"] for it in page["messages"]] + found
            before = {"before": page["messages"][0]["offset"]}
    equal(found, ids, "all pages, the newest last")


async def a_page_has_the_messages_as_they_came(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        await client.join(room)
        await target.publish(client, room)
        message = await client.expect("message")
        await client.send(type="history", room=room)
        page = await client.expect("history", room=room)
    equal(page["messages"], [message], "the page")
    equal(page["complete"], True, "complete")


async def only_members_read_it(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        await client.send(type="history", room=room)
        await client.expect("error", code="not_joined", room=room)
