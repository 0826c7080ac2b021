"""A TCP proxy in front of a server, for faults that a network has."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

CHUNK = 65536

Rewrite = Callable[[bytes], bytes]


class Proxy:
    """Carries connections to a server at a port of this machine, as long as it is told to."""

    def __init__(
        self, upstream_port: int, new_rewrite: Callable[[], Rewrite] = lambda: bytes
    ) -> None:
        """`new_rewrite` is called for each connection. It returns what changes, piece by piece,
        what the server sends.
        """
        self.upstream_port = upstream_port
        self.port = 0
        """Where it listens. It keeps the port when it refuses connections and accepts again."""
        self._new_rewrite = new_rewrite
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Carry connections for the length of the block."""
        await self.accept()
        try:
            yield self
        finally:
            self.refuse()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def accept(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Close all connections, and take none."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Close all connections."""
        self._flowing.set()
        for connection in self._connections:
            connection.cancel()

    def stall(self) -> None:
        """Carry nothing more, with every connection open."""
        self._flowing.clear()

    def flow(self) -> None:
        """Carry again after `stall`."""
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.upstream_port)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._carry(reader, upstream[1], bytes))
                    tasks.create_task(self._carry(upstream[0], writer, self._new_rewrite()))
            finally:
                upstream[1].close()
        except* (OSError, asyncio.CancelledError):
            pass  # the connection ends on both sides
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rewrite: Rewrite
    ) -> None:
        while data := await reader.read(CHUNK):
            await self._flowing.wait()
            writer.write(rewrite(data))
            await writer.drain()
        raise ConnectionResetError
