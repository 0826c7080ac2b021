"""Why a socket closed, and whether to connect again.

RFC 6455 section 7.4.1, the IANA registry of close codes, and the server's own.
"""

from enum import Enum, auto
from typing import NamedTuple

ABNORMAL = 1006
"""The connection ended without a close frame."""

MESSAGE_TOO_BIG = 1009


class Retry(Enum):
    """Whether to connect again."""

    YES = auto()
    NO = auto()
    ONCE = auto()
    """One more attempt, with fresh credentials."""


class CloseCode(NamedTuple):
    retry: Retry
    sentence: str


CODES = {
    1000: CloseCode(Retry.NO, "The server ended the connection."),
    1001: CloseCode(Retry.YES, "The server is going away."),
    1002: CloseCode(Retry.NO, "The server did not understand this client."),
    1003: CloseCode(Retry.NO, "The server did not accept what this client sent."),
    1005: CloseCode(Retry.YES, "The connection ended."),
    ABNORMAL: CloseCode(Retry.YES, "The connection was lost."),
    1007: CloseCode(Retry.NO, "The server could not read what this client sent."),
    1008: CloseCode(Retry.NO, "The server closed the connection: this client broke a rule."),
    # What was too big is not sent again, so the next connection does not end like this.
    MESSAGE_TOO_BIG: CloseCode(Retry.YES, "A message was too big for the server."),
    1011: CloseCode(Retry.YES, "Something went wrong in the server."),
    1012: CloseCode(Retry.YES, "The server is restarting."),
    1013: CloseCode(Retry.YES, "The server is busy, or this connection was too slow for it."),
    4401: CloseCode(Retry.ONCE, "The server asks again who this is."),
    4403: CloseCode(Retry.NO, "The server does not allow this connection."),
}


def close_code(code: int) -> CloseCode:
    """Whether to connect again after this close code, and a sentence for people."""
    retry = Retry.YES if 4000 <= code <= 4399 else Retry.NO
    unknown = CloseCode(retry, f"The server closed the connection with code {code}.")
    return CODES.get(code, unknown)
