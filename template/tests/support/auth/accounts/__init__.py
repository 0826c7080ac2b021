"""Accounts for the tests: everybody has the same password."""

import secrets

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.quick_start import preload

PASSWORD = "correct horse battery staple"
# New for each run: production refuses keys that could have been copied from a file.
SECRET_KEY = secrets.token_urlsafe(32)
OTHER_KEY = secrets.token_urlsafe(32)
SETTINGS = {
    "SECRET_KEYS": SECRET_KEY,
    "REGISTRATIONS_PER_MINUTE": "0",  # the tests hurry
    "REGISTRATIONS_PER_MINUTE_PER_ADDRESS": "0",
}
"""The settings that every server needs for accounts."""

preload("sqlalchemy.ext.asyncio", "tests.support.auth.accounts.quick_hashes")


async def log_in(base_url: str, name: str) -> httpx.Response:
    """The answer to a login, after a registration if this name is new and may be registered."""
    form = {"username": name, "password": PASSWORD}
    async with httpx.AsyncClient(base_url=base_url) as http:
        registered = await http.post("/auth/register", data=form)
        assert registered.status_code in {201, 403, 409}, registered.text
        answer = await http.post("/auth/login", data=form)
    assert answer.status_code == 200, answer.text
    return answer


async def handshake(url: str, headers: dict[str, str] | None = None) -> int:
    """The HTTP status that a handshake gets; 101 is success."""
    try:
        async with connect(url, additional_headers=headers):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code
