"""A Redis Cluster: which node has a channel, also while slots move and masters fail.

A worker has the same connections to every master that it has to a single Redis. What is
published in a channel goes to the master of its slot, and is heard from there.
"""

import asyncio
import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.exceptions import MovedError

from app.realtime.broker.base import BrokerUnavailable, Listener
from app.realtime.broker.outage import describe
from app.realtime.broker.redis.connections import Address
from app.realtime.broker.redis.errors import Outage, explain
from app.realtime.broker.redis.names import (
    BUCKET_PREFIXES,
    BUCKET_SLOTS,
    SHARDED,
    bucket_of,
)
from app.realtime.broker.redis.node import Bucket, Node, Place, Scripts
from app.realtime.broker.redis.subscriptions import BACKOFF_BASE, BACKOFF_CAP, Names

logger = logging.getLogger(__name__)

ASK_DEADLINE = 0.4
"""Seconds in which a node has to tell who owns which slot. Then another one is asked."""

ASK_PAUSE = 0.1
"""Seconds between two questions, at least."""

ASK_INTERVAL = 10.0
"""Seconds after which a worker asks, whatever it has noticed."""

BUCKET_LIST = [Bucket(*it) for it in zip(BUCKET_PREFIXES, BUCKET_SLOTS, strict=True)]

NAMES = Names(lambda channel: BUCKET_PREFIXES[bucket_of(channel)], SHARDED)

MakePool = Callable[[Address], BlockingConnectionPool]


class Cluster:
    """The masters of a Redis Cluster. One task owns them and follows every change.

    A master is used while it owns a slot of a bucket. The cluster is alive while every
    slot has a master, and every master is alive.
    """

    def __init__(
        self, seeds: Sequence[Address], make_pool: MakePool, scripts: Scripts, deliver: Listener
    ) -> None:
        """`seeds` are asked first. The cluster itself tells which nodes there are."""
        self._seeds = seeds
        self._make_pool = make_pool
        self._scripts = scripts
        self._deliver = deliver
        self._user = str(make_pool(seeds[0]).connection_kwargs.get("username") or "default")
        self._nodes: dict[Address, Node] = {}
        self._tasks: dict[Node, asyncio.Task[None]] = {}
        self._owners: list[Node | None] = [None] * len(BUCKET_SLOTS)
        self._wanted: dict[str, asyncio.Event] = {}  # channel -> its subscription is confirmed
        self._interrupted: set[str] = set()  # confirmed before, and without a master
        self._ask_first: Address | None = None  # as it knows something new
        self._due = asyncio.Event()
        self._explanation: str | None = None

    @property
    def alive(self) -> bool:
        return None not in self._owners and all(node.alive for node in self._nodes.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stay connected for the length of the block."""
        supervisor = asyncio.create_task(self._supervise())
        try:
            yield
        finally:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def place(self, channel: str) -> Place:
        """Where a channel is. Raises BrokerUnavailable if no master is known."""
        bucket = bucket_of(channel)
        node = self._owners[bucket]
        if node is None:
            self._due.set()
            raise BrokerUnavailable("the Redis Cluster has no master for this slot")
        return Place(node, BUCKET_PREFIXES[bucket], BUCKET_SLOTS[bucket])

    async def add(self, channel: str) -> None:
        self._wanted[channel] = confirmed = asyncio.Event()
        node = self._owners[bucket_of(channel)]
        if node is not None:
            await node.subscriptions.add(channel, confirmed)

    async def remove(self, channel: str) -> None:
        self._wanted.pop(channel, None)
        self._interrupted.discard(channel)
        node = self._owners[bucket_of(channel)]
        if node is not None:
            await node.subscriptions.remove(channel)

    def confirmed(self, channel: str) -> asyncio.Event:
        return self._wanted[channel]

    # --- Which nodes there are, owned by one task -----------------------------------

    async def _supervise(self) -> None:
        """Know who owns which slot, for ever."""
        attempt = 0
        while True:
            self._due.clear()
            try:
                self._follow(await self._ask())
                attempt, pause = 0, ASK_PAUSE
                self._explanation = None
            except Outage as error:
                pause = random.uniform(0, min(BACKOFF_CAP, BACKOFF_BASE * 2**attempt))  # noqa: S311
                attempt = min(attempt + 1, 16)
                self._due.set()
                self._tell(error, is_first=attempt == 1)
            except Exception:
                pause = BACKOFF_CAP
                logger.exception("the Redis Cluster could not be followed")
            await asyncio.sleep(pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_INTERVAL):
                    await self._due.wait()

    def _tell(self, error: BaseException, *, is_first: bool) -> None:
        """Log why the cluster does not answer. Only the first failure is news."""
        explanation = explain(error, self._user)
        is_news = is_first or explanation not in (None, self._explanation)
        self._explanation = explanation
        level = logging.WARNING if is_news else logging.DEBUG
        logger.log(
            level, "no node of the Redis Cluster answers: %s", explanation or describe(error)
        )

    async def _ask(self) -> dict[Address, set[int]]:
        """The slots of each master, as some node tells. Raises an error of `Outage`."""
        known = random.sample(list(self._nodes), len(self._nodes))
        failure: BaseException = ConnectionError("no node is known")
        first = [] if self._ask_first is None else [self._ask_first]
        self._ask_first = None
        for address in [*first, *known, *self._seeds]:
            try:
                async with asyncio.timeout(ASK_DEADLINE):
                    return await self._ask_one(address)
            except Outage as error:
                failure = error
        raise failure

    async def _ask_one(self, address: Address) -> dict[Address, set[int]]:
        connection = self._make_pool(address).make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()
            await connection.send_command("CLUSTER", "SLOTS")
            return masters(await connection.read_response(), address)
        finally:
            await connection.disconnect(nowait=True)

    def _follow(self, slots: dict[Address, set[int]]) -> None:
        """Use the masters that own these slots."""
        owners: list[Address | None] = [None] * len(BUCKET_SLOTS)
        for address, owned in slots.items():
            for bucket, slot in enumerate(BUCKET_SLOTS):
                if slot in owned:
                    owners[bucket] = address
        for bucket, owner in enumerate(owners):
            if owner is not None and owner not in self._nodes:
                self._open(owner, bucket)
        nodes = [None if it is None else self._nodes[it] for it in owners]
        self._hand_over(dict(enumerate(nodes)))
        for address, node in list(self._nodes.items()):
            if address not in owners:
                del self._nodes[address]
                self._tasks[node].cancel()
                logger.info("Redis at %s has no slots any more", address)
            else:
                node.subscriptions.restore()
        if None in owners:
            self._due.set()

    def _open(self, address: Address, bucket: int) -> None:
        """Connect to a master that has this bucket."""
        node = Node(
            self._make_pool(address),
            self._scripts,
            NAMES,
            self._deliver,
            server=f"Redis at {address}",
            buckets=lambda: self._buckets(address) or [BUCKET_LIST[bucket]],
            moved=partial(self._moved, address),
            troubled=self._due.set,
        )
        self._nodes[address] = node
        self._tasks[node] = task = asyncio.create_task(self._run(node))
        task.add_done_callback(partial(self._ended, node))

    def _buckets(self, address: Address) -> list[Bucket]:
        """What a master has."""
        node = self._nodes.get(address)
        return [BUCKET_LIST[it] for it, owner in enumerate(self._owners) if owner and owner is node]

    async def _run(self, node: Node) -> None:
        async with node.running():
            await asyncio.Event().wait()

    def _ended(self, node: Node, task: asyncio.Task[None]) -> None:
        del self._tasks[node]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the connections to a Redis failed unexpectedly", exc_info=error)

    def _moved(self, address: Address, error: MovedError) -> None:
        """A node said who owns a slot. What waits for the slot goes there, in its order."""
        self._ask_first = Address(error.host or address.host, error.port)
        self._due.set()
        former, owner = self._nodes.get(address), self._nodes.get(self._ask_first)
        if former is None or owner is None or former is owner:
            return
        buckets = [it for it, slot in enumerate(BUCKET_SLOTS) if slot == error.slot_id]
        self._hand_over(dict.fromkeys(buckets, owner))
        self._hand_over_commands(former, {error.slot_id})  # those that were under way

    def _hand_over(self, owners: dict[int, Node | None]) -> None:
        """Give buckets to their new masters: what waits to be sent, and what is subscribed."""
        moving: defaultdict[Node, set[int]] = defaultdict(set)
        changed: set[int] = set()
        for bucket, owner in owners.items():
            former = self._owners[bucket]
            if former is owner:
                continue
            changed.add(bucket)
            self._owners[bucket] = owner
            if former is not None:
                moving[former].add(bucket)
        if not changed:
            return
        for gaining in {self._owners[bucket] for bucket in changed}:
            if gaining is not None:
                gaining.gained()
        for channel, confirmed in self._wanted.items():
            bucket = bucket_of(channel)
            if bucket not in changed:
                continue
            for former, buckets in moving.items():
                if bucket in buckets and former.subscriptions.give_up(channel):
                    self._interrupted.add(channel)
            owner = self._owners[bucket]
            if owner is not None:
                was_confirmed = channel in self._interrupted
                self._interrupted.discard(channel)
                owner.subscriptions.adopt(channel, confirmed, was_confirmed=was_confirmed)
        for former, buckets in moving.items():
            self._hand_over_commands(former, {BUCKET_SLOTS[bucket] for bucket in buckets})
            self._keep_canary(former)

    def _hand_over_commands(self, former: Node, slots: set[int]) -> None:
        """Send what waits for these slots at their masters."""
        owners = dict(zip(BUCKET_SLOTS, self._owners, strict=True))
        for slot in slots:
            owner = owners[slot]
            if owner is not None and owner is not former:
                owner.writes.put(former.writes.take(slot))
                owner.reads.put(former.reads.take(slot))

    def _keep_canary(self, node: Node) -> None:
        """Have the canary of a master in a bucket that it still has."""
        kept = [BUCKET_PREFIXES[it] for it, owner in enumerate(self._owners) if owner is node]
        if kept and node.subscriptions.canary_prefix not in kept:
            node.subscriptions.move_canary(kept[0])


def masters(answer: Sequence[Any], asked: Address) -> dict[Address, set[int]]:
    """The slots of each master in an answer of CLUSTER SLOTS.

    A node that does not know its own address names none: it is the one that was asked.
    """
    slots: defaultdict[Address, set[int]] = defaultdict(set)
    for start, end, master, *_ in answer:
        host = master[0].decode() if master[0] else asked.host
        slots[Address(host, master[1])] |= set(range(start, end + 1))
    return slots
