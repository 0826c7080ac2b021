"""What goes wrong, as exceptions."""


class ClientError(Exception):
    """Whatever this client raises."""


class ServerError(ClientError):
    """The server did not carry out a message, and said why.

    `code` is one of `invalid`, `unavailable`, `forbidden`, `not_joined`, `too_many_rooms`,
    `refused` and `internal`. `detail` is a sentence.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Evicted(ClientError):
    """The application removed this user from the room."""

    def __init__(self, room: str) -> None:
        super().__init__(f"the application removed this user from the room {room!r}")


class MessagesMissed(ClientError):
    """Messages of a room are missing here, and can't be had any more.

    Iterate over the room again to go on with the messages after the gap.
    """

    def __init__(self, room: str, reason: str) -> None:
        super().__init__(f"messages of the room {room!r} are missing: {reason}")


class Unconfirmed(ClientError):
    """The room may have this message or not: the server did not confirm it.

    Publish the same event under the same `id` to find out. It can't arrive twice.
    """

    def __init__(self, id: str, reason: str) -> None:  # noqa: A002
        super().__init__(reason)
        self.id = id


class ConnectionLost(ClientError):
    """The connection was lost before a call was answered. It may have been carried out."""


class ConnectionEnded(ClientError):
    """The connection has ended, and to connect again would be of no use.

    `code` is the close code, or the HTTP status of a refused handshake; 0 without one.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Unauthenticated(ConnectionEnded):
    """The server does not accept the credentials, nor fresh ones."""
