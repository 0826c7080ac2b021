"""Log in with a form, stay logged in with bearer tokens.

An access token is a signed statement. It is valid for 15 minutes, while its login lasts. A
refresh token is random, valid for 30 days and for one use: it is exchanged for a new pair.
When a used one is presented, either that one or the new one was copied, so the login that
both belong to ends (RFC 9700 section 4.14.2).
"""

import secrets
import time
from typing import Annotated, Literal, NamedTuple

import jwt
from fastapi import APIRouter, Depends, FastAPI, Form, Response, status
from fastapi.requests import HTTPConnection
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

from app import PROJECT_NAME
from app.auth.accounts.database import DatabaseUnavailable
from app.auth.accounts.live import Live, LiveLogins, Watch
from app.auth.accounts.logins import LoggedInUser, Logins, LoginStore, id_of
from app.auth.accounts.settings import AccountSettings
from app.auth.accounts.throttle import REFUSALS, LoggedIn
from app.realtime.authentication import OnEnd, Session
from app.realtime.identity import Unauthenticated, User
from app.realtime.protocol import Error, Model

ACCESS_SECONDS = 15 * 60
REFRESH_SECONDS = 30 * 24 * 3600
ALGORITHM = "HS256"
CLAIMS = ["iss", "aud", "sub", "sid", "iat", "exp", "jti"]

router = APIRouter()

# It reads the header of sockets too, and gives Swagger UI its "Authorize" button.
BearerToken = Annotated[
    str | None, Depends(OAuth2PasswordBearer(tokenUrl="auth/login", auto_error=False))
]
RefreshToken = Annotated[str, Form()]


class Tokens(BaseModel):
    """The answer to a login and to a refresh. `expires_in` is in seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = ACCESS_SECONDS


class Claims(NamedTuple):
    """What an access token states."""

    user: str
    """The user's id."""
    login: str
    expires_at: int
    """Seconds since 1970."""


class BadToken(Unauthenticated):
    """HTTP 401, with the challenge that RFC 6750 section 3 asks for."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"WWW-Authenticate": "Bearer"})


async def user_of(token: str | None, settings: AccountSettings, logins: Logins) -> LoggedInUser:
    """The user to whom an access token was issued, if the login lasts. Raises BadToken."""
    if token is None:
        raise BadToken("Log in first.")
    claims = read_access_token(token, settings)
    user = await logins.user(claims.login)
    if user is None or user.id != claims.user:
        raise BadToken("This login has ended: log in again.")
    return LoggedInUser(user.id, user.name, claims.login, claims.expires_at)


class Refresh(Model):
    """Stay connected: a fresh access token of the same user."""

    type: Literal["refresh"]
    token: str


class TokenSession:
    """The login of one socket, which goes on with fresh access tokens."""

    __slots__ = ("_app", "_watch")

    def __init__(self, app: FastAPI, watch: Watch) -> None:
        self._app = app
        self._watch = watch

    def stop(self) -> None:
        """The socket is closed."""
        self._watch.stop()

    async def receive(self, message: Model) -> Error | None:
        """Take a fresh access token. Returns what is wrong with it, if anything is."""
        if not isinstance(message, Refresh):
            return None
        try:
            user = await user_of(message.token, self._app.state.settings, self._app.state.logins)
        except BadToken as error:
            return Error(code="invalid", detail=f"token: {error.detail}")
        except DatabaseUnavailable:
            detail = "the token can't be checked at the moment: try again"
            return Error(code="unavailable", detail=detail)
        if user.id != self._watch.user.id:
            return Error(code="invalid", detail="token: This access token is of another user.")
        self._watch.renew(user)
        return None


def open_session(app: FastAPI, user: User, on_end: OnEnd) -> Session:
    """Watch the login of a socket: `Authentication.open_session`."""
    live: LiveLogins = app.state.live_logins
    assert isinstance(user, LoggedInUser)  # noqa: S101 - styles with accounts know no others
    return TokenSession(app, live.watch(user, on_end))


def make_access_token(user: LoggedInUser, settings: AccountSettings) -> str:
    """A token for this user, signed with the first of SECRET_KEYS."""
    now = int(time.time())
    claims = {
        "iss": PROJECT_NAME,
        "aud": PROJECT_NAME,
        "sub": user.id,
        "sid": user.login,
        "iat": now,
        "exp": now + ACCESS_SECONDS,
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode(claims, settings.secret_keys[0].get_secret_value(), ALGORITHM)


def read_access_token(token: str, settings: AccountSettings) -> Claims:
    """Read a token that was signed with any of SECRET_KEYS. Raises BadToken."""
    for key in settings.secret_keys:
        try:
            claims = jwt.decode(
                token,
                key.get_secret_value(),
                algorithms=[ALGORITHM],
                audience=PROJECT_NAME,
                issuer=PROJECT_NAME,
                # For a worker whose clock is behind, `iat` may be in the future.
                options={"require": CLAIMS, "strict_aud": True, "verify_iat": False},
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise BadToken("This access token has expired.") from None
        except jwt.InvalidTokenError:
            break
        return Claims(str(claims["sub"]), str(claims["sid"]), int(claims["exp"]))
    raise BadToken("This access token is not valid.")


@router.post("/login", responses=REFUSALS)
async def login(
    connection: HTTPConnection, response: Response, logins: LoginStore, account: LoggedIn
) -> Tokens:
    """Exchange a user name and a password for a pair of tokens."""
    refresh_token = await logins.start(account, REFRESH_SECONDS)
    user = LoggedInUser(
        account.id, account.name, id_of(refresh_token), time.time() + REFRESH_SECONDS
    )
    return answer(connection, response, user, refresh_token)


@router.post("/refresh", responses={401: {"description": "Not a refresh token, or a used one"}})
async def refresh(
    connection: HTTPConnection,
    response: Response,
    logins: LoginStore,
    live: Live,
    refresh_token: RefreshToken = "",
) -> Tokens:
    """Exchange a refresh token for a new pair. A used one ends the login."""
    renewed = await logins.renew(refresh_token, REFRESH_SECONDS)
    if renewed is None:
        await live.end(id_of(refresh_token))
        raise BadToken("This refresh token is not valid any more: log in again.")
    return answer(connection, response, *renewed)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
async def logout(live: Live, refresh_token: RefreshToken = "") -> None:
    """End the login that a refresh token belongs to, and close its sockets."""
    await live.end(id_of(refresh_token))


def answer(
    connection: HTTPConnection, response: Response, user: LoggedInUser, refresh_token: str
) -> Tokens:
    response.headers["Cache-Control"] = "no-store"
    return Tokens(
        access_token=make_access_token(user, connection.app.state.settings),
        refresh_token=refresh_token,
    )
