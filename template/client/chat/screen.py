"""The chat itself: rooms and members on the left, messages on the right."""

import asyncio
import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer, Input, Label, ListItem, ListView

from client.chat.conversation import Conversation
from client.chat.log import Log, Unsent
from client.chat.text import visible
from client.chat.words import connection_words, typing_words
from client.client import Client, connect
from client.connection import State
from client.credentials import Credentials
from client.rooms import check_name

MAX_TEXT = 4096
"""Characters of a message, as `app/events.py` says."""


class ChatScreen(Screen[None]):
    """Talks to one server until the connection has ended for good."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("ctrl+up", "next_room(-1)", "Previous room"),
        ("ctrl+down", "next_room(1)", "Next room"),
        ("ctrl+n", "focus_room_name", "Join a room"),
        ("ctrl+l", "leave", "Leave"),
        ("pageup", "scroll(-1)", "Scroll"),
        ("pagedown", "scroll(1)"),
        ("ctrl+r", "reconnect", "Reconnect"),
    ]

    def __init__(self, url: str, credentials: Credentials, room: str) -> None:
        super().__init__()
        self._url = url
        self._credentials = credentials
        self._first_room = room
        self._client: Client | None = None
        self._conversations: dict[str, Conversation] = {}
        self._current: Conversation | None = None

    def compose(self) -> ComposeResult:
        yield Label("Connecting…", id="connection", markup=False)
        with Horizontal():
            with Vertical(id="side"):
                yield Label("Rooms", classes="title")
                yield ListView(id="rooms")
                yield Input(placeholder="Join a room…", id="room-name", max_length=64)
                yield Label("Members", classes="title", id="member-count", markup=False)
                yield Label("", id="members", markup=False)
            with Vertical(id="main"):
                yield ContentSwitcher(id="logs")
                yield Label("", id="typing", markup=False)
                yield Input(placeholder="Message", id="text", max_length=MAX_TEXT)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#text").focus()
        self.run_worker(self._talk())
        self.set_interval(1, self._show)

    async def _talk(self) -> None:
        """Be connected. What the conversations do ends with the block."""
        async with connect(self._url, self._credentials, wait=False) as self._client:
            await self._enter(self._first_room)
            async for _ in self._client.changes():
                self._show()
                await asyncio.sleep(0.02)  # many changes at once are shown at once

    # --- Rooms ----------------------------------------------------------------------

    async def _enter(self, name: str) -> None:
        """Show a room, and enter it if the user is not there."""
        if self._client is None:
            return
        if name not in self._conversations:
            conversation = Conversation(self._client, name, self._show)
            self._conversations[name] = conversation
            conversation.log.id = f"log-{id(conversation)}"
            await self.query_one("#logs", ContentSwitcher).mount(conversation.log)
            item = ListItem(Label(visible(name), markup=False), name=name)
            await self.query_one("#rooms", ListView).append(item)
            self.run_worker(conversation.run())
        await self._look_at(self._conversations[name])

    async def _look_at(self, conversation: Conversation) -> None:
        if self._current is conversation:
            return
        if self._current is not None:
            await self._current.look_away()
        self._current = conversation
        await conversation.look()
        self.query_one("#logs", ContentSwitcher).current = conversation.log.id
        rooms = self.query_one("#rooms", ListView)
        rooms.index = [*self._conversations].index(conversation.name)
        self._show()

    async def action_next_room(self, step: int) -> None:
        if self._current is not None:
            names = [*self._conversations]
            place = (names.index(self._current.name) + step) % len(names)
            await self._look_at(self._conversations[names[place]])

    async def action_leave(self) -> None:
        """Leave the room on display, unless it is the only one."""
        left = self._current
        if left is None or len(self._conversations) == 1:
            return
        await self.action_next_room(1)
        place = [*self._conversations].index(left.name)
        del self._conversations[left.name]
        await self.query_one("#rooms", ListView).pop(place)
        await left.log.remove()
        if left.room is not None:
            await left.room.leave()
        if self._current is not None:
            index = [*self._conversations].index(self._current.name)
            self.query_one("#rooms", ListView).index = index

    async def on_list_view_selected(self, event: ListView.Selected) -> None:
        await self._enter(event.item.name or "")
        self.query_one("#text").focus()

    async def look_away(self) -> None:
        """The user looks at another window."""
        if self._current is not None:
            await self._current.look_away()

    async def look_back(self) -> None:
        """The user looks at this window again."""
        if self._current is not None:
            await self._current.look()
            self._show()

    # --- What the user does ---------------------------------------------------------

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        if not text or self._current is None:
            return
        if event.input.id == "text":
            event.input.value = ""
            self._begin_again(self._current)
            self.run_worker(self._current.say(text))
            return
        try:
            check_name(text)
        except ValueError as error:
            self.notify(visible(str(error)), severity="error", markup=False)
            return
        event.input.value = ""
        await self._enter(text)
        self.query_one("#text").focus()

    async def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "text" and event.value.strip() and self._current is not None:
            await self._current.type()

    def on_unsent_retry(self, event: Unsent.Retry) -> None:
        for conversation in self._conversations.values():
            if event.unsent in conversation.log.query(Unsent):
                self._begin_again(conversation)
                self.run_worker(conversation.send(event.unsent))

    def _begin_again(self, conversation: Conversation) -> None:
        """Enter a room again before the user speaks there, if that is necessary."""
        if conversation.is_over:
            self.run_worker(conversation.run())

    def on_log_reached_top(self, event: Log.ReachedTop) -> None:
        for conversation in self._conversations.values():
            if conversation.log is event.log:
                self.run_worker(conversation.load_earlier())

    def action_scroll(self, pages: int) -> None:
        if self._current is None:
            return
        log = self._current.log
        if pages > 0:
            log.scroll_page_down(animate=False)
        elif log.scroll_y > 0:
            log.scroll_page_up(animate=False)
        else:
            log.ask_for_earlier()

    def action_focus_room_name(self) -> None:
        self.query_one("#room-name").focus()

    async def action_reconnect(self) -> None:
        """Try now. After the end, begin again."""
        if self._client is None:
            return
        if self._client.status.state is State.ENDED:
            self.dismiss()
        else:
            self._client.try_now()

    # --- What the user sees ---------------------------------------------------------

    def _show(self) -> None:
        if self._client is None or not self.query("#connection"):
            return  # not yet, or not any more
        status = self._client.status
        name = visible(self._client.user.name) if status.state is State.OPEN else ""
        label = self.query_one("#connection", Label)
        label.update(visible(connection_words(status, name, time.monotonic())))
        label.set_class(status.state in {State.WAITING, State.ENDED}, "trouble")
        for item in self.query("#rooms ListItem").results(ListItem):
            self._show_room(item)
        if self._current is not None:
            self._show_members(self._current)
            names = [visible(it) for it in self._current.typing.names]
            self.query_one("#typing", Label).update(typing_words(names))

    def _show_room(self, item: ListItem) -> None:
        conversation = self._conversations.get(item.name or "")
        if conversation is not None:
            unread = f" ({conversation.unread})" if conversation.unread else ""
            item.query_one(Label).update(f"{conversation.name}{unread}")
            item.set_class(bool(unread), "unread")

    def _show_members(self, conversation: Conversation) -> None:
        room = conversation.room
        count, members = (room.count, room.members) if room is not None else (0, {})
        self.query_one("#member-count", Label).update(f"Members ({count})")
        if members is None:
            words = "This room is too large for a list."
        else:
            words = "\n".join(sorted(visible(it.name) for it in members.values()))
        self.query_one("#members", Label).update(words)
