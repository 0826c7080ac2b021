"""A client that returns after every disconnect, and records what it does and receives."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from scripts.soak.history import (
    Acknowledged,
    Connected,
    Disconnected,
    Join,
    Joined,
    Left,
    Messages,
    Operation,
    Page,
    Problem,
    Publish,
    Quiet,
    Refused,
    Resync,
)
from scripts.soak.light import LightSocket, open_light
from scripts.soak.membership import Membership, Place, Recorder

MESSAGE = re.compile(
    rb'\{"type":"message","room":"([^"]+)","offset":(\d+),"id":"(\d+)",'
    rb'"event":"chat\.message","data":\{"text":"(\d+) '
)
BACKOFF_BASE, BACKOFF_CAP = 0.5, 8.0
"""Seconds: full jitter up to the base times two to the number of attempts, or up to the cap."""
RETRY_SECONDS = 1.5
"""About how long a client waits until it tries to join or to publish again."""
SENT_TWICE = 0.03
"""The share of messages that are sent twice at once, under the same id."""
RETRIED = 0.5
"""The share of refused messages that are sent again."""
IGNORED = {"welcome", "presence", "signal", "pong"}
TEXT = " is the id of this message. " + "x" * 70
IDS_PER_CLIENT = 1 << 32


class Client:
    """One socket after the other. It is in the rooms of `rooms` whenever it is connected."""

    def __init__(
        self, number: int, place: Place, rooms: list[str], recorder: Recorder, chance: Random
    ) -> None:
        self.number = number
        self.chance = chance
        self.rooms = {room: Membership(room) for room in rooms}
        self.pending: dict[int, tuple[str, float]] = {}
        """Own messages that were neither acknowledged nor refused: room, and when it was sent."""
        self._sent_again: set[int] = set()
        self._refused: dict[int, str] = {}
        """Rooms of own messages that were refused, and perhaps published nevertheless."""
        self.socket: LightSocket | None = None
        self.is_ending = False
        self._place = place
        self._recorder = recorder
        self._connections = 0
        self._next_id = number * IDS_PER_CLIENT
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def is_connected(self) -> bool:
        return self.socket is not None and self.socket.is_open

    @property
    def is_settled(self) -> bool:
        """Whether it is in all its rooms, and waits for nothing."""
        in_rooms = all(membership.is_in for membership in self.rooms.values())
        return self.is_connected and in_rooms and not self.pending and not self._timers

    # --- The connection -------------------------------------------------------------

    async def run(self) -> None:
        """Connect again and again, until `is_ending`."""
        attempt = 0
        while not self.is_ending:
            ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2**attempt)
            await asyncio.sleep(self.chance.uniform(0, ceiling))
            attempt = min(attempt + 1, 10)
            try:
                async with self._place.handshakes:
                    place = self._place
                    self.socket = await open_light(
                        place.port, place.address, place.cookie, self.on_text
                    )
            except (OSError, TimeoutError) as error:
                reason = str(error) if hasattr(error, "status") else type(error).__name__
                refused = self._recorder.refused_handshakes
                refused[reason] = refused.get(reason, 0) + 1
                continue
            attempt = 0
            await self._serve(self.socket)

    async def _serve(self, socket: LightSocket) -> None:
        """Be in the rooms until the connection ends."""
        self._record(Connected(self._now(), self.number, self._connections))
        for room in list(self.rooms):
            self.join(room)
        await socket.closed
        self._connections += 1
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for membership in self.rooms.values():
            membership.is_in = membership.has_asked = False
            membership.messages = None
        self._record(Disconnected(self._now(), self.number, socket.close_code))

    async def end(self) -> None:
        """Disconnect for ever."""
        self.is_ending = True
        if self.socket is not None and self.socket.is_open:
            self.socket.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await asyncio.shield(self.socket.closed)
            self.socket.reset()

    def be_quiet(self) -> None:
        """Record that everything must have arrived."""
        self._record(Quiet(self._now(), self.number))

    # --- What it sends --------------------------------------------------------------

    def join(self, room: str) -> None:
        """Ask to enter a room, where the client stands if it knows that."""
        membership = self.rooms.setdefault(room, Membership(room))
        if self.socket is None or membership.has_asked:
            return
        membership.has_asked = True
        epoch, offset = membership.position or (None, 0)
        membership.asked_for = offset if epoch else -1
        self._record(Join(self._now(), self.number, room, epoch, offset))
        since = {"since": {"epoch": epoch, "offset": offset}} if epoch else {}
        self.socket.send(type="join", room=room, **since)

    def leave(self, room: str) -> None:
        """Leave a room, and forget where the client stood there."""
        if self.socket is not None and self.rooms[room].is_in:
            self.socket.send(type="leave", room=room)

    def publish(self, room: str) -> None:
        """Publish a message with a new id."""
        if self.is_connected and self.rooms[room].is_in:
            self._next_id += 1
            self._send_message(self._next_id, room)
            if self.chance.random() < SENT_TWICE:
                self._send_message(self._next_id, room)

    def signal(self, room: str) -> None:
        if self.socket is not None and self.rooms[room].is_in:
            self.socket.send(type="signal", room=room, event="chat.typing", data={})

    def ask_for_history(self, room: str, before: int | None) -> None:
        bound = {} if before is None else {"before": before}
        if self.socket is not None:
            self.socket.send(type="history", room=room, **bound)

    def _send_message(self, id_: int, room: str) -> None:
        membership = self.rooms.get(room)
        if self.socket is None or membership is None or not membership.is_in:
            return
        now = self._now()
        if id_ in self.pending or id_ in self._refused:
            self._sent_again.add(id_)
        self.pending[id_] = (room, now)
        self._record(Publish(now, self.number, room, id_, self._connections))
        data = {"text": f"{id_}{TEXT}"}
        self.socket.send(type="publish", room=room, id=str(id_), event="chat.message", data=data)

    def _publish_again(self, room: str, joined_at: float) -> None:
        """Send what was not answered before `joined`, under the same ids."""
        for id_, (its_room, sent_at) in list(self.pending.items()):
            if its_room == room and sent_at < joined_at:
                self._send_message(id_, room)

    def _retry(self, id_: int) -> None:
        """Send a message that was refused once more, unless it has arrived meanwhile."""
        if id_ in self._refused:
            self._send_message(id_, self._refused[id_])

    # --- What it receives -----------------------------------------------------------

    def on_text(self, payload: bytes) -> None:
        found = MESSAGE.match(payload)
        if found is not None:
            room, offset, id_, text = found.groups()
            if text != id_:
                self._problem(f"another text: {payload!r}")
            self._receive(room.decode(), int(offset), int(id_))
            return
        message = json.loads(payload)
        match message["type"]:
            case "joined":
                self._enter(message)
            case "resync":
                self._resync(message)
            case "left":
                self._leave(message)
            case "history":
                self._read_page(message)
            case "error":
                self._take_error(message, payload)
            case kind if kind not in IGNORED:
                self._problem(payload.decode())

    def _receive(self, room: str, offset: int, id_: int) -> None:
        membership = self.rooms.get(room)
        if membership is not None and self._is_acknowledged_again(membership, offset, id_):
            self._acknowledge(membership, offset, id_)
            return
        if membership is None or not membership.is_in:
            messages = Messages(self._now(), self.number, room)
            self._record(messages)  # a violation
        else:
            if membership.messages is None:
                membership.messages = Messages(self._now(), self.number, room)
                self._record(membership.messages)
            messages = membership.messages
            membership.position = (membership.epoch, offset)
            membership.last = offset
        messages.offsets.append(offset)
        messages.ids.append(id_)
        if (id_ in self.pending or id_ in self._refused) and membership is not None:
            self._acknowledge(membership, offset, id_)

    def _is_acknowledged_again(self, membership: Membership, offset: int, id_: int) -> bool:
        """Whether it is the answer to an own message that the room had already."""
        return id_ in self._sent_again and membership.is_in and offset <= membership.last

    def _acknowledge(self, membership: Membership, offset: int, id_: int) -> None:
        self.pending.pop(id_, None)
        self._refused.pop(id_, None)
        self._record(
            Acknowledged(self._now(), self.number, membership.room, id_, membership.epoch, offset)
        )

    def _enter(self, joined: dict[str, Any]) -> None:
        room, epoch, offset = joined["room"], joined["epoch"], joined["offset"]
        recovered = joined["recovered"]
        self._record(Joined(self._now(), self.number, room, epoch, offset, recovered))
        membership = self.rooms.setdefault(room, Membership(room))
        # What was missed comes now: until it has, the client stands where it stood.
        membership.last = membership.asked_for
        if membership.asked_for >= 0 and not recovered:
            membership.position, membership.last = (epoch, offset), offset
        membership.epoch = epoch
        membership.is_in, membership.has_asked = True, False
        membership.messages = None
        if self.pending:
            self._later(partial(self._publish_again, room, self._now()))

    def _resync(self, message: dict[str, Any]) -> None:
        room, epoch, offset = message["room"], message["epoch"], message["offset"]
        self._record(Resync(self._now(), self.number, room, epoch, offset))
        membership = self.rooms[room]
        membership.epoch, membership.messages, membership.last = epoch, None, offset
        # Some go on from there, the others ask for the most recent messages.
        goes_on = not self.pending and self.number % 2 == 0
        membership.position = (epoch, offset) if goes_on else None
        self.join(room)

    def _leave(self, message: dict[str, Any]) -> None:
        self._record(Left(self._now(), self.number, message["room"]))
        self.rooms.pop(message["room"], None)

    def _read_page(self, message: dict[str, Any]) -> None:
        room, epoch = message["room"], message["epoch"]
        page = Page(self._now(), self.number, room, epoch, message["complete"])
        for it in message["messages"]:
            page.offsets.append(it["offset"])
            page.ids.append(int(it["id"]))
        self._record(page)
        self.on_page(page)

    def on_page(self, page: Page) -> None:
        """Called with every page of history."""

    def on_refusal(self, room: str) -> None:
        """Called when the server asks to try again, to enter a room or to read its history."""

    def _take_error(self, error: dict[str, Any], payload: bytes) -> None:
        code, room, ref = error["code"], error.get("room"), error.get("ref")
        if ref is not None and ref.isdigit():
            self._record(Refused(self._now(), self.number, int(ref), code))
            sent = self.pending.pop(int(ref), None)
            if sent is not None:
                self._refused[int(ref)] = sent[0]
                if self.chance.random() < RETRIED:
                    self._later(partial(self._retry, int(ref)))
        elif code in {"unavailable", "rate_limited"} and room is not None:
            membership = self.rooms.get(room)
            if membership is not None and membership.has_asked:
                membership.has_asked = False
                self._later(partial(self.join, room))
            self.on_refusal(room)
        else:
            self._problem(payload.decode())

    # --- The record -----------------------------------------------------------------

    def _later(self, call: Callable[[], None]) -> None:
        """Call something in a while, if the connection is still there."""
        delay = self.chance.uniform(0.5, 1.5) * RETRY_SECONDS
        loop = asyncio.get_running_loop()

        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = loop.call_later(delay, run)
        self._timers.add(timer)

    def _problem(self, text: str) -> None:
        self._record(Problem(self._now(), self.number, text[:500]))

    def _record(self, operation: Operation) -> None:
        self._recorder.add(operation)

    @staticmethod
    def _now() -> float:
        return time.monotonic()
