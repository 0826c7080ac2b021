"""Sockets open for everybody, and the first message says who it is.

A client connects, sends `{"type": "auth", "token": …}` with an access token, and is
served from then on. No credential is in a URL or a header, and the client learns from a
close code why it was refused. Until then it is a stranger, and strangers get little:
five seconds, one small frame, and a place that has to be left when others want it.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

from fastapi import (
    APIRouter,
    FastAPI,
    HTTPException,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
    status,
)
from fastapi.exceptions import WebSocketRequestValidationError
from fastapi.requests import HTTPConnection
from prometheus_client import Gauge
from pydantic import ValidationError

from app.auth.logins import LoggedInUser, Logins, LoginStore
from app.auth.tokens import BadToken, BearerToken, user_of
from app.auth.tokens import router as token_router
from app.handshake import accept
from app.limits import network_of
from app.metrics import CLOSED
from app.protocol import CloseCode, Model

DEADLINE = 5.0
"""Seconds within which the first message has to come."""

MAX_BYTES = 4096
"""The largest first message."""

MAX_STRANGERS = 1000
"""On each worker. One more, and the longest waiting has to leave."""

MAX_STRANGERS_PER_ADDRESS = 100

STRANGERS = Gauge(
    "websocket_strangers",
    "Open sockets whose first message has not come",
    multiprocess_mode="livesum",
)

CLOSE_CODES = {
    status.HTTP_429_TOO_MANY_REQUESTS: CloseCode.TRY_AGAIN_LATER,
    status.HTTP_503_SERVICE_UNAVAILABLE: CloseCode.TRY_AGAIN_LATER,
}
"""What a refusal is once the socket is accepted."""


class Auth(Model):
    """The first message."""

    type: Literal["auth"]
    token: str


class Strangers:
    """The sockets whose first message has not come."""

    def __init__(self) -> None:
        # By address, and in the order in which they came.
        self._waiting: defaultdict[str, dict[asyncio.Timeout, None]] = defaultdict(dict)
        self._count = 0

    @contextmanager
    def admit(self, address: str | None, place: asyncio.Timeout) -> Iterator[None]:
        """Count a socket for the length of a block; `place` may run out at any time.

        `address` is where the client connects from, or None for a Unix socket, all of
        whose clients would share one.
        """
        network = network_of(address) if address else ""
        self._waiting[network][place] = None
        self._count += 1
        STRANGERS.inc()
        try:
            if network and len(self._waiting[network]) > MAX_STRANGERS_PER_ADDRESS:
                self._evict(network)
            elif self._count > MAX_STRANGERS:
                self._evict(max(self._waiting, key=lambda known: len(self._waiting[known])))
            yield
        finally:
            self._forget(network, place)

    def _evict(self, network: str) -> None:
        place = next(iter(self._waiting[network]))
        self._forget(network, place)
        if not place.expired():  # else its time was up at this very moment
            place.reschedule(asyncio.get_running_loop().time())

    def _forget(self, network: str, place: asyncio.Timeout) -> None:
        if place in self._waiting.get(network, ()):
            self._count -= 1
            STRANGERS.dec()
            del self._waiting[network][place]
            if not self._waiting[network]:
                del self._waiting[network]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.strangers = Strangers()
    yield


router = APIRouter(lifespan=lifespan)
router.include_router(token_router)


async def authenticate(
    connection: HTTPConnection, logins: LoginStore, token: BearerToken
) -> AsyncIterator[LoggedInUser]:
    """Whom the access token was issued to.

    A request has it in `Authorization: Bearer`, and is refused with HTTP 401. A socket
    is accepted here, and whatever refuses it closes it: with 4401 for want of a good
    token, with 1009 for a first message that is too big, with 1013 when there are too
    many like it, and with 1008 for bad options.
    """
    if not isinstance(connection, WebSocket):
        yield await user_of(token, connection.app.state.settings, logins)
        return
    try:
        yield await introduced(connection, logins)
    except HTTPException as refusal:
        code = CLOSE_CODES.get(refusal.status_code, CloseCode.FORBIDDEN)
        raise WebSocketException(code, refusal.detail) from None
    except WebSocketRequestValidationError:
        reason = "a parameter of the address is not valid"
        raise WebSocketException(CloseCode.POLICY_VIOLATION, reason) from None


async def introduced(websocket: WebSocket, logins: Logins) -> LoggedInUser:
    """Accept a socket and hear who it is. Raises WebSocketException."""
    try:
        token = await first_message(websocket)
        return await user_of(token, websocket.app.state.settings, logins)
    except BadToken as refusal:
        error = WebSocketException(CloseCode.UNAUTHENTICATED, refusal.detail)
    except WebSocketException as refusal:
        error = refusal
    CLOSED.labels("unauthenticated").inc()
    raise error


async def first_message(websocket: WebSocket) -> str:
    """Accept a socket and wait for its token. Raises WebSocketException."""
    strangers: Strangers = websocket.app.state.strangers
    await accept(websocket)
    deadline = asyncio.get_running_loop().time() + DEADLINE
    try:
        async with asyncio.timeout_at(deadline) as place:
            with strangers.admit(websocket.client and websocket.client.host, place):
                frame = await websocket.receive()
    except TimeoutError:
        if place.when() != deadline:
            raise WebSocketException(
                CloseCode.TRY_AGAIN_LATER, "too many sockets wait to authenticate"
            ) from None
        raise WebSocketException(CloseCode.UNAUTHENTICATED, "no auth message in time") from None
    if frame["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(frame["code"])
    text = frame.get("text") or ""
    if len(text.encode()) > MAX_BYTES:
        raise WebSocketException(CloseCode.MESSAGE_TOO_BIG, "the first message is too big")
    try:
        return Auth.model_validate_json(text).token
    except ValidationError:
        raise WebSocketException(
            CloseCode.UNAUTHENTICATED, "the first message must be auth, with a token"
        ) from None
