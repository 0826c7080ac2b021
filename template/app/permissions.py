"""Who may do what in a room. This file is yours."""

from starlette.datastructures import State

from app.realtime import Action, Event, Signal, User


async def may(
    user: User,  # noqa: ARG001
    action: Action,  # noqa: ARG001
    room: str,  # noqa: ARG001
    event: Event | Signal | None,  # noqa: ARG001
    state: State,  # noqa: ARG001
) -> bool:
    """Whether a user may do this in a room. Called for every join, publish and signal.

    If it returns False, the client gets `error` `forbidden`, and nothing else happens.
    `action` is "join", "publish" or "signal"; `event` is what a client wants to send, and
    None for a join; `state` is `app.state`. By default, everybody may do everything. A
    rule could be:

        owner, _, _ = room.partition(".")
        return action == "join" or owner == user.id

    A user who was allowed to join stays until they leave, or until `Publisher.evict`.
    While the rule runs, further messages of the same socket wait, so keep it fast.
    """
    return True
