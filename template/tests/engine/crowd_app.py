"""The example where every socket is a user of its own: `python -m tests.engine.crowd_app`.

It is for tests that need hundreds of users, whatever the style of authentication.
"""

import runpy
import secrets

from app import auth
from app.realtime import Authentication, User


async def authenticate() -> User:
    """A new user."""
    user_id = secrets.token_hex(8)
    return User(id=user_id, name=f"user-{user_id[:6]}")


if __name__ == "__main__":
    auth.AUTHENTICATION = Authentication(authenticate)
    runpy.run_module("tests.engine.example", run_name="__main__")
