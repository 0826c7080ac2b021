"""Requests to the server's routes under /auth."""

from collections.abc import Mapping

import httpx

from client.credentials import Unreachable
from client.errors import ClientError

TIMEOUT = 10.0
"""Seconds that an answer may take."""


class Refused(ClientError):
    """The server refused a request: `status` is that of HTTP, and the text a sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


async def post(
    server: str,
    path: str,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Post a form. Raises Refused for an HTTP 4xx, and Unreachable without an answer."""
    try:
        async with httpx.AsyncClient(base_url=server, timeout=TIMEOUT) as http:
            answer = await http.post(path, data=fields, headers=headers)
    except httpx.TransportError as error:
        raise Unreachable(str(error) or type(error).__name__) from None
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ValueError(f"{server!r} is not the address of a server: {error}") from None
    if answer.status_code >= 500:
        raise Unreachable(f"HTTP {answer.status_code}")
    if not answer.is_success:
        raise Refused(answer.status_code, sentence(answer))
    return answer


def sentence(answer: httpx.Response) -> str:
    """Why the server refused."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = None
    if isinstance(detail, str):
        return detail
    return f"The server refused with HTTP status {answer.status_code}."


async def register(server: str, username: str, password: str) -> None:
    """Create an account. Raises Refused and Unreachable."""
    await post(server, "auth/register", {"username": username, "password": password})
