"""What waits for the reader of a room."""

import asyncio
from collections import deque
from collections.abc import Callable

from client.errors import MessagesMissed
from client.messages import Message


class Inbox:
    """A bounded queue of messages, with the gaps between them and how it ends."""

    def __init__(self, size: int, on_space: Callable[[], None]) -> None:
        """`on_space` is called when a full inbox is half empty again.

        Raises ValueError for a size below 1.
        """
        if size < 1:
            raise ValueError(f"inbox_size must be at least 1, not {size}")
        self._size = size
        self._on_space = on_space
        self._items: deque[Message | MessagesMissed] = deque()
        self._end: Exception | None = None
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        return len(self._items) >= self._size

    def put(self, message: Message) -> None:
        """Add a message. The inbox must not be full."""
        self._items.append(message)
        self._ready.set()

    def missed(self, gap: MessagesMissed) -> None:
        """Messages are missing after the last one here. Two gaps in a row count as one."""
        if not self._items or not isinstance(self._items[-1], MessagesMissed):
            self._items.append(gap)
            self._ready.set()

    def end(self, reason: Exception) -> None:
        """After the messages that are here, raise `reason` in the reader."""
        self._end = reason
        self._ready.set()

    def reopen(self) -> None:
        """More messages may come after all."""
        self._end = None

    async def get(self) -> Message:
        """The next message.

        Raises MessagesMissed at a gap, once, and the reason of the end.
        """
        while not self._items:
            if self._end is not None:
                raise self._end
            self._ready.clear()
            await self._ready.wait()
        item = self._items.popleft()
        if len(self._items) == self._size // 2:
            self._on_space()
        if isinstance(item, MessagesMissed):
            raise item
        return item
