"""Two processes of the application on one broker, and a user on each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tests.support.auth import sign_in
from tests.support.client import Client, open_client
from tests.support.server import PATIENCE, AppServer, StartServer

PAIR = ("alice", "bob")


async def start_pair(
    start_server: StartServer, broker_url: str, **settings: object
) -> list[AppServer]:
    """Two processes that can reach each other."""
    settings = {"BROKER_URL": broker_url, "PING_INTERVAL": 1, **settings}
    servers = list(await asyncio.gather(*(start_server(**settings) for _ in PAIR)))
    await wait_until_ready(servers)
    return servers


async def wait_until_ready(servers: Sequence[AppServer], patience: float = PATIENCE) -> None:
    """Wait until all can reach their broker, for at most so many seconds each."""
    for server in servers:
        await server.wait_for_status("/readyz", 200, patience)


@asynccontextmanager
async def pair_in(room: str, servers: list[AppServer]) -> AsyncIterator[list[Client]]:
    """A user on each process, both in one room."""
    async with AsyncExitStack() as stack:
        clients = []
        for server, name in zip(servers, PAIR, strict=True):
            credentials = await sign_in(server.url, name)
            client = await stack.enter_async_context(open_client(server.ws_url, credentials))
            await client.join(room)
            clients.append(client)
        yield clients


async def deliver_both_ways(room: str, clients: list[Client]) -> None:
    """Check that each receives what the other publishes, and what it publishes itself."""
    for sender in clients:
        name = await sender.publish(room, "hello")
        for client in clients:
            await client.expect("message", id=name)
