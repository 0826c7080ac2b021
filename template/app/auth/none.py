"""No accounts: every connection is a guest."""

import secrets
from typing import Annotated

from fastapi import Depends

from app.realtime import Authentication, User
from app.realtime import RealtimeSettings as AuthSettings

__all__ = ["AUTHENTICATION", "AuthSettings", "CurrentUser"]


async def authenticate() -> User:
    """A new guest, with an id and a name of its own."""
    user_id = secrets.token_hex(8)
    return User(id=user_id, name=f"guest-{user_id[:6]}")


AUTHENTICATION = Authentication(authenticate)

CurrentUser = Annotated[User, Depends(authenticate)]
