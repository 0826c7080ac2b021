"""Messages that a worker sends to itself through the stream."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from functools import partial

from nats.aio.msg import Msg

from app.realtime.broker.nats.channels import Channels, Heard
from app.realtime.broker.nats.link import Link
from app.realtime.broker.nats.names import Names
from app.realtime.broker.nats.requests import Refused, read_answer, reason_of
from app.realtime.broker.nats.stream import NO_RESPONDERS, NOT_FOUND, SECOND, Limits

logger = logging.getLogger(__name__)

CANARY_INTERVAL = 1.0
"""Seconds between the messages that a worker sends to itself through the stream."""

CANARY_DEADLINE = 5.0
"""Seconds without receiving one, after which the connection counts as dead."""

ANCHORS = 8
"""Channels that keep the stream from being empty, one after the other.

The first sequence of the stream tells since when everything is known of a channel. So there
should be an old message: one is stored in every quarter of the time that history lasts.
"""


class Canary:
    """Tells whether messages go through the stream, and confirms subscriptions.

    A canary is kept by the stream and republished, as a record is: a stream that is full or
    without a leader is noticed. It replaces the one before it.

    What the stream takes after a canary, its leader sends to every subscription that was made
    before that canary. So its answer confirms them.
    """

    def __init__(
        self,
        names: Names,
        limits: Limits,
        channels: Channels,
        restart: Callable[[str, str | None], None],
    ) -> None:
        """`restart` is called when the stream is not what it was, as `Channels` does."""
        self._names = names
        self._limits = limits
        self._channels = channels
        self._restart = restart
        self._channel = f"canary:{secrets.token_hex(8)}"
        self._link: Link | None = None
        self._sent_at: float | None = None
        """When one was sent that is not answered."""
        self._answered_at = 0.0
        self._heard_at: float | None = None
        self._heard = 0
        self._is_refused = False
        self._anchored: int | None = None
        self._confirming: dict[str, Heard] = {}
        self.newest = 0
        """The highest sequence that the stream has given on this connection."""
        self.received_until = 0
        """The sequence up to which everything was received and delivered."""

    @property
    def subject(self) -> str:
        """What to subscribe to."""
        return self._names.live(self._channel)

    @property
    def is_heard(self) -> bool:
        """Whether one was received on this connection."""
        return self._heard_at is not None

    @property
    def alive(self) -> bool:
        """Whether one was received lately, and the stream takes messages."""
        if self._link is None or self._heard_at is None or self._is_refused:
            return False
        return asyncio.get_running_loop().time() - self._heard_at < CANARY_DEADLINE

    async def sing(self, link: Link) -> None:
        """Send canaries until `stop` is called. Raises TimeoutError when they don't return."""
        clock = asyncio.get_running_loop().time
        due_at = self._answered_at = clock()
        self._link, self._sent_at, self._anchored = link, None, None
        self._heard = 0
        self._is_refused = False
        self._confirming = {}
        while self._link is link:
            now = clock()
            if now - self._answered_at > CANARY_DEADLINE:
                raise TimeoutError("NATS does not answer")
            self._channels.changed.clear()
            is_due = now >= due_at or self._channels.has_unconfirmed
            if is_due and (self._sent_at is None or now - self._sent_at > CANARY_INTERVAL):
                self._sent_at, due_at = now, now + CANARY_INTERVAL
                await self._send_anchor(link)
                await self._send(link)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_at):
                    await self._channels.changed.wait()

    def stop(self) -> None:
        """The connection has ended."""
        self._link = self._heard_at = None
        self.newest = self.received_until = 0
        self._channels.changed.set()

    async def _send_anchor(self, link: Link) -> None:
        """Store an anchor, if this worker has not seen to it. The stream takes one of each id."""
        quarter = self._limits.max_age / SECOND / 4
        number = int(time.time() / quarter)
        if number == self._anchored:
            return
        self._anchored = number
        headers = {"Nats-Msg-Id": f"anchor:{number}"}
        subject = self._names.record(f"anchor:{number % ANCHORS}")
        await link.requests.send(subject, b"", lambda _: None, headers)

    async def _send(self, link: Link) -> None:
        # Together with those of a canary that was not answered.
        subscribed = self._confirming = {**self._confirming, **self._channels.take_unconfirmed()}
        headers = {"Nats-Rollup": "sub"} if link.stream.takes_rollups else {}
        on_answer = partial(self._take, link, subscribed)
        await link.requests.send(self._names.record(self._channel), b"", on_answer, headers)

    def _take(self, link: Link, subscribed: dict[str, Heard], answer: Msg | Exception) -> None:
        """The stream has answered: what was subscribed before hears everything."""
        if link is not self._link or isinstance(answer, Exception):
            return
        self._sent_at = None
        try:
            self.newest = max(self.newest, int(read_answer(answer)["seq"]))
        except Refused as error:
            self._refuse(error)
            return
        except (ValueError, KeyError) as error:
            self._restart(f"NATS gave an answer that can't be read: {reason_of(error)}", None)
            return
        if self._is_refused:
            logger.info("NATS takes messages again")
        self._is_refused = False
        self._confirming = {
            channel: it for channel, it in self._confirming.items() if channel not in subscribed
        }
        self._channels.confirm(subscribed)
        self._channels.changed.set()

    def _refuse(self, error: Refused) -> None:
        """The stream does not take messages. The connection itself is fine, if it is there."""
        self._answered_at = asyncio.get_running_loop().time()
        if error.code in (NO_RESPONDERS, NOT_FOUND):
            self._restart(f"the stream is not there: {error}", None)
        elif not self._is_refused:
            logger.warning("NATS does not take messages: %s", error)
        self._is_refused = True

    async def hear(self, message: Msg) -> None:
        """Receive a canary, as the stream has republished it."""
        link = self._link
        if link is None:
            return
        generation, headers = message.subject.split(".")[2], message.headers or {}
        sequence = int(headers.get("Nats-Sequence", 0))
        if generation != link.stream.generation:
            self._restart("the stream has changed", None)
        elif sequence <= self._heard:
            self._restart("the stream has lost messages", generation)
        else:
            # What came after the one before may still wait to be delivered.
            self.received_until, self._heard = self._heard, sequence
            self._heard_at = self._answered_at = asyncio.get_running_loop().time()
            self._channels.changed.set()
