"""The application: `app` for a server, `create_app` for a test."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

from app import PROJECT_NAME
from app.broker import create_backend
from app.hand_over import HandOver
from app.limits import ConnectionLimits
from app.manager import ConnectionManager
from app.routes import include_routes
from app.security_headers import SecurityHeaders
from app.settings import Settings, load_settings
from app.start import StartFailures

MAX_BODY_BYTES = 65536
"""The largest body of a request. A route that takes more says so: `max_body_size=…`."""

GC_THRESHOLD = (2_000, 500, 100)
"""Allocations before a collection, and how many of one generation go before the next.

Two thousand objects are looked through in half a millisecond; fifty thousand took forty,
which is more for each. What is older is seldom garbage.
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    backend = create_backend(settings.broker_url, settings.history_size, settings.history_seconds)
    manager = ConnectionManager(backend, settings)
    app.state.manager = manager
    app.state.connection_limits = ConnectionLimits(settings)
    # A thousand sockets are many objects, none of which is garbage. Looking through them
    # at Python's usual pace would take a quarter of each handshake, in long pauses.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    async with manager.running():
        yield


class Application(FastAPI):
    """FastAPI, and what goes around all middleware."""

    def build_middleware_stack(self) -> ASGIApp:
        settings: Settings = self.state.settings
        # What is inside of HandOver is gone once a socket is handed over.
        app = HandOver(StartFailures(super().build_middleware_stack()))
        return SecurityHeaders(app, is_production=settings.environment == "production")


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application. Without `settings`, they come from the environment."""
    settings = settings or load_settings()
    app = Application(
        title=PROJECT_NAME, lifespan=lifespan, debug=settings.debug, max_body_size=MAX_BODY_BYTES
    )
    app.state.settings = settings
    include_routes(app)
    return app


app = create_app()
