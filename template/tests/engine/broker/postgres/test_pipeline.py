"""The pipeline alone: requests share statements, and those that wait are bounded."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from app.realtime.broker.postgres import pipeline
from app.realtime.broker.postgres.pipeline import MAX_WAITING, MAX_WAITING_BYTES, Pipeline, Row
from tests.support.client import PATIENCE


class Connection:
    """Stands for one to PostgreSQL."""

    is_terminated = False

    def is_closed(self) -> bool:
        return self.is_terminated

    def terminate(self) -> None:
        self.is_terminated = True


class Server:
    """Answers each request with its first element, and records the sizes of the batches."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.sizes: list[int] = []
        self.failures: list[Exception] = []
        self.is_silent = False

    async def connect(self) -> Connection:
        self.connections.append(Connection())
        return self.connections[-1]

    async def run(self, _: asyncpg.Connection, rows: Sequence[Row]) -> Sequence[object]:
        if self.is_silent:
            await asyncio.Event().wait()
        self.sizes.append(len(rows))
        if self.failures:
            raise self.failures.pop()
        return [row[0] for row in rows]

    def pipeline(self, deadline: float = PATIENCE) -> Pipeline:
        return Pipeline(self.connect, self.run, deadline)


@pytest.fixture
def server() -> Server:
    return Server()


async def test_requests_that_come_at_about_the_same_time_share_a_statement(server: Server) -> None:
    pipe = server.pipeline()
    async with pipe.running():
        first = pipe.submit("first")
        await asyncio.sleep(0)
        second = pipe.submit("second")
        assert [await first, await second] == ["first", "second"]
        assert await pipe.submit("third") == "third"
    assert server.sizes == [2, 1]
    assert [it.is_terminated for it in server.connections] == [True]


async def test_a_statement_has_so_many_bytes(server: Server) -> None:
    pipe = server.pipeline()
    answers = [pipe.submit(number, size=400_000) for number in range(5)]
    async with pipe.running():
        assert await asyncio.gather(*answers) == [0, 1, 2, 3, 4]
    assert server.sizes == [3, 2]


async def test_what_waits_is_bounded(server: Server) -> None:
    pipe = server.pipeline()  # not running
    waiting = [pipe.submit("small") for _ in range(MAX_WAITING)]
    assert isinstance(pipe.submit("one more").exception(), ConnectionError)
    assert not any(answer.done() for answer in waiting)
    pipe = server.pipeline()
    large = pipe.submit("large", size=MAX_WAITING_BYTES - 5)
    assert isinstance(pipe.submit("one more", size=6).exception(), ConnectionError)
    assert not pipe.submit("it fits", size=5).done()
    async with pipe.running():
        await large
        assert await pipe.submit("again", size=6) == "again"


async def test_requests_that_nobody_waits_for_or_that_are_late_are_not_sent(
    server: Server,
) -> None:
    pipe = server.pipeline()
    late = pipe.submit("late")
    pipe._deadline = 0.1
    given_up, too_late = pipe.submit("given up"), pipe.submit("too late")
    given_up.cancel()
    await asyncio.sleep(0.09)  # less than a quarter of it is left
    in_time = pipe.submit("in time")
    async with pipe.running():
        assert [await late, await in_time] == ["late", "in time"]
        with pytest.raises(TimeoutError):
            await too_late
    assert server.sizes == [2]


async def test_a_connection_that_is_silent_is_closed_when_it_could_be_cancelled(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "CANCEL_SECONDS", 0.1)
    pipe = server.pipeline(deadline=0.1)
    async with pipe.running():
        server.is_silent = True
        with pytest.raises(TimeoutError):
            await pipe.submit("late")
        server.is_silent = False
        assert await pipe.submit("in time") == "in time"
        assert [it.is_terminated for it in server.connections] == [False, False]
        await asyncio.sleep(0.15)
        assert [it.is_terminated for it in server.connections] == [True, False]


@pytest.mark.parametrize(
    ("error", "connections"),
    [
        (asyncpg.UniqueViolationError(""), 1),  # the connection itself is fine
        (asyncpg.ReadOnlySQLTransactionError(""), 2),
        (ConnectionResetError(), 2),
        (RuntimeError(), 2),
    ],
    ids=repr,
)
async def test_a_connection_that_may_lead_nowhere_is_replaced(
    server: Server, error: Exception, connections: int
) -> None:
    pipe = server.pipeline()
    async with pipe.running():
        server.failures = [error]
        with pytest.raises(type(error)):
            await pipe.submit("refused")
        assert await pipe.submit("taken") == "taken"
    assert len(server.connections) == connections


async def test_an_unexpected_failure_does_not_end_the_pipeline(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = server.pipeline()
    async with pipe.running():
        server.failures = [LookupError("a flaw")]
        with pytest.raises(ConnectionError):
            await pipe.submit("hello")
        assert await pipe.submit("hello") == "hello"
    assert "a flaw" in caplog.text
