"""The application: `app` for a server, `create_app` for a test.

This file is yours.
"""

from fastapi import FastAPI

from app import PROJECT_NAME, events, handlers
from app.auth import AUTHENTICATION
from app.client import include_client
from app.permissions import may
from app.realtime import Application
from app.routes import ROUTERS
from app.settings import Settings, load_settings


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
