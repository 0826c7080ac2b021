"""Log in with a bearer token."""

import httpx

from tests.client import Credentials

PASSWORD = "correct horse battery staple"


async def sign_in(base_url: str, name: str) -> Credentials:
    """Log in, and before that register if this name is new: what a client then sends."""
    form = {"username": name, "password": PASSWORD}
    async with httpx.AsyncClient(base_url=base_url) as http:
        registered = await http.post("/auth/register", data=form)
        assert registered.status_code in {201, 409}, registered.text
        answer = await http.post("/auth/login", data=form)
        assert answer.status_code == 200, answer.text
    return Credentials(headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
