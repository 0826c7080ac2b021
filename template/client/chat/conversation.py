"""One room of the chat: reads it into its log, and sends what the user writes."""

import asyncio
import secrets
from collections.abc import Callable

from app.events import ChatMessage, ChatTyping
from client.chat.log import Log, Unsent
from client.chat.text import visible
from client.chat.typing import Typing
from client.chat.words import EVICTED, MISSED, sentence
from client.client import Client
from client.errors import (
    ClientError,
    ConnectionEnded,
    Evicted,
    MessagesMissed,
    ServerError,
)
from client.messages import Message
from client.room import Room

PAGE = 50


class Conversation:
    """What the user sees of a room."""

    def __init__(self, client: Client, name: str, on_change: Callable[[], None]) -> None:
        self.name = name
        self.log = Log()
        self.typing = Typing()
        self.unread = 0
        self.is_shown = False
        """Whether the user looks at it."""
        self.is_over = False
        """Whether the user was removed from the room, or may not enter it."""
        self.room: Room | None = None
        self._client = client
        self._on_change = on_change

    async def run(self) -> None:
        """Be in the room until it is left, or until the server puts an end to it."""
        self.is_over = False
        try:
            self.room = await self._client.join(self.name)
        except ClientError as error:
            end = reason_of(error)
        else:
            async with asyncio.TaskGroup() as tasks:
                hearing = tasks.create_task(self._hear(self.room))
                end = await self._read(self.room)
                hearing.cancel()
        if end:
            await self.log.notice(end)
        self.is_over = True
        self._on_change()

    async def _read(self, room: Room) -> str:
        """Read until nothing more comes. Returns why, in words."""
        while True:
            try:
                async for message in room:
                    await self._show(message)
                    self._on_change()
            except MessagesMissed:
                await self.log.notice(MISSED)
            except ClientError as error:
                return reason_of(error)
            else:
                return ""

    async def _show(self, message: Message) -> None:
        self.typing.stopped(message.sender)
        if message.is_new and not message.is_own and not self.is_shown:
            self.unread += 1
            await self.log.mark_new()
        await self.log.add(message)

    async def _hear(self, room: Room) -> None:
        async for signal in room.signals():
            if isinstance(signal.event, ChatTyping) and signal.sender is not None:
                self.typing.heard(signal.sender)
                self._on_change()

    async def look(self) -> None:
        """The user looks at this room now."""
        self.is_shown, self.unread = True, 0

    async def look_away(self) -> None:
        """What comes from now on is new to the user."""
        if self.is_shown:
            self.is_shown = False
            await self.log.remove_mark()

    async def say(self, text: str) -> None:
        """Send a message. It is shown at once."""
        unsent = Unsent(secrets.token_hex(16), text)
        await self.log.wait(unsent)
        await self.send(unsent)

    async def send(self, unsent: Unsent) -> None:
        """Send a message, or send it again: under the same id, it can't arrive twice."""
        try:
            room = await self._client.join(self.name)
            await room.publish(ChatMessage(text=unsent.text), id=unsent.key)
        except ServerError as error:
            unsent.fail(sentence(error.detail))
        except (ClientError, ValueError) as error:
            unsent.fail(sentence(str(error)))

    async def type(self) -> None:
        """The user is typing."""
        if self.room is not None and self.typing.is_due():
            await self.room.signal(ChatTyping())

    async def load_earlier(self) -> None:
        """Load a page of older messages."""
        if self.room is None:
            return
        try:
            page = await self.room.history(before=self.log.first_offset, limit=PAGE)
        except ClientError:
            self.log.is_loading = False
        else:
            await self.log.add_earlier(page.messages, is_complete=page.is_complete)


def reason_of(error: ClientError) -> str:
    """Why the user is not in a room. "" if the whole connection has ended: the screen says so."""
    match error:
        case Evicted():
            return EVICTED
        case ServerError():
            return visible(sentence(error.detail))
        case ConnectionEnded():
            return ""
        case _:
            return visible(str(error))
