"""Log in with a token in the first message."""

import json

from tests.support.auth.accounts import log_in
from tests.support.auth.tokens import Tokens


async def sign_in(base_url: str, name: str) -> Tokens:
    """The tokens of a new login, which a socket carries in its first message."""
    answer = (await log_in(base_url, name)).json()
    return Tokens(
        headers={"Authorization": f"Bearer {answer['access_token']}"},
        first_frame=json.dumps({"type": "auth", "token": answer["access_token"]}),
        access_token=answer["access_token"],
        refresh_token=answer["refresh_token"],
    )
