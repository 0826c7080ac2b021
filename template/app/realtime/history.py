"""What a room remembers: what a member missed, and pages of older messages."""

import logging
from collections.abc import Iterable
from typing import NamedTuple

from app.realtime.broker import History, Page, Publication
from app.realtime.frames import Frames, frame
from app.realtime.metrics import POISON
from app.realtime.payloads import MalformedBody, history_json, message_json, read_publication
from app.realtime.protocol import Position

logger = logging.getLogger(__name__)

PAGE_BYTES = 262144
"""About how many bytes a page may have. One message is always in it."""


class Delivery(NamedTuple):
    """A publication as members receive it."""

    offset: int
    frames: Frames


class Past:
    """What a room remembers, up to the position at which somebody joins."""

    def __init__(self, position: Position, history: History, deliveries: list[Delivery]) -> None:
        """`deliveries` are those of `history`, and what came after it up to `position`."""
        self._position = position
        self._history = history
        self._deliveries = deliveries

    def since(self, position: Position) -> list[Frames] | None:
        """What came after a position. None if that is not known any more."""
        is_known = (
            self._history.has_all_after(position.offset)
            or position.offset == self._position.offset
            or any(position.offset == it.offset for it in self._deliveries)
        )
        if position.epoch != self._position.epoch or not is_known:
            return None
        return [it.frames for it in self._deliveries if it.offset > position.offset]

    def last(self, count: int) -> list[Frames]:
        """The most recent messages."""
        return [it.frames for it in self._deliveries[-count:]]


def deliveries_of(room: str, publications: Iterable[Publication]) -> list[Delivery]:
    """Publications as members receive them, without those that can't be read."""
    deliveries = []
    for publication in publications:
        payload = readable_message(room, publication)
        if payload is not None:
            deliveries.append(Delivery(publication.position.offset, frame(payload)))
    return deliveries


def page_frame(room: str, page: Page) -> Frames:
    """The answer to `history`: the newest messages of the page that fit into `PAGE_BYTES`."""
    messages: list[bytes] = []
    size, is_cut = 0, False
    for publication in reversed(page.publications):
        payload = readable_message(room, publication)
        if payload is None:
            continue
        size += len(payload)
        if messages and size > PAGE_BYTES:
            is_cut = True
            break
        messages.append(payload)
    complete = page.complete and not is_cut
    return frame(history_json(room, page.epoch, messages[::-1], complete=complete))


def readable_message(room: str, publication: Publication) -> bytes | None:
    """The message for a publication. None if this application can't have published it."""
    body = publication.message
    try:
        read_publication(body)
    except MalformedBody:
        POISON.inc()
        logger.warning("skipped a malformed publication", extra={"room": room})
        return None
    return message_json(room, publication.position.offset, body)
