"""The same as `test_model.py`, with two managers on a real Redis, and its own faults."""

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from redis import Redis

from app.realtime.broker import Backend
from app.realtime.broker.redis.backend import RedisBackend
from tests.engine.test_model import HISTORY, PROFILE, MemoryMachine
from tests.support.broker.redis import RedisServer


class RedisMachine(MemoryMachine):
    """Clients of two managers, which share a Redis."""

    redis: ClassVar[Redis]
    url: ClassVar[str]

    def create_backends(self) -> list[Backend]:
        self.redis.flushall()
        return [RedisBackend(self.url, HISTORY, 3600) for _ in range(2)]

    @rule()
    def cut_subscriptions(self) -> None:
        """They are restored at once."""
        self.redis.client_kill_filter(_type="pubsub")

    @precondition(lambda self: not self.in_outage)
    @rule()
    def forget(self) -> None:
        """Lose all data, as when Redis restarts without persistence."""
        self.run(self.settled())
        self.redis.flushall()
        self.model.forget()

    @precondition(lambda self: not self.in_outage)
    @rule(refuses=st.booleans())
    def lose_broker(self, refuses: bool) -> None:  # noqa: ARG002 - it refuses in no case
        """From now on messages are taken, but nobody hears them."""
        self.in_outage = True
        self.redis.acl_setuser("default", enabled=True, commands=["-subscribe"])
        self.redis.client_kill_filter(_type="pubsub")

    async def end_of_outage(self) -> None:
        self.in_outage = False
        self.redis.acl_setuser("default", enabled=True, commands=["+subscribe"])


def test_members_on_two_workers_see_the_sequence_of_their_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.realtime.broker.redis.subscriptions.CANARY_INTERVAL", 0.05)
    server = RedisServer(tmp_path)
    try:
        asyncio.run(server.start())
        with Redis.from_url(server.url) as redis:
            RedisMachine.redis, RedisMachine.url = redis, server.url
            profile = settings.get_profile(PROFILE)
            run_state_machine_as_test(
                RedisMachine, settings=settings(profile, max_examples=profile.max_examples // 4)
            )
    finally:
        server.kill()
