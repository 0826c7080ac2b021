"""What the server says goes to the rooms and calls; what those have to send goes to the server."""

import asyncio
import logging
import re
from collections.abc import Callable

from client.backoff import backoff
from client.calls import Calls
from client.errors import ClientError, ServerError
from client.membership import State
from client.messages import (
    JSON,
    Member,
    Message,
    Page,
    Position,
    ReceivedSignal,
    read_event,
    read_member,
    read_message,
)
from client.pace import Pace
from client.room import Room

ROOM_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}|@me")
OWN_ROOM = "@me"

PAUSE = 1.5
"""Seconds to send nothing when the server says that it was too much."""

TRY_AGAIN = re.compile(r"try again in (\d+) s$")
"""What the server says when too much history was asked for."""

KEEPS_TRYING = {"unavailable", "internal"}
"""After these errors, the client tries again to enter a room."""

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)
"""What reading a message raises if it is not as it should be."""

logger = logging.getLogger("client")


class Rooms:
    """The rooms and the calls of one client."""

    def __init__(
        self,
        *,
        inbox_size: int,
        pace: Pace,
        ping: Callable[[], None],
        check: Callable[[], None],
    ) -> None:
        """`ping` and `check` ask the server for a sign of life, now or if none is due."""
        self.calls = Calls()
        self.wake = asyncio.Event()
        """There may be something to send."""
        self.user: Member | None = None
        self._rooms: dict[str, Room] = {}
        self._leaving: dict[str, None] = {}
        self._ids: set[str] = set()
        """The user's ids: some servers give each connection another one."""
        self._inbox_size = inbox_size
        self._pace = pace
        self._ping = ping
        self._check = check
        self._error: ClientError | None = None

    @property
    def all(self) -> dict[str, Room]:
        """By name, in the order of joining."""
        return dict(self._rooms)

    def enter(self, name: str, since: Position | None) -> Room:
        """The room of this name. Raises ValueError for a name that no room can have."""
        check_name(name)
        self.raise_end()
        room = self._rooms.get(name)
        if room is None:
            room = Room(
                name,
                inbox_size=self._inbox_size,
                since=since,
                wake=self.wake.set,
                check=self._check,
            )
            room.on_leave = lambda: self._leave(name)
            self._rooms[name] = room
            self._leaving.pop(name, None)
        room.enter_again()
        return room

    def _leave(self, name: str) -> None:
        room = self._rooms.pop(name, None)
        if room is not None and room.membership.state not in {State.REFUSED, State.EVICTED}:
            self._leaving[name] = None
        self.wake.set()

    # --- The connection -------------------------------------------------------------

    def welcomed(self, user: Member) -> None:
        """There is a new connection, over which nothing has been sent."""
        if self.user is not None and self.user.id != user.id and OWN_ROOM in self._rooms:
            self._rooms[OWN_ROOM].membership.reset()
        self.user = user
        self._ids.add(user.id)
        self._leaving.clear()
        self.wake.set()

    def disconnected(self) -> None:
        self.calls.disconnected()
        for room in self._rooms.values():
            room.disconnected()

    def too_big(self) -> None:
        """The connection ended because of an own message, which would end the next one too."""
        for room in self._rooms.values():
            room.outbox.too_big()

    def end(self, for_reader: Exception, error: ClientError) -> None:
        """There will be no connection any more."""
        self._error = error
        self.calls.end(error)
        for room in self._rooms.values():
            room.end(for_reader, error)

    def raise_end(self) -> None:
        """Raise why there will be no connection any more."""
        if self._error is not None:
            raise self._error

    def next(self) -> JSON | None:
        """The next message to send, or None. It counts as sent."""
        for name in self._leaving:
            del self._leaving[name]
            return {"type": "leave", "room": name}
        call = self.calls.next()
        if call is not None:
            return call
        for room in self._rooms.values():
            frame = room.next()
            if frame is not None:
                # The others have their turn first.
                self._rooms[room.name] = self._rooms.pop(room.name)
                return frame
        if any(room.needs_ping for room in self._rooms.values()):
            self._ping()
        return None

    # --- What the server says -------------------------------------------------------

    def receive(self, frame: JSON) -> None:
        """Handle a message of the server. Unknown ones are ignored."""
        room = self._rooms.get(str(frame.get("room")))
        try:
            self._receive(frame, room)
        except UNREADABLE:
            logger.exception("the server sent a message that can't be read")
            if room is not None and frame.get("type") == "message":
                room.membership.unreadable()
            elif room is not None and frame.get("type") == "history":
                room.pages.rejected(ServerError("invalid", "the page can't be read"))
        if room is not None:
            room.changes.tell()
        self.wake.set()

    def _receive(self, frame: JSON, room: Room | None) -> None:
        match frame["type"]:
            case "result":
                event = frame.get("event")
                result = None if event is None else read_event(event, frame["data"])
                self.calls.answered(frame["id"], result)
            case "pong":
                for each in self._rooms.values():
                    each.ponged()
            case "error":
                self._error_for(room, frame)
            case "left":
                self._left(room, frame.get("reason"))
            case _ if room is not None:
                self._receive_in(room, frame)

    def _receive_in(self, room: Room, frame: JSON) -> None:
        match frame["type"]:
            case "joined":
                room.membership.joined(frame)
            case "message":
                room.message(self._message(frame, room))
            case "signal":
                sender = read_member(frame.get("sender"))
                event = read_event(frame["event"], frame["data"])
                room.received_signal(ReceivedSignal(event, sender), frame["event"])
            case "presence":
                room.membership.presence(frame)
            case "resync":
                room.membership.resync()
            case "history":
                messages = [self._message(message, room) for message in frame["messages"]]
                room.pages.answered(Page(messages, frame["complete"]))

    def _message(self, frame: JSON, room: Room) -> Message:
        return read_message(frame, room.name, self._ids, is_new=False)

    def _left(self, room: Room | None, reason: str | None) -> None:
        if reason == "evicted" and room is not None:
            room.evicted()
        for each in self._rooms.values():
            each.membership.try_again()

    def _error_for(self, room: Room | None, frame: JSON) -> None:
        """Find out what the server did not carry out."""
        error = ServerError(frame["code"], frame["detail"])
        ref = frame.get("ref")
        if error.code == "rate_limited":
            self._too_much(room, error, frame)
        elif isinstance(ref, str) and ref in self.calls:
            self.calls.rejected(ref, error)
        elif error.code == "not_joined" and room is not None:
            room.not_joined(ref)
        elif ref is not None and room is not None:
            room.outbox.rejected(ref, error)
        elif room is not None and room.membership.state is State.JOINING:
            self._not_let_in(room, error)
        elif room is not None and room.pages.is_waiting and error.code == "unavailable":
            room.pages.postpone(backoff(0))
        elif room is not None and room.pages.is_waiting:
            room.pages.rejected(error)
        else:
            logger.warning("the server did not carry out a message: %s", error)

    def _too_much(self, room: Room | None, error: ServerError, frame: JSON) -> None:
        """The server did not look at a message, which is sent again later."""
        ref, name = frame.get("ref"), frame.get("room")
        matched = TRY_AGAIN.search(error.detail)
        if matched is not None and room is not None:
            seconds = float(matched[1])
            if room.membership.state is State.JOINING:
                self._try_after(room, seconds)
            else:
                room.pages.postpone(seconds)
            return
        self._pace.pause(PAUSE)
        if ref is not None:
            self.calls.unheard(ref)
            if room is not None:
                room.outbox.unheard(ref)
        elif room is not None:
            self._try_after(room, PAUSE)
            room.pages.doubt()
        elif name is not None:
            self._leaving[name] = None

    def _not_let_in(self, room: Room, error: ServerError) -> None:
        if error.code in KEEPS_TRYING:
            logger.warning("can't enter the room %r yet: %s", room.name, error)
            self._try_after(room, backoff(room.membership.refusals))
        else:
            room.refused(error)

    def _try_after(self, room: Room, seconds: float) -> None:
        if room.membership.state is State.JOINING:
            room.membership.refused(max(seconds, 0.001))
            loop = asyncio.get_running_loop()
            loop.call_later(seconds + 0.01, self.wake.set)


def check_name(name: str) -> None:
    """Raises ValueError for a name that no room can have."""
    if not ROOM_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not the name of a room: 1 to 64 letters, digits and any of _.:-"
        )
