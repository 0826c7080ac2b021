"""Where the master is, as the Sentinels say.

Every connection asks for the master before it connects. A connection to a master that was
demoted fails with its next write, and is made again.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from app.realtime.broker.outage import describe
from app.realtime.broker.redis.connections import Address, Target, connection_pool
from app.realtime.broker.redis.errors import Outage, explain

ASK_DEADLINE = 0.3
"""Seconds in which a Sentinel has to answer."""


class Sentinels:
    """Asks all Sentinels at once. The master is what most of them say."""

    is_master = True  # which redis-py's connections ask for
    check_connection = False

    def __init__(self, service: str, pools: Sequence[BlockingConnectionPool]) -> None:
        self._service = service
        self._pools = pools
        self._user = str(pools[0].connection_kwargs.get("username") or "default")

    async def get_master_address(self) -> tuple[str, int]:
        """Where the master is. Raises ConnectionError if no Sentinel knows."""
        votes: Counter[tuple[str, int]] = Counter()
        failures: list[str] = []
        asking = [asyncio.ensure_future(self._ask(pool)) for pool in self._pools]
        try:
            for answer in asyncio.as_completed(asking):
                try:
                    master = await answer
                except Outage as error:
                    failures.append(explain(error, self._user) or describe(error))
                    continue
                votes[master] += 1
                if votes[master] > len(self._pools) // 2:
                    return master
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if votes:
            return votes.most_common(1)[0][0]
        reasons = ", ".join(sorted(set(failures)))
        raise RedisConnectionError(f"no Sentinel knows the master {self._service!r}: {reasons}")

    async def _ask(self, pool: BlockingConnectionPool) -> tuple[str, int]:
        connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(ASK_DEADLINE):
                await connection.connect()
                await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
                answer = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        if answer is None:
            raise RedisConnectionError("it has no master of this name")
        host, port = answer
        return host.decode(), int(port)


def master_pool(target: Target, service: str, path: str) -> BlockingConnectionPool:
    """Connections to the master. Raises ValueError for options that can't be used."""
    options = dict(target.options)
    asked = {
        name: options.pop(f"sentinel_{name}")
        for name in ("username", "password")
        if f"sentinel_{name}" in options
    }
    plain = target._replace(options=options)
    for_sentinels = plain._replace(credentials="")
    pools = [connection_pool(for_sentinels.url(it), **asked) for it in target.addresses]
    has_tls = target.scheme == "rediss"
    return connection_pool(
        plain.url(Address("localhost", 0), path),
        connection_class=SentinelManagedSSLConnection if has_tls else SentinelManagedConnection,
        connection_pool=Sentinels(service, pools),
    )
