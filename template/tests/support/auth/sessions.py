"""The cookie of a session."""

import httpx


def session_cookie(answer: httpx.Response) -> str:
    """The session cookie that a login set, as a browser sends it."""
    [(name, value)] = answer.cookies.items()
    return f"{name}={value}"
