"""A connection to NATS that is ready."""

from typing import NamedTuple

from app.realtime.broker.nats.reader import Reader
from app.realtime.broker.nats.requests import Requests
from app.realtime.broker.nats.stream import Stream


class Link(NamedTuple):
    """A connection, and the stream as it was found."""

    requests: Requests
    reader: Reader
    stream: Stream
