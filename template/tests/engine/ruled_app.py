"""The example with a rule of its own: `python -m tests.engine.ruled_app`.

An owner writes the rule into `app/permissions.py`. Here the example's is replaced before it
imports it.
"""

import asyncio
import logging
import runpy

from starlette.datastructures import State

from app.realtime import Action, Event, Signal, User
from tests.engine.example import permissions

logger = logging.getLogger("app.rule")


async def may(
    user: User, action: Action, room: str, event: Event | Signal | None, state: State
) -> bool:
    logger.info("asked", extra={"action": action, "room": room, "event": repr(event)})
    assert state.settings is not None
    kind, _, owner = room.partition(".")
    if kind == "broken":
        raise LookupError(f"the rule fails for {action}")
    if kind == "endless":
        await asyncio.Event().wait()
    if kind == "private":
        return owner == user.id
    if kind == "polite":
        return "damn" not in getattr(event, "text", "")
    return action == "join" or kind != "board" or owner == user.id


if __name__ == "__main__":
    permissions.may = may
    runpy.run_module("tests.engine.example", run_name="__main__")
