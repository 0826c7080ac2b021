"""The socket's URL carries a ticket, which is good for one handshake."""

from client.auth.accounts.http import Refused, post
from client.auth.sessions import Session
from client.credentials import Handshake
from client.errors import Unauthenticated

UNAUTHENTICATED = 401


class Login(Session):
    """A user of this application."""

    async def handshake(self, server: str) -> Handshake:
        """A new ticket. Raises Unauthenticated and Unreachable."""
        for _ in range(2):
            try:
                answer = await post(server, "auth/ticket", headers=await self.headers(server))
            except Refused as refusal:
                if refusal.status != UNAUTHENTICATED:
                    raise Unauthenticated(refusal.status, str(refusal)) from None
                self.cookie = ""  # the session has ended
            else:
                return Handshake(query={"ticket": answer.json()["ticket"]})
        raise Unauthenticated(UNAUTHENTICATED, "The server gives this login no ticket.")

    def refused(self) -> None:
        """The next handshake asks for a new ticket anyway."""
