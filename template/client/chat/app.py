"""The application for the terminal."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import App
from textual.binding import BindingType

from client.chat.screen import ChatScreen
from client.credentials import Credentials


@dataclass(frozen=True)
class Identity:
    """Where to connect, and as whom."""

    url: str
    """Of the socket."""
    credentials: Credentials


Start = Callable[["Chat"], Coroutine[Any, Any, Identity | None]]
"""Finds out where to connect. None: the user does not want to."""


class Chat(App[None]):
    """Asks who the user is, and chats. Again when the connection has ended."""

    CSS_PATH = "chat.tcss"
    TITLE = "Chat"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [("ctrl+q", "quit", "Quit")]

    def __init__(self, start: Start, *, room: str) -> None:
        super().__init__()
        self._start = start
        self._room = room

    def on_mount(self) -> None:
        self.run_worker(self._run())

    async def _run(self) -> None:
        while (identity := await self._start(self)) is not None:
            await self.push_screen_wait(ChatScreen(identity.url, identity.credentials, self._room))
        self.exit()

    async def on_app_blur(self) -> None:
        if isinstance(self.screen, ChatScreen):
            await self.screen.look_away()

    async def on_app_focus(self) -> None:
        if isinstance(self.screen, ChatScreen):
            await self.screen.look_back()
