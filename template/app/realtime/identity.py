"""Who is on the other end of a connection."""

from dataclasses import dataclass

from fastapi import HTTPException, status

OWN_ROOM = "@me"
"""What clients call the room of their user."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who uses the application."""

    id: str
    """Never changes, and is never given to anybody else."""
    name: str
    """What others see."""

    @property
    def room(self) -> str:
        """The user's own room, for `Publisher.publish` and `Publisher.signal`."""
        return room_of_user(self.id)


def room_of_user(user_id: str) -> str:
    """The room that belongs to a user. Its clients join it as `@me`."""
    return f"@{user_id}"


class Unauthenticated(HTTPException):
    """HTTP 401: the request or the handshake carried no valid credential."""

    def __init__(self, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status.HTTP_401_UNAUTHORIZED, detail, headers)
