"""What a user may do in a room: the place for a rule of this application's own."""

from typing import Literal

from app.auth.identity import User

Action = Literal["join", "publish"]


async def may(user: User, action: Action, room: str) -> bool:  # noqa: ARG001
    """Whether a user may do this in a room. Asked for every join and every publish.

    Whoever gets False is answered `forbidden`, and nothing else happens. By default
    everybody may enter every room. A rule might look like this:

        owner, _, _ = room.partition(".")
        return action == "join" or owner == user.name

    Membership that was granted lasts until the user leaves. While the answer is awaited,
    the next messages of the same socket wait, so keep it quick.
    """
    return True
