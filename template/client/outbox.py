"""Own messages until the server acknowledges them."""

import asyncio
from collections.abc import Callable, Iterator

from app.realtime.events import Event
from client.errors import ClientError, ServerError, Unconfirmed
from client.messages import JSON, Position

ANSWER = 5.0
"""Seconds in which the server usually acknowledges a message."""

PATIENCE = 15.0
"""Seconds to wait after that, if the connection works."""

UNCONFIRMED = "the server did not confirm this message"
TOO_BIG = "this message, or one that was sent along with it, is too big for the server"

Answer = asyncio.Future[Position | None]


class Publication:
    """An own message. It is sent again after a reconnect, under the same id."""

    def __init__(self, id: str, event: Event) -> None:  # noqa: A002
        self.id = id
        self.event = event
        self.answer: Answer = asyncio.get_running_loop().create_future()
        self.may_be_there = False
        """Whether the room may have it from an earlier attempt."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_sent(self) -> bool:
        """Whether an answer is due."""
        return self._timer is not None

    def wait(self, seconds: float, late: Callable[["Publication"], None]) -> None:
        """Call `late` unless the answer comes within so many seconds."""
        self.stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(seconds, late, self)

    def stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def fail(self, error: ClientError) -> None:
        self.stop_waiting()
        if not self.answer.done():
            self.answer.set_exception(error)


class Outbox:
    """The unacknowledged messages of one room, in the order of writing."""

    def __init__(self, room: str, on_silence: Callable[[], None]) -> None:
        """`on_silence` is called when the server does not acknowledge a message in time."""
        self._room = room
        self._on_silence = on_silence
        self._publications: dict[str, Publication] = {}

    def __len__(self) -> int:
        return len(self._publications)

    def __contains__(self, id: object) -> bool:  # noqa: A002
        return id in self._publications

    def __iter__(self) -> Iterator[Publication]:
        return iter([*self._publications.values()])

    def add(self, id: str, event: Event) -> Answer:  # noqa: A002
        """Add a message. Raises ValueError for an id that another one here has."""
        if id in self._publications:
            raise ValueError(f"a message with the id {id!r} is being published already")
        self._publications[id] = publication = Publication(id, event)
        return publication.answer

    def forget(self, id: str) -> None:  # noqa: A002
        """Nobody waits for the answer any more."""
        publication = self._publications.pop(id, None)
        if publication is not None:
            publication.stop_waiting()

    def next(self) -> JSON | None:
        """The next message to send, or None. It counts as sent."""
        for publication in self._publications.values():
            if not publication.is_sent and not publication.answer.done():
                publication.wait(ANSWER, self._unanswered)
                event = publication.event
                return {
                    "type": "publish",
                    "room": self._room,
                    "id": publication.id,
                    "event": event.__event__,
                    "data": event.model_dump(mode="json"),
                }
        return None

    def disconnected(self) -> None:
        """This client has left the room. What was sent will be sent again: it may be there."""
        for publication in self:
            publication.may_be_there |= publication.is_sent
            publication.stop_waiting()

    def unheard(self, id: str) -> None:  # noqa: A002
        """The server did not look at this message: it will be sent again."""
        if id in self._publications:
            self._publications[id].stop_waiting()

    def acknowledged(self, id: str, position: Position | None) -> None:  # noqa: A002
        """The room has the message."""
        publication = self._publications.get(id)
        if publication is not None:
            publication.stop_waiting()
            if not publication.answer.done():
                publication.answer.set_result(position)

    def rejected(self, id: str, error: ServerError) -> None:  # noqa: A002
        """The server refused the message."""
        publication = self._publications.get(id)
        if publication is None:
            return
        is_id_taken = error.code == "invalid" and error.detail.startswith("id:")
        if is_id_taken and publication.may_be_there:
            self.acknowledged(id, None)  # by itself: its acknowledgement was lost
        else:
            publication.fail(error)

    def too_big(self) -> None:
        """One of the messages that wait for an answer was too big."""
        for publication in self:
            if publication.is_sent:
                publication.fail(Unconfirmed(publication.id, TOO_BIG))

    def fail(self, error: ClientError) -> None:
        """None of the messages can be sent."""
        for publication in self:
            publication.fail(error)

    def _unanswered(self, publication: Publication) -> None:
        publication.wait(PATIENCE, self._unconfirmed)
        self._on_silence()

    def _unconfirmed(self, publication: Publication) -> None:
        publication.fail(Unconfirmed(publication.id, UNCONFIRMED))
