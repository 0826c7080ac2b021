"""Sentences for people."""

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from client.connection import State, Status

MISSED = "The connection was interrupted. Messages may be missing here."
EVICTED = "You were removed from this room."
BEGINNING = "Nothing older is remembered."
EARLIER = "Earlier messages (PgUp)"
LOADING = "Loading…"
NEW = "New messages"


def connection_words(status: Status, name: str, now: float) -> str:
    """Where the connection stands. `now` is that of `time.monotonic()`."""
    match status.state:
        case State.CONNECTING:
            return "Connecting…"
        case State.OPEN:
            return f"Connected as {name}"
        case State.WAITING:
            left = math.ceil(max(0.0, (status.retry_at or now) - now))
            return f"{status.reason} Next attempt in {left} s. Ctrl+R tries now."
        case State.ENDED:
            return f"{status.reason} Ctrl+R connects again."


def typing_words(names: Sequence[str]) -> str:
    """Who is typing."""
    match names:
        case []:
            return ""
        case [name]:
            return f"{name} is typing…"
        case [name, other]:
            return f"{name} and {other} are typing…"
        case _:
            return "Several people are typing…"


def day_words(day: date, today: date) -> str:
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return f"{day:%A}, {day.day} {day:%B %Y}"


def local(moment: datetime) -> datetime:
    """In the time zone of this computer."""
    return moment.astimezone()


def sentence(text: str) -> str:
    """What the server says, as a sentence."""
    end = "" if text.endswith((".", "!", "?", "…")) else "."
    return f"{text[:1].upper()}{text[1:]}{end}"
