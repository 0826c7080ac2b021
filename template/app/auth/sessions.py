"""Log in with a form, stay logged in with a session cookie.

The cookie holds the login's token, signed, so that a made-up one never reaches the
database. Logging out ends the login, also for copies of the cookie.
"""

import hashlib
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Response, status
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyCookie
from itsdangerous import BadSignature, Signer
from pydantic import BaseModel

from app.auth.accounts.live import Live, LiveLogins
from app.auth.accounts.logins import LoggedInUser, Logins, LoginStore, id_of
from app.auth.accounts.settings import AccountSettings
from app.auth.accounts.throttle import REFUSALS, LoggedIn
from app.realtime.identity import Unauthenticated

COOKIE = "session"

SECURE_COOKIE = f"__Host-{COOKIE}"
"""Its name in production. Of that name, browsers take no cookie from another subdomain.

Nor do they take one that was set without TLS (RFC 6265bis, section 4.1.3.2).
"""

SESSION_SECONDS = 14 * 24 * 3600

router = APIRouter()

CookieScheme = Annotated[
    str | None,
    Depends(
        APIKeyCookie(
            name=COOKIE, description=f"In production, it is {SECURE_COOKIE}.", auto_error=False
        )
    ),
]


async def session_cookie(connection: HTTPConnection, _: CookieScheme) -> str | None:
    """The cookie that came with a request or a handshake."""
    return connection.cookies.get(cookie_name(connection.app.state.settings))


SessionCookie = Annotated[str | None, Depends(session_cookie)]


class LoginAnswer(BaseModel):
    id: str
    username: str


async def session_user(
    connection: HTTPConnection, logins: LoginStore, cookie: SessionCookie
) -> LoggedInUser:
    """The user whose session the cookie belongs to. Raises Unauthenticated."""
    if cookie is None:
        raise Unauthenticated("Log in first.")
    token = token_in(cookie, connection.app.state.settings)
    if token is None:
        raise Unauthenticated("This session is not valid: log in again.")
    user = await logins.find(token)
    if user is None:
        raise Unauthenticated("This session has ended: log in again.")
    return user


SessionUser = Annotated[LoggedInUser, Depends(session_user)]


@router.post("/login", responses=REFUSALS)
async def login(
    connection: HTTPConnection,
    response: Response,
    afterwards: BackgroundTasks,
    *,
    logins: LoginStore,
    live: Live,
    cookie: SessionCookie,
    account: LoggedIn,
) -> LoginAnswer:
    """Start a session of 14 days, and set its cookie.

    The session of the cookie that came with the request ends, because nobody could log it
    out any more.
    """
    settings: AccountSettings = connection.app.state.settings
    token = await logins.start(account, SESSION_SECONDS)
    # After the answer: a page whose socket is closed reconnects with the new cookie.
    afterwards.add_task(end_session, cookie, settings, logins, live)
    set_cookie(response, settings, make_signer(settings).sign(token).decode(), SESSION_SECONDS)
    return LoginAnswer(id=account.id, username=account.name)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
async def logout(
    connection: HTTPConnection,
    response: Response,
    logins: LoginStore,
    live: Live,
    cookie: SessionCookie,
) -> None:
    """End the session, close its sockets, and remove its cookie.

    Without a session, nothing happens.
    """
    settings: AccountSettings = connection.app.state.settings
    set_cookie(response, settings, "", 0)
    await end_session(cookie, settings, logins, live)


async def end_session(
    cookie: str | None, settings: AccountSettings, logins: Logins, live: LiveLogins
) -> None:
    """End the session that a cookie belongs to, if there is one, and close its sockets."""
    token = token_in(cookie, settings) if cookie is not None else None
    if token is not None and await logins.find(token) is not None:
        await live.end(id_of(token))


def set_cookie(response: Response, settings: AccountSettings, value: str, max_age: int) -> None:
    """Set the cookie for `max_age` seconds; 0 removes it.

    No script can read it (HttpOnly), and requests of a foreign page carry it only when
    somebody follows a link (SameSite=Lax).
    """
    response.headers["Cache-Control"] = "no-store"
    response.set_cookie(
        cookie_name(settings),
        value,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_secure(settings),
    )


def cookie_name(settings: AccountSettings) -> str:
    return SECURE_COOKIE if is_secure(settings) else COOKIE


def is_secure(settings: AccountSettings) -> bool:
    """Whether browsers send the cookie over TLS only, as production is served."""
    return settings.environment == "production"


def token_in(cookie: str, settings: AccountSettings) -> str | None:
    """The token in a cookie, if this application signed it."""
    try:
        return make_signer(settings).unsign(cookie).decode()
    except BadSignature:
        return None


def make_signer(settings: AccountSettings) -> Signer:
    """Signs with the first of SECRET_KEYS, and accepts all of them."""
    keys = [key.get_secret_value() for key in settings.secret_keys]
    # itsdangerous signs with the last.
    return Signer(keys[::-1], salt="session", key_derivation="hmac", digest_method=hashlib.sha256)
