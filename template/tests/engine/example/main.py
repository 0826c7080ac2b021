"""The example: `app` for a server, `create_app` for a test."""

from fastapi import FastAPI

from app import PROJECT_NAME
from app.auth import AUTHENTICATION
from app.client import include_client
from app.realtime import Application
from tests.engine.example import events, handlers
from tests.engine.example.permissions import may
from tests.engine.example.routes import ROUTERS
from tests.engine.example.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application. Without `settings`, they come from the environment."""
    app = Application(
        title=PROJECT_NAME,
        settings=settings or load_settings(),
        authentication=AUTHENTICATION,
        events=events,
        handlers=handlers,
        may=may,
    )
    for router in ROUTERS:
        app.include_router(router)
    include_client(app)
    return app


app = create_app()
