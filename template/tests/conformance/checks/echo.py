"""`/ws/echo`, the example of an endpoint of one's own."""

from websockets.exceptions import InvalidStatus

from tests.conformance.target import Skipped, Target, equal
from tests.support.client import open_client


async def frames_come_back_as_they_went(target: Target) -> None:
    try:
        async with open_client(target.base, target.users[0], f"{target.path}/echo") as client:
            await client.expect("welcome")
            for frame in ("text", b"\x00\xff", '{"any": "json"}'):
                await client.socket.send(frame)
                equal(await client.socket.recv(), frame, "what came back")
    except InvalidStatus as refusal:
        if refusal.response.status_code in {403, 404}:
            raise Skipped("this server has no such endpoint") from None
        raise
