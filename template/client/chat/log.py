"""The messages of a room, as widgets."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import ClassVar
from zlib import crc32

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message as Posted
from textual.widgets import Label

from app.events import ChatMessage
from client.chat.text import visible
from client.chat.words import BEGINNING, EARLIER, LOADING, NEW, day_words, local
from client.messages import Member, Message

MAX_ROWS = 2000
COLORS = ["$primary", "$secondary", "$success", "$warning", "$error", "$accent"]


def color_of(sender: Member | None) -> str:
    """The same for each message of a user."""
    return COLORS[crc32(sender.id.encode()) % len(COLORS)] if sender is not None else "$text"


def text_of(message: Message) -> str:
    """What a message says. Events of other kinds are shown as they are."""
    if isinstance(message.event, ChatMessage):
        return visible(message.event.text, keep="\n")
    return visible(repr(message.event))


class Row(Label):
    """A line of the log. Its text is never markup."""

    def __init__(self, content: Content | str, day: date | None = None, *, kind: str) -> None:
        super().__init__(content, markup=False, classes=f"row {kind}")
        self.day = day


def row_of(message: Message) -> Row:
    moment = local(message.sent_at)
    name = visible(message.sender.name) if message.sender is not None else "The application"
    content = Content.assemble(
        (f"{moment:%H:%M} ", "dim"),
        (f"{name} ", f"bold {color_of(message.sender)}"),
        Content(text_of(message)),
    )
    return Row(content, moment.date(), kind="own" if message.is_own else "message")


class Unsent(Label, can_focus=True):
    """An own message that the server has not acknowledged."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("r", "retry", "Try again"),
        ("d", "discard", "Discard"),
    ]

    class Retry(Posted):
        def __init__(self, unsent: "Unsent") -> None:
            super().__init__()
            self.unsent = unsent

    def __init__(self, key: str, text: str) -> None:
        super().__init__("", markup=False, classes="row own pending")
        self.key = key
        self.text = text
        self.reason = ""
        self.can_focus = False
        self._show("Sending…")

    def fail(self, reason: str) -> None:
        """Say why the message was not sent. It can be focused now."""
        self.reason = visible(reason)
        self.can_focus = True
        self.add_class("failed")
        self._show(f"Not sent: {self.reason} [R] tries again, [D] discards.")

    def _show(self, state: str) -> None:
        style = "$text-error" if self.reason else "dim"
        text = visible(self.text, keep="\n")
        self.update(Content.assemble(Content(f"{text}\n"), (state, style)))

    def on_click(self) -> None:
        if self.reason:
            self.action_retry()

    def action_retry(self) -> None:
        self.reason = ""
        self.can_focus = False
        self.remove_class("failed")
        self._show("Sending…")
        self.post_message(self.Retry(self))

    def action_discard(self) -> None:
        self.remove()


class Log(VerticalScroll, can_focus=False):
    """The messages of one room: what was loaded, and then what waits to be sent."""

    class ReachedTop(Posted):
        """The reader wants to see earlier messages."""

        def __init__(self, log: "Log") -> None:
            super().__init__()
            self.log = log

    def __init__(self) -> None:
        super().__init__()
        self.first_offset: int | None = None
        self.has_earlier = True
        self._is_loading = False
        self._has_mark = False
        self._ids: set[str] = set()

    def compose(self) -> ComposeResult:
        yield Row(EARLIER, kind="earlier")
        yield Vertical(id="sent")
        yield Vertical(id="unsent")

    def on_mount(self) -> None:
        self.query_one(".earlier").display = False
        self.anchor()

    @property
    def sent(self) -> Vertical:
        return self.query_one("#sent", Vertical)

    async def add(self, message: Message) -> None:
        """A message at the end, in the place of the one that waited."""
        if message.id in self._ids:
            return
        self._ids.add(message.id)
        if self.first_offset is None:
            self.first_offset = message.offset
            self.query_one(".earlier").display = True
        for unsent in self.query(Unsent):
            if unsent.key == message.id:
                await unsent.remove()
        row = row_of(message)
        last = self._last_day()
        await self.sent.mount_all([*day_before(row, last), row])
        if len(self.sent.children) > MAX_ROWS:
            await self.sent.children[0].remove()

    async def add_earlier(self, messages: Sequence[Message], *, is_complete: bool) -> None:
        """Older messages before the first. What is in view stays where it is."""
        rows: list[Row] = []
        last: date | None = None
        for message in messages:
            if message.id not in self._ids:
                self._ids.add(message.id)
                row = row_of(message)
                rows += [*day_before(row, last), row]
                last = row.day
        for day in self.sent.query(".day").results(Row):
            if day.day == last:  # it stands before the first of them now
                await day.remove()
        if messages:
            self.first_offset = messages[0].offset
        self.has_earlier = not is_complete
        height, y = self.virtual_size.height, self.scroll_y
        await self.sent.mount_all(rows, before=0)
        self.call_after_refresh(self._stay, height, y)
        self.is_loading = False

    def _stay(self, height: int, y: float) -> None:
        grown = self.virtual_size.height - height
        self.scroll_to(y=y + grown, animate=False, immediate=True)

    async def notice(self, text: str) -> None:
        """Tell the reader something in this place."""
        await self.sent.mount(Row(text, kind="notice"))

    async def mark_new(self) -> None:
        """The next message is the first that was not read."""
        if not self._has_mark:
            self._has_mark = True
            await self.sent.mount(Row(NEW, kind="new"))

    async def remove_mark(self) -> None:
        self._has_mark = False
        await self.query(".new").remove()

    async def wait(self, unsent: Unsent) -> None:
        """Show an own message that is being sent."""
        await self.query_one("#unsent", Vertical).mount(unsent)
        self.anchor()

    @property
    def is_loading(self) -> bool:
        return self._is_loading

    @is_loading.setter
    def is_loading(self, value: bool) -> None:
        self._is_loading = value
        words = EARLIER if self.has_earlier else BEGINNING
        self.query_one(".earlier", Row).update(LOADING if value else words)

    def on_mouse_scroll_up(self) -> None:
        if self.scroll_y <= 0:
            self.ask_for_earlier()

    def on_click(self, event: Click) -> None:
        if event.widget is self.query_one(".earlier"):
            self.ask_for_earlier()

    def ask_for_earlier(self) -> None:
        if self.has_earlier and not self._is_loading and self.first_offset is not None:
            self.is_loading = True
            self.post_message(self.ReachedTop(self))

    def _last_day(self) -> date | None:
        days = [row.day for row in self.sent.query(Row) if row.day is not None]
        return days[-1] if days else None


def day_before(row: Row, last: date | None) -> list[Row]:
    """A separator, if a row begins another day."""
    if row.day is None or row.day == last:
        return []
    today = datetime.now().astimezone().date()
    return [Row(day_words(row.day, today), row.day, kind="day")]
