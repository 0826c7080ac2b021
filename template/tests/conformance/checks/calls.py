"""Calls, each of which has an answer."""

from tests.conformance.target import Skipped, Target, equal, expect


async def a_call_is_answered_with_its_id(target: Target) -> None:
    if target.call is None:
        raise Skipped("see --call")
    async with target.open() as client:
        for id in ("first", "second"):  # noqa: A001
            await client.send(
                type="call", id=id, event=target.call.event, data={**target.call.data}
            )
        answers = [await client.expect("result") for _ in range(2)]
    equal([it["id"] for it in answers], ["first", "second"], "the ids")
    for answer in answers:
        expect(("event" in answer) == ("data" in answer), "event and data come together")


async def an_unknown_call_is_refused_by_its_id(target: Target) -> None:
    async with target.open() as client:
        answer = await client.call("no.such.call")
        equal((answer["type"], answer["code"]), ("error", "invalid"), "the answer")
