"""The server accepts every socket. The first message carries an access token."""

from client.auth.tokens import Tokens
from client.credentials import Handshake


class Login(Tokens):
    """A user of this application."""

    async def handshake(self, server: str) -> Handshake:
        """The first message. Raises Unauthenticated and Unreachable."""
        token = await self.access_token(server)
        return Handshake(first_frame={"type": "auth", "token": token})
