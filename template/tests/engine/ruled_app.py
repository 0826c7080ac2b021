"""The application with a rule of its own: `python -m tests.engine.ruled_app`.

A project writes its rule into `app/permissions.py`. Here it is put in its place before
the application is imported.
"""

import asyncio
import logging
import runpy

from app import permissions
from app.realtime.identity import User

logger = logging.getLogger("app.rule")


async def may(user: User, action: permissions.Action, room: str) -> bool:
    logger.info("asked", extra={"action": action, "room": room})
    kind, _, owner = room.partition(".")
    if kind == "broken":
        raise LookupError(f"the rule fails for {action}")
    if kind == "endless":
        await asyncio.Event().wait()
    if kind == "private":
        return owner == user.name
    return action == "join" or kind != "board" or owner == user.name


if __name__ == "__main__":
    permissions.may = may
    runpy.run_module("app", run_name="__main__")
