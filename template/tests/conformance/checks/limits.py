"""What a client that sends too much is told."""

from websockets.exceptions import ConnectionClosed

from tests.conformance.target import Skipped, Target, equal

MANY = 2000
"""Pings at once: more than a usual limit."""


async def too_many_messages_are_refused_and_then_end_the_connection(target: Target) -> None:
    async with target.open() as client:
        try:
            for _ in range(MANY):
                await client.send(type="ping")
            for _ in range(MANY):
                await client.receive()
            raise Skipped(f"{MANY} pings at once were no problem")
        except ConnectionClosed as closed:
            equal(closed.rcvd and closed.rcvd.code, 1008, "the close code")
        codes = {it["code"] for it in client.seen if it["type"] == "error"}
        equal(codes, {"rate_limited"}, "the errors before it")
