"""Sockets that end with the login that opened them.

A login ends on one worker, by logging out or because its token was stolen, but its sockets
can be on any. So the worker deletes the login from the database and tells the others
through the broker. Workers that may have missed this, because the broker was away, ask the
database: as soon as the broker is back, and every half minute.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from broadcaster import Broadcast
from fastapi import Depends, FastAPI
from fastapi.requests import HTTPConnection

from app.auth.accounts.database import DatabaseUnavailable
from app.auth.accounts.logins import LoggedInUser, Logins
from app.realtime.authentication import OnEnd, Session
from app.realtime.broker import BrokerUnavailable, Resubscribed, Subscriber
from app.realtime.identity import User
from app.realtime.protocol import Model

CHANNEL = "logins"
"""Messages here are the id of a login that has ended, or `ASK`."""

ASK = "?"
"""Makes every worker ask the database."""

CHECK_SECONDS = 30.0
"""Seconds between two looks into the database for logins that have ended."""

RETRY_SECONDS = 1.0
"""About how long a worker waits before it tries the broker again."""

HANDSHAKE_SECONDS = 60.0
"""How long at least an ended login is remembered, for handshakes that began before."""

MAX_ID_LENGTH = 64
"""Longer messages are not the id of a login."""

logger = logging.getLogger(__name__)


class Watch:
    """Watches the login of one socket, and when its credential expires."""

    __slots__ = ("_expiry", "_on_end", "_sockets", "user")

    def __init__(self, sockets: "LiveLogins", user: LoggedInUser, on_end: OnEnd) -> None:
        self._sockets = sockets
        self._on_end: OnEnd | None = on_end
        self._begin(user)

    def renew(self, user: LoggedInUser) -> None:
        """Continue with a fresh credential of the same user, unless the login has ended."""
        if self._on_end is not None:
            self._pause()
            self._begin(user)

    def stop(self) -> None:
        """Stop watching: the socket is closed."""
        self._on_end = None
        self._pause()

    def end(self, reason: str) -> None:
        """Tell the socket that it has to close. Only the first call counts."""
        on_end = self._on_end
        self.stop()
        if on_end is not None:
            on_end(reason)

    async def receive(self, message: Model) -> None:
        """There are no messages of its own."""

    def _begin(self, user: LoggedInUser) -> None:
        self.user = user
        seconds = max(0, user.expires_at - time.time())
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(seconds, self.end, "the credential has expired")
        self._sockets.add(self)

    def _pause(self) -> None:
        self._expiry.cancel()
        self._sockets.discard(self)


class LiveLogins:
    """The sockets of this worker, by the login that opened them."""

    def __init__(self, logins: Logins, broadcast: Broadcast) -> None:
        self._logins = logins
        self._broadcast = broadcast
        self._watches: dict[str, set[Watch]] = {}
        self._ended: dict[str, float] = {}  # and when, by the monotonic clock
        self._check_now = asyncio.Event()
        self._others_must_ask = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Receive which logins end, during the block."""
        async with self._broadcast.subscribe(CHANNEL) as subscriber, asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._listen(subscriber)),
                tasks.create_task(self._check()),
                tasks.create_task(self._have_others_ask()),
            ]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()

    def watch(self, user: LoggedInUser, on_end: OnEnd) -> Watch:
        """Call `on_end` once, when the login ends or the credential expires."""
        return Watch(self, user, on_end)

    async def end(self, login: str) -> None:
        """End a login, and close its sockets on every worker. An unknown id changes nothing."""
        if not await self._logins.delete(login):
            return
        self._close(login)
        try:
            await self._broadcast.publish(CHANNEL, login)
        except BrokerUnavailable:
            logger.warning("other workers will learn later that a login has ended")
            self._others_must_ask.set()

    # --- What a watch does ----------------------------------------------------------

    def add(self, watch: Watch) -> None:
        login = watch.user.login
        self._watches.setdefault(login, set()).add(watch)
        if login in self._ended:  # since the handshake looked into the database
            asyncio.get_running_loop().call_soon(self._close, login)

    def discard(self, watch: Watch) -> None:
        login = watch.user.login
        watches = self._watches.get(login, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(login, None)

    # --- What ends ------------------------------------------------------------------

    def _close(self, login: str) -> None:
        self._ended[login] = time.monotonic()
        for watch in list(self._watches.get(login, ())):
            watch.end("the login has ended")

    async def _listen(self, subscriber: Subscriber) -> None:
        while True:
            event = await subscriber.get()
            if isinstance(event, Resubscribed) or event.message == ASK:
                self._check_now.set()
            elif len(event.message) <= MAX_ID_LENGTH:
                self._close(event.message)
            else:
                logger.warning("skipped a malformed message about logins")

    async def _have_others_ask(self) -> None:
        """Make up for a message that could not be sent: others may not have had an outage."""
        while True:
            await self._others_must_ask.wait()
            self._others_must_ask.clear()
            try:
                await self._broadcast.publish(CHANNEL, ASK)
            except BrokerUnavailable:
                self._others_must_ask.set()
                await asyncio.sleep(random.uniform(0.5, 1.5) * RETRY_SECONDS)  # noqa: S311

    async def _check(self) -> None:
        while True:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._check_now.wait()
            except TimeoutError:
                pass
            self._check_now.clear()
            long_ago = time.monotonic() - HANDSHAKE_SECONDS
            self._ended = {login: at for login, at in self._ended.items() if at > long_ago}
            try:
                await self._close_what_ended()
            except DatabaseUnavailable:
                logger.warning("could not ask the database which logins have ended")
            except Exception:
                logger.exception("could not ask the database which logins have ended")

    async def _close_what_ended(self) -> None:
        watched = list(self._watches)
        remaining = await self._logins.remaining(watched)
        for login in watched:
            if login not in remaining:
                self._close(login)


def open_session(app: FastAPI, user: User, on_end: OnEnd) -> Session:
    """Watch the login of a socket: `Authentication.open_session`."""
    live: LiveLogins = app.state.live_logins
    assert isinstance(user, LoggedInUser)  # noqa: S101 - styles with accounts know no others
    return live.watch(user, on_end)


async def get_live_logins(connection: HTTPConnection) -> LiveLogins:
    live_logins: LiveLogins = connection.app.state.live_logins
    return live_logins


Live = Annotated[LiveLogins, Depends(get_live_logins)]
