"""The application: `app` for a server, `create_app` for a test."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import PROJECT_NAME
from app.broker import create_backend
from app.limits import ConnectionLimits
from app.manager import ConnectionManager
from app.routes import include_routes
from app.settings import Settings, load_settings


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    backend = create_backend(settings.broker_url, settings.history_size, settings.history_seconds)
    manager = ConnectionManager(backend, settings)
    app.state.manager = manager
    app.state.connection_limits = ConnectionLimits(settings)
    # What exists by now stays: the collector need not look at it again and again.
    gc.freeze()
    async with manager.running():
        yield


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application. Without `settings`, they come from the environment."""
    app = FastAPI(title=PROJECT_NAME, lifespan=lifespan)
    app.state.settings = settings or load_settings()
    include_routes(app)
    return app


app = create_app()
