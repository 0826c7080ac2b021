"""A Kafka for the tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[str]:
    yield "kafka://127.0.0.1:1/topic"
