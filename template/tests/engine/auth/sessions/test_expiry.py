"""The server closes sockets when their session expires."""

import asyncio
import time
from pathlib import Path

from sqlalchemy import update

from app.auth.accounts.database import open_database
from app.auth.accounts.logins import Login
from tests.engine.auth.accounts.test_live_logins import closed, serves
from tests.engine.test_metrics import scrape_until
from tests.support.auth import sign_in
from tests.support.client import open_client
from tests.support.server import StartServer


async def test_sockets_are_closed_with_4401_when_their_session_expires(
    start_server: StartServer, tmp_path: Path
) -> None:
    database_url = f"sqlite+aiosqlite:///{tmp_path / 'app.db'}"
    server = await start_server(DATABASE_URL=database_url)
    ada = await sign_in(server.url, "ada")
    expires_at = int(time.time()) + 2
    async with open_database(database_url) as database, database.transaction() as session:
        await session.execute(update(Login).values(expires_at=expires_at))
    grace = await sign_in(server.url, "grace")
    async with (
        open_client(server.ws_url, ada) as rooms,
        open_client(server.ws_url, ada, "/ws/echo") as echo,
        open_client(server.ws_url, grace) as witness,
    ):
        for client in (rooms, echo):
            await client.expect("welcome")
        codes = await asyncio.gather(closed(rooms, patience=4), closed(echo, patience=4))
        assert set(codes) == {4401}
        assert -0.5 < time.time() - expires_at < 2
        await serves(witness)
    await scrape_until(server, **{"websocket_closed_total reason=unauthenticated": 2})
