"""A room that this client is in."""

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Self

from app.realtime.events import Event, Signal
from client.changes import Changes
from client.errors import ClientError, Evicted, ServerError
from client.inbox import Inbox
from client.membership import Membership, State
from client.messages import JSON, Member, Message, Page, Position, ReceivedSignal
from client.outbox import Outbox
from client.pages import Pages

MAX_UNSENT = 1000
"""Own messages of a room that may wait to be acknowledged."""

MAX_PAGE = 100
"""Messages of one page of history."""

MAX_SIGNALS = 100
"""Received signals that may wait for a reader. The oldest are dropped."""


class Room:
    """A room: iterate over it to receive its messages.

        async for message in room:
            print(message.sender, message.event)

    Each message comes once and in order, also over reconnects. Where that is not possible,
    the loop raises MessagesMissed, and a new loop goes on after the gap. Only messages that
    the loop has taken count: a loop that is too slow makes the client ask the server's
    history again, and loses nothing that history still has.

    The loop ends after `leave` and at the end of the client's block. It raises Evicted,
    ServerError if the server refuses to let this client in again, and ConnectionEnded.
    """

    def __init__(
        self,
        name: str,
        *,
        inbox_size: int,
        since: Position | None,
        wake: Callable[[], None],
        check: Callable[[], None],
    ) -> None:
        """`wake`: there may be something to send. `check`: the server may not answer."""
        self.name = name
        self.changes = Changes()
        """Of the members, and of whether this client is inside."""
        self._wake = wake
        self.inbox = Inbox(inbox_size, self._has_space)
        self.membership = Membership(name, self.inbox, since)
        self.outbox = Outbox(name, check)
        self.pages = Pages(name, wake)
        self._signals_to_send: dict[str, Signal] = {}
        self._signals: dict[tuple[str, str], ReceivedSignal] = {}
        self._signals_changed = Changes()
        self._error: ClientError | None = None
        """Why this client is not in the room, and nothing can be published."""
        self._waiting = 0
        """How many tasks wait until this client is inside."""
        self._was_entered = False
        self.on_leave: Callable[[], None] = lambda: None

    # --- What an application does ---------------------------------------------------

    @property
    def is_inside(self) -> bool:
        """Whether this client is in the room now. It isn't while it reconnects."""
        return self.membership.is_inside

    @property
    def members(self) -> dict[str, Member] | None:
        """The users in the room, by id; None in a room that is too large for a list."""
        return self.membership.members

    @property
    def count(self) -> int:
        """How many users are in the room."""
        return self.membership.count

    @property
    def position(self) -> Position | None:
        """Of the last message that was received. Store it to `join` the room from there."""
        return self.membership.position

    @property
    def unread(self) -> int:
        """How many messages wait for the reader."""
        return len(self.inbox)

    async def publish(self, event: Event, *, id: str | None = None) -> Position | None:  # noqa: A002
        """Send an event to everybody in the room, and wait until the server has it.

        While the connection is away, this waits too. The event is sent again under the same
        id, so that it arrives once. Returns its position, or None if the server says only
        that the room has it. Raises ServerError, Unconfirmed, Evicted and ConnectionEnded.
        """
        while len(self.outbox) >= MAX_UNSENT and self._error is None:
            await self.changes.wait()
        if self._error is not None:
            raise self._error
        id = id or secrets.token_hex(16)  # noqa: A001
        answer = self.outbox.add(id, event)
        self._wake()
        try:
            return await answer
        finally:
            self.outbox.forget(id)
            self.changes.tell()

    async def signal(self, signal: Signal) -> None:
        """Send a signal to everybody else in the room.

        Dropped while this client is not inside. If signals of the same kind wait to be sent,
        only the newest is.
        """
        if self.is_inside:
            self._signals_to_send[signal.__event__] = signal
            self._wake()

    async def signals(self) -> AsyncIterator[ReceivedSignal]:
        """The signals that others send. If the reader is slow, the newest of each sender."""
        while self._error is None:
            while self._signals:
                yield self._signals.pop(next(iter(self._signals)))
            await self._signals_changed.wait()

    async def history(self, before: int | None = None, limit: int = 100) -> Page:
        """A page of messages before an offset, or of the newest ones: at most 100.

        Raises ServerError, Evicted and ConnectionEnded, and ValueError for another limit.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"limit must be 1 to {MAX_PAGE}, not {limit}")
        return await self.pages.get(before, limit)

    async def leave(self) -> None:
        """Leave the room. Loops over it end."""
        self.end(StopAsyncIteration(), ServerError("not_joined", "this client has left the room"))
        self.on_leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        return await self.inbox.get()

    # --- What the client does -------------------------------------------------------

    async def entered(self) -> None:
        """Wait until this client is inside. Raises why it can't be."""
        self._waiting += 1
        try:
            while not self.is_inside:
                if self._error is not None:
                    raise self._error
                await self.changes.wait()
        finally:
            self._waiting -= 1
        self._was_entered = True

    @property
    def is_wanted(self) -> bool:
        """Whether somebody has entered it, or waits for that."""
        return self._was_entered or self._waiting > 0

    def enter_again(self) -> None:
        self._error = None
        self.membership.enter_again()
        self.pages.reopen()
        self._wake()

    def next(self) -> JSON | None:
        """The next message to send, or None. It counts as sent.

        Own messages are sent after the replay, because one that seemed lost may be in it.
        """
        frame = self.membership.next()
        if frame is not None:
            self.outbox.disconnected()  # answers that come while it joins are ignored
        if frame is not None or self.membership.state is not State.INSIDE:
            return frame
        frame = self.outbox.next() or self.pages.next()
        # The error for a signal could be taken for the answer to a request for a page.
        if frame is None and self._signals_to_send and not self.pages.is_waiting:
            name = next(iter(self._signals_to_send))
            data = self._signals_to_send.pop(name).model_dump(mode="json")
            frame = {"type": "signal", "room": self.name, "event": name, "data": data}
        return frame

    @property
    def needs_ping(self) -> bool:
        """Whether the answer to a ping would tell something."""
        return self.membership.state is State.REPLAYING or self.pages.needs_ping

    def ponged(self) -> None:
        self.membership.replayed()
        self.pages.ponged()

    def disconnected(self) -> None:
        self.membership.disconnected()
        self.outbox.disconnected()
        self.pages.disconnected()
        self._signals_to_send.clear()
        self.changes.tell()

    def not_joined(self, id: str | None) -> None:  # noqa: A002
        """The server does not count this client in, so it did not look at a message."""
        self.membership.resync()
        self.pages.disconnected()
        if id is not None:
            self.outbox.unheard(id)

    def message(self, message: Message) -> None:
        is_answer = message.is_own and message.id in self.outbox
        if is_answer and self.is_inside:
            position = Position(self.membership.epoch, message.offset)
            self.outbox.acknowledged(message.id, position)
        self.membership.message(message, is_answer=is_answer)

    def received_signal(self, signal: ReceivedSignal, name: str) -> None:
        sender = signal.sender.id if signal.sender is not None else ""
        self._signals.pop((name, sender), None)
        self._signals[name, sender] = signal
        if len(self._signals) > MAX_SIGNALS:
            del self._signals[next(iter(self._signals))]
        self._signals_changed.tell()

    def refused(self, error: ServerError) -> None:
        """The server does not let this client in."""
        self.membership.refused(None)
        self.end(error, error)

    def evicted(self) -> None:
        self.membership.evicted()
        self.end(Evicted(self.name), Evicted(self.name))

    def end(self, for_reader: Exception, error: ClientError) -> None:
        """Nothing more comes, and nothing can be sent."""
        self._error = error
        self.inbox.end(for_reader)
        self.outbox.fail(error)
        self.pages.fail(error)
        self._signals_changed.tell()
        self.changes.tell()

    def _has_space(self) -> None:
        self.membership.has_space()
        self._wake()
