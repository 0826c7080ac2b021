"""Signals, which no room remembers."""

from tests.conformance.target import Target, equal, new_room


async def a_signal_reaches_the_others_and_not_its_sender(target: Target) -> None:
    room = new_room()
    async with target.pair() as (alice, bob):
        await alice.join(room)
        await bob.join(room)
        await alice.signal(room, target.signal.event, **target.signal.data)
        signal = await bob.expect("signal", room=room, event=target.signal.event)
        equal(signal["sender"], alice.user, "the sender")
        own = [it for it in await alice.on_the_way() if it["type"] == "signal"]
        equal(own, [], "what the sender received")


async def a_signal_is_not_remembered(target: Target) -> None:
    room = new_room()
    async with target.open() as first, target.open() as second, target.open() as late:
        await first.join(room)
        await second.join(room)
        await first.signal(room, target.signal.event, **target.signal.data)
        await second.expect("signal")
        await late.join(room)
        await late.send(type="history", room=room)
        page = await late.expect("history", room=room)
        equal(page["messages"], [], "the history")
        found = [it for it in late.seen if it["type"] == "signal"]
        equal(found, [], "the signals of a client that came later")


async def outside_of_the_room_it_is_refused(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        await client.signal(room, target.signal.event, **target.signal.data)
        await client.expect("error", code="not_joined", room=room)


async def an_event_cannot_be_sent_as_a_signal(target: Target) -> None:
    room = new_room()
    async with target.open() as client:
        await client.join(room)
        await client.signal(room, target.message.event, **target.message.data)
        await client.expect("error", code="invalid", room=room)
