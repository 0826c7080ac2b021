"""The routes of the example."""

from tests.engine.example.routes import echo

ROUTERS = (echo.router,)
