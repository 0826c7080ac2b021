"""A real Redis: one that is already there, a local binary, or a container."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from testcontainers.community.redis import RedisContainer

from tests.support.broker.redis.server import DURABLE, FORGETFUL, RedisServer
from tests.support.broker_server import docker_runs

__all__ = ["DURABLE", "FORGETFUL", "RedisServer", "Server", "serve"]


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[str]:
    """The URL of a broker, for the length of the block."""
    if address := os.environ.get("TEST_REDIS_URL"):
        yield address
    elif shutil.which("redis-server"):
        async with RedisServer(folder, **FORGETFUL).running() as server:
            yield server.url
    elif docker_runs():
        with RedisContainer("redis:8-alpine") as container:
            host, port = container.get_container_host_ip(), container.get_exposed_port(6379)
            yield f"redis://{host}:{port}/0"
    else:
        pytest.skip("no TEST_REDIS_URL, no redis-server on PATH, and Docker does not run")


Server = RedisServer
