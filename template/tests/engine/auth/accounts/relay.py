"""An address that leads to a database server, as long as the test wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

from sqlalchemy import make_url

from tests.support.server import free_port


class Relay:
    """Forwards connections to a server, until they are cut off or held back."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._port = free_port()
        self.url = self._target.set(host="127.0.0.1", port=self._port).render_as_string(
            hide_password=False
        )
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.open()
        try:
            yield
        finally:
            self.cut()

    async def open(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self.let_through()

    def hold_back(self) -> None:
        """Accept and keep connections, but carry nothing any more."""
        self._flowing.clear()

    def let_through(self) -> None:
        self._flowing.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError), closing(writer):
            host, port = self._target.host, self._target.port or 5432
            far_reader, far_writer = await asyncio.open_connection(host, port)
            with closing(far_writer):
                self._writers |= {writer, far_writer}
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._copy(reader, far_writer))
                    tasks.create_task(self._copy(far_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
        writer.close()
