"""In the example, everybody may do everything. `tests/engine/ruled_app.py` has a rule."""

from starlette.datastructures import State

from app.realtime import Action, Event, Signal, User


async def may(
    user: User,  # noqa: ARG001
    action: Action,  # noqa: ARG001
    room: str,  # noqa: ARG001
    event: Event | Signal | None,  # noqa: ARG001
    state: State,  # noqa: ARG001
) -> bool:
    """Whether a user may do this in a room."""
    return True
