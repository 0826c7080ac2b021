"""Accounts for the tests: everybody has the same password."""

import httpx

PASSWORD = "correct horse battery staple"
SECRET_KEY = "a-key-for-tests-and-for-nothing-else"
SETTINGS = {"SECRET_KEYS": SECRET_KEY}
"""What every server needs for them."""


async def log_in(base_url: str, name: str) -> httpx.Response:
    """The answer to a login, after a registration if this name is new."""
    form = {"username": name, "password": PASSWORD}
    async with httpx.AsyncClient(base_url=base_url) as http:
        registered = await http.post("/auth/register", data=form)
        assert registered.status_code in {201, 409}, registered.text
        answer = await http.post("/auth/login", data=form)
    assert answer.status_code == 200, answer.text
    return answer
