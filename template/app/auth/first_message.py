"""Every socket is accepted, and its first message carries the credential.

A client connects and sends `{"type": "auth", "token": …}` with an access token. No
credential is in a URL or a header, and a close code tells the client why it was refused.
Until then the connection is unauthenticated, and gets little: five seconds, one small
frame, and a place that it loses when there are too many.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Literal

from fastapi import (
    APIRouter,
    Depends,
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

from app.auth.accounts.logins import LoggedInUser, Logins, LoginStore
from app.auth.accounts.routes import make_router
from app.auth.accounts.settings import AccountSettings as AuthSettings
from app.auth.tokens import BadToken, BearerToken, Refresh, open_session, user_of
from app.auth.tokens import router as token_router
from app.realtime.authentication import Authentication, Security
from app.realtime.limits import network_of
from app.realtime.metrics import CLOSED
from app.realtime.protocol import CloseCode, Model
from app.realtime.server.handshake import accept

__all__ = ["AUTHENTICATION", "AuthSettings", "CurrentUser"]

DEADLINE = 5.0
"""Seconds in which the first message has to arrive."""

MAX_BYTES = 4096
"""The largest first message."""

MAX_UNAUTHENTICATED = 1000
"""On each worker. With one more, the one that has waited longest is closed."""

MAX_UNAUTHENTICATED_PER_ADDRESS = 100

UNAUTHENTICATED = Gauge(
    "websocket_unauthenticated",
    "Open sockets whose first message has not arrived",
    multiprocess_mode="livesum",
)

CLOSE_CODES = {
    status.HTTP_429_TOO_MANY_REQUESTS: CloseCode.TRY_AGAIN_LATER,
    status.HTTP_503_SERVICE_UNAVAILABLE: CloseCode.TRY_AGAIN_LATER,
}
"""What an HTTP status becomes when the socket is accepted already."""


class Auth(Model):
    """The first message, within five seconds: an access token. The answer is `welcome`.

    Without a valid token, the server closes the socket with 4401.
    """

    type: Literal["auth"]
    token: str


class UnauthenticatedSockets:
    """The sockets whose first message has not arrived."""

    def __init__(self) -> None:
        # By address, in the order of their arrival.
        self._waiting: defaultdict[str, dict[asyncio.Timeout, None]] = defaultdict(dict)
        self._count = 0

    @contextmanager
    def admit(self, address: str | None, place: asyncio.Timeout) -> Iterator[None]:
        """Count a socket during a block. `place` may be ended at any time.

        `address` is the client's address, or None for a Unix socket, which has no limit
        per address because all clients would share one.
        """
        network = network_of(address) if address else ""
        self._waiting[network][place] = None
        self._count += 1
        UNAUTHENTICATED.inc()
        try:
            if network and len(self._waiting[network]) > MAX_UNAUTHENTICATED_PER_ADDRESS:
                self._evict(network)
            elif self._count > MAX_UNAUTHENTICATED:
                self._evict(max(self._waiting, key=lambda known: len(self._waiting[known])))
            yield
        finally:
            self._forget(network, place)

    def _evict(self, network: str) -> None:
        place = next(iter(self._waiting[network]))
        self._forget(network, place)
        if not place.expired():  # it may have timed out at this very moment
            place.reschedule(asyncio.get_running_loop().time())

    def _forget(self, network: str, place: asyncio.Timeout) -> None:
        if place in self._waiting.get(network, ()):
            self._count -= 1
            UNAUTHENTICATED.dec()
            del self._waiting[network][place]
            if not self._waiting[network]:
                del self._waiting[network]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.unauthenticated_sockets = UnauthenticatedSockets()
    yield


router = APIRouter(lifespan=lifespan)
router.include_router(token_router)


async def authenticate(
    connection: HTTPConnection, logins: LoginStore, token: BearerToken
) -> AsyncIterator[LoggedInUser]:
    """The user to whom the access token was issued.

    A request carries it in `Authorization: Bearer`, and is refused with HTTP 401. A socket
    is accepted here, so a refusal closes it: with 4401 without a valid token, with 1009 if
    the first message is too big, with 1013 if there are too many like it, and with 1008
    for invalid parameters.
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
    """Accept a socket and find out whose it is. Raises WebSocketException."""
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
    sockets: UnauthenticatedSockets = websocket.app.state.unauthenticated_sockets
    await accept(websocket)
    deadline = asyncio.get_running_loop().time() + DEADLINE
    try:
        async with asyncio.timeout_at(deadline) as place:
            with sockets.admit(websocket.client and websocket.client.host, place):
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


SECURITY = Security(
    "accessToken",
    {
        "type": "apiKey",
        "in": "password",
        "description": "The access token from POST /auth/login, in the first message: `auth`.",
    },
    first_message=Auth,
)

AUTHENTICATION = Authentication(
    authenticate,
    routers=[make_router(authenticate, router)],
    messages=[Refresh],
    open_session=open_session,
    security=SECURITY,
)

CurrentUser = Annotated[LoggedInUser, Depends(authenticate)]
