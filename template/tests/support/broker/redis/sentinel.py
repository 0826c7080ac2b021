"""A Redis with two replicas, and three Sentinels that let one of them take over."""

import asyncio
import subprocess
from collections.abc import Sequence
from pathlib import Path

from redis.exceptions import RedisError

from tests.support.broker.redis.server import RedisServer, find_binary, until_answered
from tests.support.broker_server import BrokerServer
from tests.support.server import PATIENCE

SERVICE = "mymaster"

DOWN_AFTER = 1000
"""Milliseconds of silence after which the master is replaced."""

CONF = """\
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {service} 127.0.0.1 {master} 2
sentinel down-after-milliseconds {service} {down_after}
sentinel failover-timeout {service} 5000
"""


class Sentinel(RedisServer):
    """One of those who say which Redis is the master. It keeps what it knows in its file."""

    def __init__(self, folder: Path, binary: str, master: RedisServer) -> None:
        super().__init__(folder, binary)
        self._file = folder / "sentinel.conf"
        self._file.write_text(
            CONF.format(
                port=self.port,
                folder=folder,
                master=master.port,
                service=SERVICE,
                down_after=DOWN_AFTER,
            )
        )

    def launch(self) -> None:
        command = [self._binary, str(self._file), "--sentinel"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)


class RedisSentinel(BrokerServer):
    """Six processes on free ports. The first Redis is the master when they are new."""

    accepts_within = 10.0

    def __init__(self, folder: Path, binary: str = "redis-server", **options: str) -> None:
        super().__init__(folder)
        self.nodes: list[RedisServer] = []
        for number in range(3):
            (folder / f"redis-{number}").mkdir()
            conf = {"repl-diskless-sync-delay": "0", **options}
            if number:
                conf["replicaof"] = f"127.0.0.1 {self.nodes[0].port}"
            self.nodes.append(RedisServer(folder / f"redis-{number}", binary, **conf))
        self.sentinels: list[Sentinel] = []
        for number in range(3):
            (folder / f"sentinel-{number}").mkdir()
            sentinel = Sentinel(folder / f"sentinel-{number}", find_binary(binary), self.nodes[0])
            self.sentinels.append(sentinel)
        addresses = ",".join(f"127.0.0.1:{it.port}" for it in self.sentinels)
        self.url = f"redis+sentinel://{addresses}/{SERVICE}"

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
