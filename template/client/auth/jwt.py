"""The handshake carries an access token in a header."""

from client.auth.tokens import Tokens
from client.credentials import Handshake


class Login(Tokens):
    """A user of this application."""

    async def handshake(self, server: str) -> Handshake:
        """An access token. Raises Unauthenticated and Unreachable."""
        token = await self.access_token(server)
        return Handshake(headers={"Authorization": f"Bearer {token}"})
