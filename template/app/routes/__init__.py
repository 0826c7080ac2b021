"""The routes of this application. This file is yours.

Write each router in a module of its own, and list it here.
"""

from app.routes import echo

ROUTERS = (echo.router,)
