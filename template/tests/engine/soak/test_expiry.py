"""The memory of history that expired is freed."""

import asyncio

import pytest

from tests.engine.soak.conftest import Measured, StartSoakServer
from tests.support.auth import sign_in
from tests.support.client import Client, open_client

pytestmark = pytest.mark.soak

CYCLES = 12
WARM_UP = 4
ROOMS = 20
MESSAGES = 100
"""Published in each room of each cycle."""
HISTORY_SECONDS = 2
TEXT = "x" * 2000


async def test_expired_history_is_freed(
    start_server: StartSoakServer, broker_url: str, room: str, measured: Measured
) -> None:
    server = await start_server(BROKER_URL=broker_url, HISTORY_SECONDS=HISTORY_SECONDS)
    memory = []
    async with (
        asyncio.timeout(240),
        open_client(server.ws_url, await sign_in(server.url, "alice")) as client,
    ):
        await client.join(room)
        for cycle in range(CYCLES):
            for number in range(ROOMS):
                brief = f"{room[-8:]}-{cycle}-{number}"
                await client.join(brief)
                for message in range(MESSAGES):
                    await client.publish(brief, TEXT, id=str(message))
                await client.expect("message", id=str(MESSAGES - 1))
                await client.send(type="leave", room=brief)
            await publish_for(client, room, 1.5 * HISTORY_SECONDS)
            memory.append(server.memory())
    published = ROOMS * MESSAGES * len(TEXT)
    measured("MB published in a cycle", published / 1e6)
    measured("MB of memory after each cycle", [round(size / 1e6) for size in memory])
    measured("ratio of memory", memory[-1] / memory[WARM_UP - 1])
    grown = memory[-1] - memory[WARM_UP - 1]
    assert grown <= published, f"{grown} bytes more after {CYCLES - WARM_UP} cycles: {memory}"


async def publish_for(client: Client, room: str, seconds: float) -> None:
    """Publish in a room that stays in use, and receive it."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        last = await client.publish(room, TEXT)
        await asyncio.sleep(0.005)
    await client.expect("message", id=last)
    client.seen.clear()
