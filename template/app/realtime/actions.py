"""What happens for each message of a client, and what the application has to say to it."""

import logging
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from fastapi import FastAPI, status
from starlette.datastructures import State

from app.realtime.authentication import Session
from app.realtime.broker import BrokerUnavailable
from app.realtime.connection import Connection
from app.realtime.events import Event, Signal
from app.realtime.frames import frame
from app.realtime.handlers import Call, Handlers, Pending, Refused
from app.realtime.identity import OWN_ROOM, User
from app.realtime.manager import ConnectionManager
from app.realtime.metrics import HANDLER_FAILURES
from app.realtime.parser import ClientMessage
from app.realtime.payloads import result_json
from app.realtime.protocol import (
    Error,
    ErrorCode,
    GetHistory,
    Join,
    Leave,
    MakeCall,
    Ping,
    Pong,
    Publish,
    SendSignal,
)
from app.realtime.publisher import Publisher

logger = logging.getLogger(__name__)

Action = Literal["join", "publish", "signal"]

May = Callable[[User, Action, str, Event | Signal | None, State], Awaitable[bool]]
"""Whether a user may do this in a room. Called with the event to be sent, and `app.state`."""

Answer = TypeVar("Answer")


class Actions:
    """Carries out the messages of all clients of one application."""

    def __init__(
        self, app: FastAPI, manager: ConnectionManager, handlers: Handlers, may: May
    ) -> None:
        self._app = app
        self._manager = manager
        self._handlers = handlers
        self._may = may

    async def carry_out(
        self, message: ClientMessage, connection: Connection, session: Session | None
    ) -> None:
        """Carry out a message. Tells the client if it was rejected."""
        try:
            await self._carry_out(message, connection, session)
        except Rejected as rejected:
            room = getattr(message, "room", None)
            ref = getattr(message, "id", None)
            error = Error(code=rejected.code, detail=rejected.detail, room=room, ref=ref)
            connection.send(error)

    async def _carry_out(
        self, message: ClientMessage, connection: Connection, session: Session | None
    ) -> None:
        """Raises Rejected."""
        manager = self._manager
        match message:
            case Publish():
                await self._check(connection, "publish", message.room, message.data)
                await self._run_before(connection, message)
                await manager.publish(connection, message)
            case SendSignal():
                await self._check(connection, "signal", message.room, message.data)
                manager.signal(connection, message)
            case Join():
                if message.room != OWN_ROOM:
                    await self._check(connection, "join", message.room, None)
                await manager.join(connection, message)
            case Leave():
                await manager.leave(connection, message.room)
            case MakeCall():
                await self._call(connection, message)
            case GetHistory():
                await manager.history(connection, message)
            case Ping():
                connection.send(Pong())
            case _ if session is not None:
                error = await session.receive(message)
                if error is not None:
                    connection.send(error)

    # --- The application's rule and handlers ----------------------------------------

    async def _check(
        self, connection: Connection, action: Action, room: str, event: Event | Signal | None
    ) -> None:
        """Raises Rejected if the user may not do this."""
        if room == OWN_ROOM:
            raise Rejected("forbidden", "only the application publishes here")
        may = self._may(connection.user, action, room, event, self._app.state)
        if not await self._run(connection, may, f"may {action}"):
            raise Rejected("forbidden", f"you may not {action} here")

    async def _run_before(self, connection: Connection, message: Publish) -> None:
        """Run the handler that comes before a publication, if there is one. Raises Rejected."""
        handler = self._handlers.before.get(type(message.data))
        if handler is None or message.room not in connection.rooms:
            return  # outside the room, the answer is `not_joined`
        pending = Pending(*self._context(connection, message.id), message.room)
        await self._run(connection, handler(message.data, pending), f"before {message.event}")

    async def _call(self, connection: Connection, message: MakeCall) -> None:
        """Run the handler of a call, and send its result. Raises Rejected."""
        handler = self._handlers.calls[type(message.data)]
        call = Call(*self._context(connection, message.id))
        result = await self._run(connection, handler(message.data, call), f"call {message.event}")
        connection.send_frames(frame(result_json(message.id, result)))

    def _context(
        self,
        connection: Connection,
        id: str,  # noqa: A002
    ) -> tuple[str, User, Connection, Publisher, State]:
        """The fields of a `Request`."""
        return id, connection.user, connection, self._manager.publisher, self._app.state

    async def _run(self, connection: Connection, work: Awaitable[Answer], name: str) -> Answer:
        """Await code of the application. Raises Rejected, whatever goes wrong there."""
        try:
            return await connection.run_handler(work)
        except Refused as refusal:
            raise Rejected("refused", str(refusal)) from None
        except BrokerUnavailable:
            detail = "the application could not publish at the moment: try again"
            raise Rejected("unavailable", detail) from None
        except Exception as error:
            if getattr(error, "status_code", None) == status.HTTP_503_SERVICE_UNAVAILABLE:
                raise Rejected("unavailable", str(getattr(error, "detail", error))) from None
            HANDLER_FAILURES.inc()
            extra = {**connection.log_fields, "handler": name}
            logger.exception("the application failed", extra=extra)
            raise Rejected("internal", "something went wrong in the server") from None


class Rejected(Exception):
    """A message is not carried out, and its sender gets an `error`."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code: ErrorCode = code
        self.detail = detail
