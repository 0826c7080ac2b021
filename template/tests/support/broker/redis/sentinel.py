"""A Redis with two replicas, and three Sentinels that let one of them take over."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from redis.exceptions import RedisError

from tests.support.broker.redis.server import DURABLE, RedisServer, until_answered
from tests.support.broker.redis.tls import Certificates
from tests.support.broker_server import BrokerServer
from tests.support.server import PATIENCE

SERVICE = "mymaster"

DOWN_AFTER = 1000
"""Milliseconds of silence after which the master is replaced."""


class Sentinel(RedisServer):
    """One of those who say which Redis is the master. It keeps what it knows in its file."""

    def __init__(
        self, folder: Path, binary: str, certificates: Certificates | None, master: RedisServer
    ) -> None:
        super().__init__(folder, binary, certificates)
        for name in DURABLE:
            del self.options[name]
        if certificates is not None:
            self.options["tls-replication"] = "yes"
        self.options |= {
            f"sentinel monitor {SERVICE}": f"127.0.0.1 {master.port} 2",
            f"sentinel down-after-milliseconds {SERVICE}": str(DOWN_AFTER),
            f"sentinel failover-timeout {SERVICE}": "5000",
        }

    def command(self, file: Path) -> list[str]:
        return [*super().command(file), "--sentinel"]


class RedisSentinel(BrokerServer):
    """Six processes on free ports. The first Redis is the master when they are new."""

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
        scheme, query = "redis+sentinel", ""
        if certificates is not None:
            scheme, query = "rediss+sentinel", certificates.query
            options = {"tls-replication": "yes", **options}
        self.nodes: list[RedisServer] = []
        for number in range(3):
            (folder / f"redis-{number}").mkdir()
            conf = {"repl-diskless-sync-delay": "0", **options}
            if number:
                conf["replicaof"] = f"127.0.0.1 {self.nodes[0].port}"
            node = RedisServer(folder / f"redis-{number}", binary, certificates, **conf)
            self.nodes.append(node)
        self.sentinels: list[Sentinel] = []
        for number in range(3):
            (folder / f"sentinel-{number}").mkdir()
            of_its_own = folder / f"sentinel-{number}"
            self.sentinels.append(Sentinel(of_its_own, binary, certificates, self.nodes[0]))
        addresses = ",".join(f"127.0.0.1:{it.port}" for it in self.sentinels)
        self.url = f"{scheme}://{addresses}/{SERVICE}{query}"

    async def start(self) -> None:
        await launch(self.nodes)
        async with asyncio.timeout(PATIENCE):
            while not await self._has_replicas():
                await asyncio.sleep(0.02)
        await launch(self.sentinels)  # each of which finds the replicas at once
        await self.until_settled()

    async def master(self) -> RedisServer:
        """The master, as the Sentinels say."""
        async with next(it for it in self.sentinels if it.answers).client() as client:
            address = await client.sentinel_get_master_addr_by_name(SERVICE)
        assert isinstance(address, tuple)
        port = address[1]
        return next(node for node in self.nodes if node.port == port)

    async def until_settled(self) -> None:
        """Wait until the Sentinels agree on a master that has two replicas."""
        async with asyncio.timeout(2 * PATIENCE):
            while not await self._is_settled():
                await asyncio.sleep(0.05)

    async def _is_settled(self) -> bool:
        masters = set()
        for sentinel in self.sentinels:
            async with sentinel.client() as client:
                state = await client.sentinel_master(SERVICE)
            assert isinstance(state, dict)
            if state["num-other-sentinels"] != 2 or not state["num-slaves"] or state["is_odown"]:
                return False
            masters.add(state["port"])
        return len(masters) == 1 and await self._replicas(await self.master()) == 2

    async def _has_replicas(self) -> bool:
        """Whether some Redis is a master with all others as replicas."""
        return 2 in [await self._replicas(node) for node in self.nodes]

    async def _replicas(self, node: RedisServer) -> int:
        """How many replicas a master has. 0 if it is none, or closed the connection."""
        try:
            async with node.client() as client:
                about = await client.info("replication")
        except RedisError:
            return 0
        return int(about["connected_slaves"]) if about["role"] == "master" else 0

    def kill(self) -> None:
        for server in (*self.nodes, *self.sentinels):
            server.kill()

    def pause(self) -> None:
        for server in (*self.nodes, *self.sentinels):
            server.pause()

    def resume(self) -> None:
        for server in (*self.nodes, *self.sentinels):
            server.resume()

    async def restore(self) -> None:
        for server in (*self.nodes, *self.sentinels):
            await server.restore()
        master = await self.master()
        for node in self.nodes:
            if node is not master:  # the Sentinels do it, too, after ten seconds
                async with node.client() as client:
                    await client.replicaof("127.0.0.1", str(master.port))
        await self.until_settled()

    async def lose_data(self) -> None:
        for node in self.nodes:
            await node.lose_data()

    async def cut(self) -> None:
        await (await self.master()).cut()

    async def inject(self, channel: str, payload: bytes) -> None:
        await (await self.master()).inject(channel, payload)


async def launch(servers: Sequence[RedisServer]) -> None:
    """Start servers, and wait until they answer."""
    for server in servers:
        server.launch()
    for server in servers:
        async with server.client() as client:
            await until_answered(client)
