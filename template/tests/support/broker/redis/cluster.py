"""A Redis Cluster of the test's own: three masters with a replica each."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from app.realtime.broker.redis.names import BUCKET_PREFIXES, BUCKET_SLOTS, SLOTS, bucket_of
from tests.support.broker.redis.server import RedisServer, until_answered
from tests.support.broker.redis.tls import Certificates
from tests.support.broker_server import BrokerServer
from tests.support.server import PATIENCE, free_port

MASTERS = 3

NODE_TIMEOUT = 1500
"""Milliseconds of silence after which a master is replaced."""

CONF = {
    "cluster-enabled": "yes",
    "cluster-node-timeout": str(NODE_TIMEOUT),
    "cluster-replica-validity-factor": "0",
    "cluster-require-full-coverage": "no",
    "repl-diskless-sync-delay": "0",
}


class RedisCluster(BrokerServer):
    """Six nodes on free ports. The first three are masters when it is new."""

    accepts_within = 10.0

    def __init__(
        self,
        folder: Path,
        binary: str = "redis-server",
        certificates: Certificates | None = None,
        /,
        **options: str,
    ) -> None:
        super().__init__(folder)
        scheme, query = "redis+cluster", ""
        conf = {**CONF, **options}
        if certificates is not None:
            scheme, query = "rediss+cluster", certificates.query
            conf |= {"tls-cluster": "yes", "tls-replication": "yes"}
        self.nodes: list[RedisServer] = []
        for number in range(2 * MASTERS):
            (folder / f"node-{number}").mkdir()
            conf["cluster-port"] = str(free_port())
            node = RedisServer(folder / f"node-{number}", binary, certificates, **conf)
            self.nodes.append(node)
        addresses = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.url = f"{scheme}://{addresses}{query}"
        self._is_new = True

    async def start(self) -> None:
        for node in self.nodes:
            node.launch()
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(node.client()) for node in self.nodes]
            for client in clients:
                await until_answered(client)
            if self._is_new:
                self._is_new = False
                await self._form(clients)
            for client in clients:
                await until_formed(client)

    async def _form(self, clients: Sequence[Redis]) -> None:
        """Make one cluster of the nodes."""
        ids = [(await ask(client, "CLUSTER MYID")).decode() for client in clients]
        for number, client in enumerate(clients):
            await ask(client, "CLUSTER SET-CONFIG-EPOCH", number + 1)
        for number, client in enumerate(clients[:MASTERS]):
            ends = [SLOTS * at // MASTERS for at in (number, number + 1)]
            await ask(client, "CLUSTER ADDSLOTSRANGE", ends[0], ends[1] - 1)
        for node in self.nodes[1:]:
            bus = node.options["cluster-port"]
            await ask(clients[0], "CLUSTER MEET", "127.0.0.1", node.port, bus)
        for number, client in enumerate(clients[MASTERS:]):
            async with asyncio.timeout(PATIENCE):
                while ids[number] not in str(await ask(client, "CLUSTER NODES")):
                    await asyncio.sleep(0.02)
            await ask(client, "CLUSTER REPLICATE", ids[number])

    async def owner(self, channel: str) -> RedisServer:
        """The master that has a channel, as a node that answers knows it."""
        slot = BUCKET_SLOTS[bucket_of(channel)]
        for slots, port in await self._masters():
            if slot in slots:
                return self.at(port)
        raise LookupError(f"nobody has the slot {slot}")

    async def slots_of(self, master: RedisServer) -> set[int]:
        """The slots that a master has."""
        owned = [slots for slots, port in await self._masters() if port == master.port]
        return set().union(*owned)

    async def _masters(self) -> list[tuple[range, int]]:
        """Slots, and the port of their master."""
        asked = next(node for node in self.nodes if node.answers)
        async with asked.client() as client:
            answer = await ask(client, "CLUSTER SLOTS")
        return [(range(start, end + 1), master[1]) for start, end, master, *_ in answer]

    async def replica_of(self, master: RedisServer) -> RedisServer:
        """The replica that a master has."""
        async with master.client() as client:
            about = await client.info("replication")
        return self.at(about["slave0"]["port"])

    async def replace(self, master: RedisServer) -> None:
        """Have the replica of a master take over, while both run."""
        replica = await self.replica_of(master)
        async with replica.client() as client, asyncio.timeout(3 * PATIENCE):
            while (await client.info("replication"))["role"] != "master":
                # It is given up if it takes more than 5 s on a busy machine.
                await ask(client, "CLUSTER FAILOVER")
                for _ in range(50):
                    await asyncio.sleep(0.1)
                    if (await client.info("replication"))["role"] == "master":
                        break

    def at(self, port: int) -> RedisServer:
        """The node at a port."""
        return next(node for node in self.nodes if node.port == port)

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def pause(self) -> None:
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        for node in self.nodes:
            node.resume()

    async def restore(self) -> None:
        for node in self.nodes:
            await node.restore()
        for node in self.nodes:
            async with node.client() as client:
                await until_formed(client)

    async def lose_data(self) -> None:
        for node in self.nodes:
            await node.lose_data()

    async def cut(self) -> None:
        for node in self.nodes:
            await node.cut()

    async def inject(self, channel: str, payload: bytes) -> None:
        async with (await self.owner(channel)).client() as client:
            name = BUCKET_PREFIXES[bucket_of(channel)] + channel
            await ask(client, "SPUBLISH", name, payload)


async def ask(client: Redis, *command: str | int | bytes) -> Any:
    """The answer to a command."""
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]


async def until_formed(client: Redis) -> None:
    """Wait until a node takes commands, and is in sync if it is a replica."""
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            state = await ask(client, "CLUSTER INFO")
            about = await client.info("replication")
            is_settled = about["role"] == "master" or about["master_link_status"] == "up"
            known = state["cluster_state"], state["cluster_known_nodes"]
            if known == ("ok", str(2 * MASTERS)) and is_settled:
                return
            await asyncio.sleep(0.02)


async def move_slot(
    cluster: RedisCluster, slot: int, source: RedisServer, target: RedisServer
) -> None:
    """What `redis-cli --cluster reshard` does with one slot."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(it.client()) for it in cluster.nodes]
        by_port = {it.port: client for it, client in zip(cluster.nodes, clients, strict=True)}
        giving, taking = by_port[source.port], by_port[target.port]
        ids = [(await ask(it, "CLUSTER MYID")).decode() for it in (giving, taking)]
        await ask(taking, "CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
        await ask(giving, "CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
        while keys := await ask(giving, "CLUSTER GETKEYSINSLOT", slot, 10):
            to = ("127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS")
            await ask(giving, "MIGRATE", *to, *keys)
        for client in (taking, giving):
            await ask(client, "CLUSTER SETSLOT", slot, "NODE", ids[1])
