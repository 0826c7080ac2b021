"""What an ordered log has to offer, so that `LogBackend` can use it as the broker.

A log has one or more partitions. A partition is a sequence of entries that only grows at its
end. Each entry has an offset, which is greater than those of all entries before it, and never
changes. Offsets need not be contiguous.

A log offers two things: `append` writes entries, and `seek` and `read` return all entries
from a certain place on. Everything else, from positions to deduplication, is done in
`LogBackend`, from what is read.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple


class LogUnavailable(Exception):
    """The log can't be used at the moment. The message is a sentence for the operator.

    Whether the server is unreachable, the credentials are wrong, a right is missing, or the topic
    has settings that break the promises: the supervisor tries again for ever.
    """


class OffsetLost(LogUnavailable):
    """The log does not have the offset from which it should be read.

    It is beyond the end, because the log lost its data or was made anew. Or it is before the
    beginning, because the log deleted it by its retention.
    """


class EntryRefused(Exception):
    """The log does not take this one entry, for example because it is too large.

    The message says why. The connection can still be used.
    """


class Draft(NamedTuple):
    """What is to be appended."""

    partition: int
    payload: bytes


class Entry(NamedTuple):
    """What was read."""

    partition: int
    offset: int
    """Not negative. Greater than the offsets before it in the partition."""
    appended_at: float
    """Seconds since 1970, the same for everybody who reads the entry.

    By the clock of the log, if it notes the time of an entry, otherwise by the clock of the
    writer.
    """
    payload: bytes


Start = int | datetime
"""Where to begin reading a partition.

An offset means: with the entry of this offset. A time (with a time zone) means: with the first
entry that was appended at this time or later, or with any entry before that one.
"""


class LogConnection(ABC):
    """A connection to a log. One task appends, and another one seeks once and then reads.

    All methods raise `LogUnavailable` when the connection is of no further use. They may be
    cancelled while they wait, after which the connection is only closed. They don't have to
    have deadlines: the caller has. A connection neither reconnects nor retries by itself where
    that could change the order of the entries.
    """

    @property
    @abstractmethod
    def partitions(self) -> int:
        """How many partitions the log has. They are numbered from 0."""

    @abstractmethod
    async def append(self, drafts: Sequence[Draft]) -> Sequence[EntryRefused | None]:
        """Append entries, those of a partition in this order.

        Returns when the log has confirmed all of them, which means that it keeps them when its
        server is killed, and one result for each: why it was not taken, or None. Raises
        `LogUnavailable` if it is not known which of them were appended. Each one may have been
        appended, also more than once: readers skip an entry of a writer behind a later one of
        the same writer, in the same partition.

        It is called with up to a few hundred drafts, which together have up to some megabytes,
        and not again before it has returned.
        """

    @abstractmethod
    async def seek(self, starts: Sequence[Start]) -> None:
        """Begin to read each partition where `starts`, which has one of each, says.

        Called once, before `read`. After it has returned, every entry that is appended from
        then on will be read, also where a start was a time in the future.

        Raises `OffsetLost` if an offset is beyond the last entry of its partition. An offset
        that is before the first entry raises it here or from `read`.
        """

    @abstractmethod
    async def read(self) -> Sequence[Entry]:
        """Wait for entries, and return some, at least one.

        Every entry of a partition is returned once, in the order of the offsets. An entry is
        returned only when the log keeps it (it is replicated as far as the log replicates).

        What is read ahead is bounded to some megabytes. Raises `OffsetLost` if the log lost
        the offset that comes next.
        """


class Log(ABC):
    """A log at some address."""

    name: str
    """What people call it, for messages to the operator."""

    @abstractmethod
    def connected(self) -> AbstractAsyncContextManager[LogConnection]:
        """A connection for the length of the block, in which the log exists.

        A log that does not exist is created. Raises `LogUnavailable`. When the block ends,
        however it ends, the connection and all of its tasks have ended within about a second, and
        the server remembers nothing of the reader.
        """
