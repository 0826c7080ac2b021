"""The FastAPI application that the engine is a part of."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from types import ModuleType
from typing import Any

from fastapi import FastAPI, Request, status
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from app.realtime import api, operations
from app.realtime.actions import Actions, May
from app.realtime.authentication import Authentication
from app.realtime.broker import BrokerUnavailable, create_backend
from app.realtime.contract import routes as contract
from app.realtime.contract.asyncapi import Server, asyncapi
from app.realtime.contract.messages import Messages
from app.realtime.endpoint import make_router
from app.realtime.events import Events
from app.realtime.handlers import Handlers
from app.realtime.limits import ConnectionLimits
from app.realtime.manager import ConnectionManager
from app.realtime.parser import ClientMessages
from app.realtime.server.cross_origin import CrossOrigin
from app.realtime.server.hand_over import HandOver
from app.realtime.server.head import HeadRequests
from app.realtime.server.headers import SecurityHeaders
from app.realtime.server.start import StartFailures
from app.realtime.settings import RealtimeSettings
from app.realtime.visit import Visits

MAX_BODY_BYTES = 65536
"""The largest request body. A route that accepts more says so: `max_body_size=…`."""

GC_THRESHOLD = (2_000, 500, 100)
"""Allocations before a garbage collection, and how many of one generation precede the next.

Two thousand objects are examined in half a millisecond. Fifty thousand took forty, which is
more for each. Older objects are seldom garbage.
"""

RETRY_AFTER = 5
"""Seconds that a client is asked to wait when the broker is unavailable."""

SOCKET_DOCS = "Messages on the WebSocket are described at [/asyncapi](asyncapi)."
"""The description in the OpenAPI document, unless the application has its own."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Application(FastAPI):
    """FastAPI with rooms at `/ws`.

    `app.state` has the `settings`, and while the application runs, the `publisher`.
    """

    def __init__(
        self,
        *,
        settings: RealtimeSettings,
        authentication: Authentication,
        events: ModuleType,
        handlers: ModuleType,
        may: May,
        lifespan: Lifespan | None = None,
        **options: Any,
    ) -> None:
        """Build the application.

        `events` and `handlers` are modules: every event and every handler in them counts.
        `lifespan` and the other options are those of FastAPI. Raises TypeError for events
        and handlers that contradict each other. With DOCS_OPEN false there is neither the
        OpenAPI document nor a page that shows it, whatever the options say, and neither the
        AsyncAPI document nor its page.
        """
        if not settings.docs_open:
            options["openapi_url"] = None
        options.setdefault("description", SOCKET_DOCS)
        super().__init__(
            lifespan=self._lifespan,
            debug=settings.debug,
            max_body_size=MAX_BODY_BYTES,
            **options,
        )
        self._own_lifespan = lifespan
        self._may = may
        self._handlers = Handlers.of(handlers)
        self.state.settings = settings
        self.state.authentication = authentication
        self.state.events = Events.of(events)
        self._messages = ClientMessages(
            self.state.events, list(self._handlers.calls), authentication.messages
        )
        self.add_exception_handler(BrokerUnavailable, answer_unavailable)
        # Routes are tried in this order, and most requests are handshakes.
        self.include_router(make_router(authentication))
        for router in (*authentication.routers, operations.router):
            self.include_router(router)
        if settings.api_keys:
            self.include_router(api.router)
        if settings.docs_open:
            self.include_router(contract.router)

    def messages(self) -> Messages:
        """What the application and its clients send each other. Raises TypeError."""
        return Messages.of(self.state.events, self._handlers.calls)

    def asyncapi(self, server: Server) -> dict[str, Any]:
        """The AsyncAPI document, for clients that reach the application at `server`."""
        authentication: Authentication = self.state.authentication
        return asyncapi(self.title, self.version, self.messages(), authentication, server)

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        settings: RealtimeSettings = self.state.settings
        backend = create_backend(
            settings.broker_url,
            settings.history_size,
            settings.history_seconds,
            settings.history_bytes,
        )
        manager = ConnectionManager(backend, settings)
        self.state.manager = manager
        self.state.publisher = manager.publisher
        self.state.connection_limits = ConnectionLimits(settings)
        actions = Actions(self, manager, self._handlers, self._may)
        self.state.visits = visits = Visits(self, manager, self._messages, actions)
        # A thousand sockets are many objects, none of which is garbage. To examine them at
        # Python's usual pace would take a quarter of each handshake, in long pauses.
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        own = self._own_lifespan(app) if self._own_lifespan is not None else nullcontext()
        async with manager.running(), own, visits.running():
            yield

    def build_middleware_stack(self) -> ASGIApp:
        settings: RealtimeSettings = self.state.settings
        # The innermost, so that the application's own middleware sees each request once.
        self.user_middleware.append(Middleware(HeadRequests))
        # Middleware inside of HandOver is gone once a socket is handed over.
        app = StartFailures(super().build_middleware_stack())
        served: ASGIApp = HandOver(app, settings.ping_timeout or None)
        if settings.allowed_origins:
            authentication: Authentication = self.state.authentication
            served = CrossOrigin(
                served,
                settings.allowed_origins,
                with_credentials=authentication.is_sent_by_browsers,
            )
        return SecurityHeaders(
            served,
            is_production=settings.environment == "production",
            has_docs=self.openapi_url is not None,
        )


async def answer_unavailable(_: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """HTTP 503, for a route that does not catch `BrokerUnavailable`."""
    return JSONResponse(
        {"detail": "The message could not be sent at the moment: try again."},
        status.HTTP_503_SERVICE_UNAVAILABLE,
        {"Retry-After": str(RETRY_AFTER)},
    )
