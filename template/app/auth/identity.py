"""Who is on the other end of a connection."""

from dataclasses import dataclass

from fastapi import HTTPException, status


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may use the application, under the name that others see."""

    name: str


class Unauthenticated(HTTPException):
    """No valid credential came with the request or the handshake: HTTP 401."""

    def __init__(self, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status.HTTP_401_UNAUTHORIZED, detail, headers)
