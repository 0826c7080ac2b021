"""A chat without a terminal, and what it shows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, Input, Label, ListItem

from client import Credentials
from client.chat.app import Chat, Identity
from client.chat.log import Log, Row, Unsent

PATIENCE = 8.0


class Terminal:
    """One user's chat."""

    def __init__(self, chat: Chat, pilot: Pilot[None]) -> None:
        self.chat = chat
        self.pilot = pilot

    @property
    def rows(self) -> list[str]:
        """The log on display, line by line."""
        shown = self.chat.screen.query("Log").results(Log)
        return [str(row.content) for each in shown if each.display for row in each.query(Row)]

    @property
    def unsent(self) -> list[str]:
        return [str(row.content) for row in self.chat.screen.query(Unsent)]

    @property
    def rooms(self) -> list[str]:
        items = self.chat.screen.query("#rooms ListItem").results(ListItem)
        return [str(item.query_one(Label).content) for item in items]

    def text(self, name: str) -> str:
        """The words of a label."""
        return str(self.chat.screen.query_one(f"#{name}", Label).content)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the screen is as it should be."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    await self.pilot.pause(0.02)
        except TimeoutError:
            raise AssertionError(f"the screen shows {self.rows} {self.unsent}") from None

    async def shows(self, text: str) -> None:
        """Wait for a row with this text."""
        await self.until(lambda: any(text in row for row in self.rows))

    async def say(self, text: str) -> None:
        """Write a message and send it."""
        await self.submit("text", text)

    async def submit(self, name: str, value: str) -> None:
        """Fill in a field and press Enter."""
        field = self.chat.screen.query_one(f"#{name}", Input)
        field.focus()
        field.value = value
        await self.pilot.press("enter")


@asynccontextmanager
async def terminal(url: str, credentials: Credentials, room: str) -> AsyncIterator[Terminal]:
    """A chat that is connected to a server."""

    async def start(_: Chat) -> Identity:
        return Identity(url, credentials)

    chat = Chat(start, room=room)
    async with chat.run_test(size=(100, 30)) as pilot:
        opened = Terminal(chat, pilot)
        await opened.until(lambda: bool(chat.screen.query("#connection")))
        logs = chat.screen.query_one("#logs", ContentSwitcher)
        await opened.until(lambda: logs.current is not None)  # it shows the room
        yield opened
