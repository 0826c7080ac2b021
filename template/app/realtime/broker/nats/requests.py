"""Requests to NATS over one connection, and their answers."""

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error, MaxPayloadError

from app.realtime.broker.outage import describe

MAX_ANSWERS = 100_000
MAX_ANSWER_BYTES = 128 * 1024 * 1024
"""Answers that may wait to be read. With more, the connection counts as broken."""

HEADER_BYTES = 512
"""More than the headers of a message take, which count for the server's `max_payload`."""

# What nats-py raises when the connection is broken or closed. uvloop raises RuntimeError when
# a connection is written to after a reset.
Outage = (Error, OSError, TimeoutError, RuntimeError)

OnAnswer = Callable[[Msg | Exception], None]
"""Takes an answer, or the error that ended the connection."""


class Requests:
    """Sends requests. Their answers come back through one subscription.

    Nothing here waits for the server or is bounded by itself. Callers have deadlines, and look
    at `unsent` before they send.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._numbers = count()
        self._waiting: dict[str, OnAnswer] = {}  # for one answer
        self._collecting: dict[str, OnAnswer] = {}  # for several

    @property
    def unsent(self) -> int:
        """Bytes that wait for the socket."""
        return self._client.pending_data_size

    async def start(self) -> None:
        """Begin to receive answers."""
        await self._client.subscribe(
            f"{self._inbox}.*",
            cb=self._take,
            pending_msgs_limit=MAX_ANSWERS,
            pending_bytes_limit=MAX_ANSWER_BYTES,
        )

    def close(self, error: Exception) -> None:
        """Give an error to everybody who waits for an answer."""
        waiting = [*self._waiting.values(), *self._collecting.values()]
        self._waiting.clear()
        self._collecting.clear()
        for on_answer in waiting:
            on_answer(error)

    async def send(
        self,
        subject: str,
        payload: bytes,
        on_answer: OnAnswer,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Send a request that is answered once. Returns a number for `forget`."""
        return await self._send(self._waiting, subject, payload, on_answer, headers)

    async def _send(
        self,
        waiting: dict[str, OnAnswer],
        subject: str,
        payload: bytes,
        on_answer: OnAnswer,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        self._check_size(payload)
        number = f"{next(self._numbers):x}"
        waiting[number] = on_answer
        try:
            await self._client.publish(
                subject,
                payload,
                reply=f"{self._inbox}.{number}",
                headers=dict(headers) if headers is not None else None,
            )
        except BaseException:
            self.forget(number)
            raise
        return number

    async def send_and_confirm(self, subject: str, payload: bytes, on_answer: OnAnswer) -> str:
        """Publish a message that nobody answers. The answer is that the server has read it."""
        self._check_size(payload)
        await self._client.publish(subject, payload)
        # The server reads in order, so what comes back was read after the message.
        number = f"{next(self._numbers):x}"
        self._waiting[number] = on_answer
        await self._client.publish(f"{self._inbox}.{number}")
        return number

    def forget(self, number: str) -> None:
        """Expect no more answers to a request."""
        self._waiting.pop(number, None)
        self._collecting.pop(number, None)

    async def ask(self, subject: str, payload: bytes = b"") -> Msg:
        """Send a request and wait for its answer. The caller sets a deadline."""
        return (await self.ask_many(subject, payload, is_last=lambda _: True))[0]

    async def ask_many(
        self, subject: str, payload: bytes, is_last: Callable[[Msg], bool]
    ) -> list[Msg]:
        """Send a request and wait for its answers, up to the last one."""
        answers: list[Msg] = []
        complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        on_answer = partial(_collect, answers, complete, is_last)
        number = await self._send(self._collecting, subject, payload, on_answer)
        try:
            await complete
        finally:
            self.forget(number)
        return answers

    async def call(self, name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call JetStream's API. Raises `Refused`."""
        payload = json.dumps(body).encode() if body is not None else b""
        return read_answer(await self.ask(f"$JS.API.{name}", payload))

    def _check_size(self, payload: bytes) -> None:
        """Refuse what would make the server close the connection."""
        if len(payload) + HEADER_BYTES > self._client.max_payload:
            raise MaxPayloadError

    async def _take(self, message: Msg) -> None:
        number = message.subject.rpartition(".")[2]
        on_answer = self._waiting.pop(number, None) or self._collecting.get(number)
        if on_answer is not None:
            on_answer(message)


class Refused(Error):
    """JetStream answered with an error."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        """One of those in the server's `errors.json`; 503 if nobody answers."""
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def read_answer(message: Msg) -> dict[str, Any]:
    """The content of an answer. Raises `Refused` for an error, and ValueError for nonsense."""
    if message.headers is not None and message.headers.get("Status") == "503":
        raise Refused(503, "nobody answers")
    answer = json.loads(message.data)
    if not isinstance(answer, dict):
        raise ValueError("an answer of JetStream is an object")
    error = answer.get("error")
    if error is not None:
        raise Refused(error.get("err_code", error.get("code", 0)), error.get("description", ""))
    return answer


def _collect(
    answers: list[Msg],
    complete: asyncio.Future[None],
    is_last: Callable[[Msg], bool],
    answer: Msg | Exception,
) -> None:
    if complete.done():
        return
    if isinstance(answer, Exception):
        complete.set_exception(answer)
        return
    answers.append(answer)
    if is_last(answer):
        complete.set_result(None)


def reason_of(error: BaseException) -> str:
    """What NATS said, else what went wrong."""
    return str(error) if isinstance(error, Refused) else describe(error)
