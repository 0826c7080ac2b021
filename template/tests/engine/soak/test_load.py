"""Many rooms at once, in which every member publishes."""

import asyncio

import pytest

from tests.engine.soak.conftest import Measured, StartSoakServer
from tests.engine.soak.light import open_light
from tests.engine.soak.member import Member, publishing, settle, verify_room
from tests.support.auth import sign_in

pytestmark = pytest.mark.soak

ROOMS = 20
MEMBERS = 10
"""Of each room."""
PAUSE = 0.2
"""Seconds between two messages of a member, on average."""
SECONDS = 20


async def test_every_member_receives_every_message_once_and_in_order(
    start_server: StartSoakServer, broker_url: str, room: str, measured: Measured
) -> None:
    server = await start_server(BROKER_URL=broker_url)
    credentials = await sign_in(server.url, "alice")
    rooms = {f"{room[-20:]}-{number}": list[Member]() for number in range(ROOMS)}
    try:
        for name, members in rooms.items():
            for _ in range(MEMBERS):
                members.append(await open_light(server.port, credentials, Member(name)))
                await members[-1].join()
        everybody = [member for members in rooms.values() for member in members]
        async with asyncio.timeout(3 * SECONDS):
            async with publishing(everybody, PAUSE):
                await asyncio.sleep(SECONDS)
            await settle(everybody)
        for name, members in rooms.items():
            verify_room(name, members)
    finally:
        for members in rooms.values():
            for member in members:
                member.abort()
    measured("messages", sum(len(member.acknowledged) for member in everybody))
    measured("deliveries", sum(len(member.received) for member in everybody))
