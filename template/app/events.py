"""The events of this application: what is sent to rooms, to users and in calls.

This file is yours. An `Event` is remembered by its room, a `Signal` is not. With
`from_clients=True` clients may send it, otherwise only the application does. The example
is a chat.
"""

from typing import Annotated

from pydantic import StringConstraints

from app.realtime import Event, Signal


class ChatMessage(Event, event="chat.message", from_clients=True):
    """Somebody said something."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class ChatTyping(Signal, event="chat.typing", from_clients=True):
    """Somebody is typing."""
