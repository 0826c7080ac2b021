"""Commands to Redis over one connection, all that wait in one round trip."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError

AT_ONCE = 256
"""Commands in one round trip."""

MAX_WAITING = 10_000
"""Commands that may wait to be sent; one more fails at once."""

# What a broken connection, an unreachable server or one that is loading raises.
Outage = (RedisError, OSError, TimeoutError)

Argument = str | bytes | float


class Script:
    """A Lua script: the files of these names, one after the other."""

    def __init__(self, redis: Redis, *names: str) -> None:
        folder = files("app.broker")
        source = "\n".join(folder.joinpath(name).read_text() for name in names)
        self._registered = redis.register_script(source)

    @property
    def digest(self) -> str:
        """By which Redis knows the script, once it was loaded."""
        return self._registered.sha

    async def load(self, redis: Redis) -> None:
        await redis.script_load(self._registered.script)


class Waiting(NamedTuple):
    """A command that waits for its answer."""

    command: Sequence[Argument]
    answer: asyncio.Future[Any]
    expires_at: float


class Pipeline:
    """Sends commands in the order in which they were given.

    A command that is not answered within `deadline` seconds fails, and with it those
    that were sent with it; none is sent twice.
    """

    def __init__(self, redis: Redis, scripts: Sequence[Script], deadline: float) -> None:
        self._redis = redis
        self._scripts = scripts
        self._deadline = deadline
        self._waiting: deque[Waiting] = deque()
        self._something_waits = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send what is given, until the end of the block."""
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._send())
            try:
                yield
            finally:
                sending.cancel()

    def submit(self, *command: Argument) -> asyncio.Future[Any]:
        """Send a command. The answer is a result, or one of `Outage`."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        if len(self._waiting) >= MAX_WAITING:
            answer.set_exception(ConnectionError("too many commands wait for Redis"))
            return answer
        self._waiting.append(Waiting(command, answer, loop.time() + self._deadline))
        self._something_waits.set()
        return answer

    async def _send(self) -> None:
        while True:
            await self._something_waits.wait()
            batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            if not self._waiting:
                self._something_waits.clear()
            try:
                async with asyncio.timeout_at(batch[0].expires_at):
                    answers = await self._answers(batch)
            except Outage as error:
                answers = [error] * len(batch)
            for waiting, answer in zip(batch, answers, strict=True):
                if waiting.answer.done():
                    continue  # nobody waits any more
                if isinstance(answer, Exception):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)

    async def _answers(self, batch: Sequence[Waiting]) -> list[Any]:
        pool = self._redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            answers = await self._round_trip(connection, batch)
        finally:
            await pool.release(connection)
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # a server that restarted has forgotten them
            for script in self._scripts:
                await script.load(self._redis)
            again = await self._answers([batch[n] for n in unknown])
            for n, answer in zip(unknown, again, strict=True):
                answers[n] = answer
        return answers

    async def _round_trip(
        self, connection: AbstractConnection, batch: Sequence[Waiting]
    ) -> list[Any]:
        """What redis-py's own pipeline does, but for retries and telemetry."""
        commands = connection.pack_commands([waiting.command for waiting in batch])
        await connection.send_packed_command(commands)
        answers: list[Any] = []
        for _ in batch:
            try:
                answers.append(await connection.read_response())
            except ResponseError as error:
                answers.append(error)
        return answers
