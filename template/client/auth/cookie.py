"""The handshake carries the session cookie."""

from urllib.parse import urlsplit

from client.auth.sessions import Session
from client.credentials import Handshake


class Login(Session):
    """A user of this application."""

    async def handshake(self, server: str) -> Handshake:
        """The cookie. Raises Unauthenticated and Unreachable.

        The server takes a cookie with an Origin only, as browsers send it.
        """
        parts = urlsplit(server)
        origin = f"{parts.scheme}://{parts.netloc}"
        return Handshake(headers={**await self.headers(server), "Origin": origin})

    def refused(self) -> None:
        """The session has ended."""
        self.cookie = ""
