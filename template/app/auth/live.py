"""Sockets that end with the login that opened them.

A login ends on one worker, by logging out or because its token was stolen, and its
sockets may be on any. So the worker deletes it from the database and tells the others
through the broker. Whoever could not hear that, or not be told, for the broker was away,
asks the database: at once when the broker is back, and else every half minute.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, NoReturn

from broadcaster import Broadcast
from fastapi import Depends, WebSocketException
from fastapi.requests import HTTPConnection

from app.auth.database import DatabaseUnavailable
from app.auth.logins import LoggedInUser, Logins
from app.broker import BrokerUnavailable, Resubscribed, Subscriber
from app.protocol import CloseCode

CHANNEL = "logins"
"""What is published here is the id of a login that has ended, or `ASK`."""

ASK = "?"
"""Has every worker ask the database."""

CHECK_SECONDS = 30.0
"""How often the database is asked which logins have ended."""

RETRY_SECONDS = 1.0
"""About how long it takes until the broker is tried again."""

HANDSHAKE_SECONDS = 60.0
"""How long at least a login that ended is kept in mind, for handshakes that began before."""

MAX_ID_LENGTH = 64
"""What is longer than this is no login."""

logger = logging.getLogger(__name__)

OnEnd = Callable[[str], None]
"""Called with the reason, in words."""


class Watch:
    """A socket that ends with its login, or when its credential expires."""

    __slots__ = ("_expiry", "_on_end", "_sockets", "user")

    def __init__(self, sockets: "LiveLogins", user: LoggedInUser, on_end: OnEnd) -> None:
        self._sockets = sockets
        self._on_end: OnEnd | None = on_end
        self._begin(user)

    def renew(self, user: LoggedInUser) -> None:
        """Go on with a fresh credential of the same user, unless the end came first."""
        if self._on_end is not None:
            self._pause()
            self._begin(user)

    def stop(self) -> None:
        """Watch no more."""
        self._on_end = None
        self._pause()

    def end(self, reason: str) -> None:
        """Tell the socket that it has to close; only the first time counts."""
        on_end = self._on_end
        self.stop()
        if on_end is not None:
            on_end(reason)

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
        """Hear what ends, for the length of the block."""
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
        """Have `on_end` called once, when the login ends or the credential expires."""
        return Watch(self, user, on_end)

    async def ended(self, user: LoggedInUser) -> NoReturn:
        """Wait until the login ends, then raise WebSocketException with code 4401.

        A task with this, beside those that serve a socket in a task group, ends them.
        """
        end = asyncio.Event()
        reasons: list[str] = []

        def on_end(reason: str) -> None:
            reasons.append(reason)
            end.set()

        watch = self.watch(user, on_end)
        try:
            await end.wait()
        finally:
            watch.stop()
        raise WebSocketException(CloseCode.UNAUTHENTICATED, reasons[0])

    async def end(self, login: str) -> None:
        """End a login, and close its sockets on every worker. What is none changes nothing."""
        if not await self._logins.delete(login):
            return
        self._close(login)
        try:
            await self._broadcast.publish(CHANNEL, login)
        except BrokerUnavailable:
            logger.warning("other workers learn later that a login has ended")
            self._others_must_ask.set()

    # --- What a watch does ----------------------------------------------------------

    def add(self, watch: Watch) -> None:
        login = watch.user.login
        self._watches.setdefault(login, set()).add(watch)
        if login in self._ended:  # between the look into the database and now
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
                logger.warning("skipped what is no login")

    async def _have_others_ask(self) -> None:
        """Make up for what could not be told: an outage of this worker may not be theirs."""
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


async def get_live_logins(connection: HTTPConnection) -> LiveLogins:
    live_logins: LiveLogins = connection.app.state.live_logins
    return live_logins


Live = Annotated[LiveLogins, Depends(get_live_logins)]
