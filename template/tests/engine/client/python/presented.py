"""Credentials for the client, from those that the tests of the server have."""

import json

import httpx

from client import Handshake
from client.credentials import Unreachable
from tests.support.auth import sign_in
from tests.support.client import Credentials


class Presented:
    """Presents what `sign_in` answered, whatever the style of authentication."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def handshake(self, server: str) -> Handshake:  # noqa: ARG002
        try:
            query = await self._credentials.query()
        except httpx.TransportError as error:
            raise Unreachable(str(error)) from None
        frame = self._credentials.first_frame
        return Handshake(
            headers=self._credentials.headers,
            query=dict([query.split("=", 1)] if query else []),
            first_frame=json.loads(frame) if frame is not None else None,
        )

    def refused(self) -> None:
        """There is nothing else to present."""

    async def while_open(self, server: str, send: object) -> None:
        """There is nothing to do."""


async def user(base_url: str, name: str) -> Presented:
    """The credentials of a user."""
    return Presented(await sign_in(base_url, name))
