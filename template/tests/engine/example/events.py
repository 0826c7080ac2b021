"""The events of the example."""

from typing import Annotated

from pydantic import StringConstraints

from app.realtime import Event, Signal


class ChatMessage(Event, event="chat.message", from_clients=True):
    """Somebody said something."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class ChatTyping(Signal, event="chat.typing", from_clients=True):
    """Somebody is typing."""
