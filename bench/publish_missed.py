"""Publish what the clients miss while the server is away, from a process of its own.

It runs with the generated app's interpreter and settings. Its arguments are the generator's run,
the number of rooms, the number of the first message in each room, how many there are, and the
length of their texts. Each text begins with a mark by which the generator recognizes it.
"""

import asyncio
import sys

from app.events import ChatMessage
from app.realtime import open_publisher
from app.settings import load_settings


async def main(run: int, rooms: int, first: int, count: int, length: int) -> None:
    async with open_publisher(load_settings()) as publisher:
        for room in range(rooms):
            for number in range(first, first + count):
                text = f"@@{run:04x}{room & 0xFFFF:04x}{number:08x}".ljust(length, "x")
                await publisher.publish(f"bench-{run:04x}-{room}", ChatMessage(text=text))


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
