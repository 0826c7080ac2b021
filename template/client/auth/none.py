"""Everybody is a guest. The server chooses the name."""

from client.credentials import Handshake, Send


class Guest:
    """Presents nothing. Each connection is another guest."""

    async def handshake(self, server: str) -> Handshake:  # noqa: ARG002
        return Handshake()

    def refused(self) -> None:
        """There is nothing to renew."""

    async def while_open(self, server: str, send: Send) -> None:
        """There is nothing to do."""
