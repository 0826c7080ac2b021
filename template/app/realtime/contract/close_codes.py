"""What the close codes of a socket mean to a client, and what it does after them."""

from typing import Literal, NamedTuple

from app.realtime.protocol import CloseCode

Retry = Literal["yes", "no", "once"]


class Close(NamedTuple):
    """A close code, why it occurs, and whether to connect again."""

    code: int
    name: str
    reason: str
    retry: Retry
    """"once": with a fresh credential, and not again if that is refused, too."""


CLOSES = [
    Close(1001, "going away", "The server is going away.", "yes"),
    Close(1002, "protocol error", "The client broke a rule of WebSocket frames.", "no"),
    Close(CloseCode.UNSUPPORTED_DATA, "unsupported data", "The client sent a binary frame.", "no"),
    Close(1005, "no status", "The connection ended without a code.", "yes"),
    Close(1006, "abnormal closure", "The connection was lost: it is never sent.", "yes"),
    Close(1007, "invalid payload", "The client sent text that is not UTF-8.", "no"),
    Close(
        CloseCode.POLICY_VIOLATION,
        "policy violation",
        "The client sent far too many messages, or a parameter is not valid.",
        "no",
    ),
    Close(
        CloseCode.MESSAGE_TOO_BIG,
        "message too big",
        "A message had more than MAX_FRAME_BYTES. Do not send that message again.",
        "yes",
    ),
    Close(CloseCode.INTERNAL_ERROR, "internal error", "Something failed in the server.", "yes"),
    Close(1012, "service restart", "The server restarts.", "yes"),
    Close(
        CloseCode.TRY_AGAIN_LATER,
        "try again later",
        "The server is busy, or the client was too slow to receive.",
        "yes",
    ),
    Close(
        CloseCode.UNAUTHENTICATED,
        "not authenticated",
        "There was no valid credential, or the login has ended.",
        "once",
    ),
    Close(CloseCode.FORBIDDEN, "not allowed", "The server does not allow the connection.", "no"),
]
