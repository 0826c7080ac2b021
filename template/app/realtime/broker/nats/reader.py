"""Reads what the stream remembers of a channel.

What is in the stream is asked of the stream's leader. The messages themselves may come from
any server that has a copy, and are read again if that is behind. No consumer is made.
"""

import asyncio
import json
from base64 import b64decode
from datetime import datetime
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from app.realtime.broker.nats.names import DIGEST, Names
from app.realtime.broker.nats.requests import Refused, Requests
from app.realtime.broker.nats.stream import Limits, Stream, read_stream

READ_ALL = 200
"""Messages of a channel up to which all are read, instead of looking for where to begin."""

PROBES = 24
"""Attempts to find a sequence that is not too far back."""

BATCH = 10_000
"""Messages that are asked for at once."""

NO_MESSAGE = 10037
"""The API's code for a message that is not there."""

BEHIND = 0.02
"""Seconds until a server is asked again that has less than the leader."""


class Stored(NamedTuple):
    """A message in the stream."""

    sequence: int
    text: str
    stored_at: str
    """By the clock of the server."""
    digest: str


class State(NamedTuple):
    """What the leader says of the stream, and of one channel."""

    stream: Stream
    first_seq: int
    """Nothing before it is in the stream."""
    last_seq: int
    messages: int
    """Messages of the channel."""
    time: str
    """That of the server."""

    @property
    def now(self) -> float:
        """The time of the server, in seconds since 1970."""
        return seconds_of(self.time)

    @property
    def may_have_more(self) -> bool:
        """Whether the channel may have had more than the stream keeps of it."""
        return 0 < self.stream.kept <= self.messages

    def is_older_than(self, stored: Stored, seconds: float) -> bool:
        return self.now - seconds_of(stored.stored_at) > seconds


class Reader:
    """Reads from the stream over one connection. The caller sets the deadlines."""

    def __init__(self, requests: Requests, names: Names) -> None:
        self._requests = requests
        self._names = names
        self._direct = f"$JS.API.DIRECT.GET.{names.stream}"

    async def state(self, channel: str) -> State:
        """Ask the leader. Raises `Refused` if there is no stream."""
        subject = self._names.record(channel)
        info = await self._requests.call(
            f"STREAM.INFO.{self._names.stream}", {"subjects_filter": subject}
        )
        state = info["state"]
        return State(
            stream=read_stream(info),
            first_seq=state["first_seq"],
            last_seq=state["last_seq"],
            messages=(state.get("subjects") or {}).get(subject, 0),
            time=info["ts"],
        )

    async def newest(
        self, channel: str, state: State, at_least: int, since: int | None
    ) -> list[Stored]:
        """The last messages of a channel: so many, if there are, and all from `since` on."""
        if not state.messages:
            return []
        start = await self._start(channel, state, at_least, state.last_seq + 1)
        if since is not None:
            start = min(start, since)
        last = await self._last(channel) if state.stream.replicas > 1 else 0
        while True:
            messages = await self._from(channel, start)
            if not last or (messages and messages[-1].sequence >= last):
                return messages
            await asyncio.sleep(BEHIND)

    async def before(
        self, channel: str, state: State, end: int, at_least: int
    ) -> tuple[list[Stored], int]:
        """The last messages before a sequence, and how many there are from it on."""
        if not state.messages:
            return [], 0
        behind = await self._count_from(channel, end)
        start = await self._start(channel, state, at_least, end, behind)
        count = await self._count_from(channel, start) - behind
        return await self._from(channel, start, count), behind

    async def oldest(self, channel: str) -> int | None:
        """The sequence of the first message of a channel that is in the stream."""
        messages, _ = await self._batch(channel, 1, 1)
        return messages[0].sequence if messages else None

    async def at(self, channel: str, sequence: int, limits: Limits) -> Stored | None:
        """The message with a sequence, if it is remembered."""
        found = await self._get(seq=sequence)
        if found is None:
            return None
        state = await self.state(channel)
        if state.is_older_than(found, limits.seconds):
            return None
        behind = await self._count_from(channel, sequence + 1)
        return found if behind < limits.size else None

    # --- Where to begin ---------------------------------------------------------------

    async def _start(
        self, channel: str, state: State, at_least: int, end: int, behind: int = 0
    ) -> int:
        """A sequence with at least so many messages between it and `end`, and not many more.

        The sequences of a channel have gaps, so this is a search for a number of messages.
        """
        low, in_low = state.first_seq, state.messages - behind
        high, in_high = end, 0
        if in_low <= max(READ_ALL, 2 * at_least):
            return low
        for attempt in range(PROBES):
            if high - low < 2:
                break
            # Where it would be if the messages were spread evenly; every other time the middle.
            share = (at_least * 1.3 - in_high) / (in_low - in_high) if attempt % 2 == 0 else 0.5
            guess = min(max(high - round((high - low) * share), low + 1), high - 1)
            between = await self._count_from(channel, guess) - behind
            if between < at_least:
                high, in_high = guess, between
            elif between <= 2 * at_least:
                return guess
            else:
                low, in_low = guess, between
            if in_low <= in_high:
                break
        return low

    async def _count_from(self, channel: str, sequence: int) -> int:
        """How many messages of a channel there are from a sequence on."""
        messages, pending = await self._batch(channel, sequence, 1)
        return len(messages) + pending

    # --- Messages ---------------------------------------------------------------------

    async def _from(self, channel: str, start: int, count: int | None = None) -> list[Stored]:
        """The messages of a channel from a sequence on: so many, or all."""
        found: list[Stored] = []
        while count is None or len(found) < count:
            size = BATCH if count is None else min(BATCH, count - len(found))
            messages, pending = await self._batch(channel, start, size)
            found += messages
            if not pending or not messages:
                break
            start = found[-1].sequence + 1
        return found

    async def _batch(self, channel: str, start: int, size: int) -> tuple[list[Stored], int]:
        """Messages of a channel from a sequence on, and how many follow them."""
        body = {
            "seq": max(start, 1),
            "next_by_subj": self._names.record(channel),
            "batch": size,
        }
        *messages, end = await self._requests.ask_many(
            self._direct, json.dumps(body).encode(), is_last=has_status
        )
        headers = end.headers or {}
        if headers.get("Status") == "404":
            return [], 0
        if headers.get("Status") != "204":
            raise Refused(int(headers.get("Status", 0)), headers.get("Description", ""))
        before = 0
        for message in messages:
            # A message that this client had no room for is missing.
            if int((message.headers or {}).get("Nats-Last-Sequence", -1)) != before:
                raise ConnectionError("a part of history was lost on its way")
            before = int((message.headers or {})["Nats-Sequence"])
        return [read_direct(it) for it in messages], int(headers["Nats-Num-Pending"])

    async def _last(self, channel: str) -> int:
        """The sequence of the last message, as the leader knows it."""
        found = await self._get(last_by_subj=self._names.record(channel))
        return 0 if found is None else found.sequence

    async def _get(self, **which: str | int) -> Stored | None:
        """One message from the leader."""
        try:
            answer = await self._requests.call(f"STREAM.MSG.GET.{self._names.stream}", which)
        except Refused as error:
            if error.code == NO_MESSAGE:
                return None
            raise
        return read_message(answer["message"])


def has_status(message: Msg) -> bool:
    return message.headers is not None and "Status" in message.headers


def read_direct(message: Msg) -> Stored:
    """A message as a direct get answers it. Raises KeyError and ValueError for another one."""
    headers = message.headers or {}
    return Stored(
        sequence=int(headers["Nats-Sequence"]),
        text=message.data.decode(errors="replace"),
        stored_at=headers["Nats-Time-Stamp"],
        digest=headers.get(DIGEST, ""),
    )


def read_message(message: dict[str, Any]) -> Stored:
    """A message as JetStream's API answers it."""
    headers = b64decode(message.get("hdrs", "")).decode(errors="replace").splitlines()
    digests = [it.partition(":")[2].strip() for it in headers if it.startswith(f"{DIGEST}:")]
    return Stored(
        sequence=message["seq"],
        text=b64decode(message.get("data", "")).decode(errors="replace"),
        stored_at=message["time"],
        digest=digests[0] if digests else "",
    )


def seconds_of(timestamp: str) -> float:
    """Seconds since 1970 of a time as NATS writes it."""
    return datetime.fromisoformat(timestamp).timestamp()
