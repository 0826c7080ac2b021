"""`/ws`: rooms, events and calls, any number of them on one socket."""

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, FastAPI, WebSocket, status
from starlette.datastructures import State
from starlette.types import Receive, Send

from app.realtime.authentication import Authentication
from app.realtime.broker import BrokerUnavailable
from app.realtime.connection import Connection
from app.realtime.events import Event, Signal
from app.realtime.handlers import Call, Handlers, Pending, Refused
from app.realtime.identity import OWN_ROOM, User
from app.realtime.limits import Admission, ConnectionLimits
from app.realtime.manager import ConnectionManager
from app.realtime.metrics import HANDLER_FAILURES
from app.realtime.origin import check_origin
from app.realtime.parser import ClientMessage, ClientMessages
from app.realtime.protocol import (
    CloseCode,
    Error,
    ErrorCode,
    GetHistory,
    Join,
    Leave,
    MakeCall,
    Member,
    Ping,
    Pong,
    Publish,
    Result,
    SendSignal,
    Welcome,
)
from app.realtime.publisher import Publisher
from app.realtime.server.hand_over import hand_over
from app.realtime.server.handshake import accept
from app.realtime.server.writer import prebuilt_writer
from app.realtime.settings import RealtimeSettings

logger = logging.getLogger(__name__)

Action = Literal["join", "publish", "signal"]

May = Callable[[User, Action, str, Event | Signal | None, State], Awaitable[bool]]
"""Whether a user may do this in a room. Called with the event to be sent, and `app.state`."""

Answer = TypeVar("Answer")


def make_router(authentication: Authentication) -> APIRouter:
    """The route, for one style of authentication."""
    router = APIRouter(dependencies=[Depends(check_origin)])

    @router.websocket("/ws")
    async def realtime(
        websocket: WebSocket, user: Annotated[User, Depends(authentication.authenticate)]
    ) -> None:
        # Not as dependencies: resolving each takes time, and most requests are handshakes.
        app: FastAPI = websocket.app
        endpoint: Endpoint = app.state.endpoint
        limits: ConnectionLimits = app.state.connection_limits
        with limits.admit(websocket.client and websocket.client.host, user.id) as admission:
            await accept(websocket)
            connection = Connection(user, endpoint.settings, prebuilt_writer(websocket))
            admission.outlive_block()
        hand_over(websocket, Visit(endpoint, connection, admission).serve)

    return router


class Endpoint:
    """What all sockets of `/ws` have in common in one application."""

    def __init__(
        self,
        app: FastAPI,
        manager: ConnectionManager,
        messages: ClientMessages,
        handlers: Handlers,
        may: May,
    ) -> None:
        self.app = app
        self.manager = manager
        self.messages = messages
        self.handlers = handlers
        self.may = may
        self.settings: RealtimeSettings = app.state.settings
        self.authentication: Authentication = app.state.authentication


class Visit:
    """One socket of `/ws`, from its acceptance to its end."""

    __slots__ = ("_admission", "_connection", "_endpoint", "_session")

    def __init__(self, endpoint: Endpoint, connection: Connection, admission: Admission) -> None:
        self._endpoint = endpoint
        self._connection = connection
        self._admission = admission
        open_session = endpoint.authentication.open_session
        self._session = (
            open_session(endpoint.app, connection.user, self._end_login)
            if open_session is not None
            else None
        )
        endpoint.manager.sockets.add(connection)

    async def serve(self, receive: Receive, send: Send) -> None:
        connection, endpoint = self._connection, self._endpoint
        user = Member.of(connection.user)
        heartbeat = endpoint.settings.ping_interval
        connection.send(Welcome(connection=connection.id, user=user, heartbeat=heartbeat))
        try:
            await connection.serve(receive, send, endpoint.messages, self._handle)
        finally:
            if self._session is not None:
                self._session.stop()
            endpoint.manager.sockets.discard(connection)
            self._admission.release()
            await endpoint.manager.disconnect(connection)
        await connection.send_close()

    def _end_login(self, reason: str) -> None:
        self._connection.close(CloseCode.UNAUTHENTICATED, reason)

    async def _handle(self, message: ClientMessage) -> None:
        try:
            await self._carry_out(message)
        except Rejected as rejected:
            room = getattr(message, "room", None)
            ref = getattr(message, "id", None)
            error = Error(code=rejected.code, detail=rejected.detail, room=room, ref=ref)
            self._connection.send(error)

    async def _carry_out(self, message: ClientMessage) -> None:
        """Raises Rejected."""
        connection, manager = self._connection, self._endpoint.manager
        match message:
            case Publish():
                await self._check("publish", message.room, message.data)
                await self._run_before(message)
                await manager.publish(connection, message)
            case SendSignal():
                await self._check("signal", message.room, message.data)
                manager.signal(connection, message)
            case Join():
                if message.room != OWN_ROOM:
                    await self._check("join", message.room, None)
                await manager.join(connection, message)
            case Leave():
                await manager.leave(connection, message.room)
            case MakeCall():
                await self._call(message)
            case GetHistory():
                await manager.history(connection, message)
            case Ping():
                connection.send(Pong())
            case _ if self._session is not None:
                error = await self._session.receive(message)
                if error is not None:
                    connection.send(error)

    # --- The application's rule and handlers ----------------------------------------

    async def _check(self, action: Action, room: str, event: Event | Signal | None) -> None:
        """Raises Rejected if the user may not do this."""
        if room == OWN_ROOM:
            raise Rejected("forbidden", "only the application publishes here")
        endpoint = self._endpoint
        may = endpoint.may(self._connection.user, action, room, event, endpoint.app.state)
        if not await self._run(may, f"may {action}"):
            raise Rejected("forbidden", f"you may not {action} here")

    async def _run_before(self, message: Publish) -> None:
        """Run the handler that comes before a publication, if there is one. Raises Rejected."""
        handler = self._endpoint.handlers.before.get(type(message.data))
        if handler is None or message.room not in self._connection.rooms:
            return  # outside the room, the answer is `not_joined`
        pending = Pending(*self._context(message.id), message.room)
        await self._run(handler(message.data, pending), f"before {message.event}")

    async def _call(self, message: MakeCall) -> None:
        """Run the handler of a call, and send its result. Raises Rejected."""
        handler = self._endpoint.handlers.calls[type(message.data)]
        call = Call(*self._context(message.id))
        result = await self._run(handler(message.data, call), f"call {message.event}")
        name = result.__event__ if result is not None else None
        self._connection.send(Result(id=message.id, event=name, data=result))

    def _context(self, id: str) -> tuple[str, User, Connection, Publisher, State]:  # noqa: A002
        """The fields of a `Request`."""
        endpoint, connection = self._endpoint, self._connection
        publisher = endpoint.manager.publisher
        return id, connection.user, connection, publisher, endpoint.app.state

    async def _run(self, work: Awaitable[Answer], name: str) -> Answer:
        """Await code of the application. Raises Rejected, whatever goes wrong there."""
        try:
            return await self._connection.run_handler(work)
        except Refused as refusal:
            raise Rejected("refused", str(refusal)) from None
        except BrokerUnavailable:
            detail = "the application could not publish at the moment: try again"
            raise Rejected("unavailable", detail) from None
        except Exception as error:
            if getattr(error, "status_code", None) == status.HTTP_503_SERVICE_UNAVAILABLE:
                raise Rejected("unavailable", str(getattr(error, "detail", error))) from None
            HANDLER_FAILURES.inc()
            extra = {**self._connection.log_fields, "handler": name}
            logger.exception("the application failed", extra=extra)
            raise Rejected("internal", "something went wrong in the server") from None


class Rejected(Exception):
    """A message is not carried out, and its sender gets an `error`."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code: ErrorCode = code
        self.detail = detail
