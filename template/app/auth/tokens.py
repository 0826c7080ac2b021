"""Log in with a form, stay logged in with bearer tokens.

An access token is a signed statement, good for 15 minutes while its login lasts. A
refresh token is random, good for 30 days and for one use: it is exchanged for a new
pair. Who presents a spent one has a copy, or lost the new one to somebody who has, so
that ends the login that both came from (RFC 9700 section 4.14.2).
"""

import secrets
import time
from typing import Annotated, Literal, NamedTuple

import jwt
from fastapi import APIRouter, Depends, Form, Response, status
from fastapi.requests import HTTPConnection
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

from app import PROJECT_NAME
from app.auth.database import DatabaseUnavailable
from app.auth.identity import Unauthenticated
from app.auth.live import Live, Watch
from app.auth.logins import LoggedInUser, Logins, LoginStore, id_of
from app.auth.throttle import REFUSALS, LoggedIn
from app.protocol import Error
from app.settings import Settings

ACCESS_SECONDS = 15 * 60
REFRESH_SECONDS = 30 * 24 * 3600
ALGORITHM = "HS256"
CLAIMS = ["iss", "aud", "sub", "sid", "iat", "exp", "jti"]

router = APIRouter()

# Reads the header of sockets too, and gives Swagger UI its "Authorize" button.
BearerToken = Annotated[
    str | None, Depends(OAuth2PasswordBearer(tokenUrl="auth/login", auto_error=False))
]
RefreshToken = Annotated[str, Form()]


class Tokens(BaseModel):
    """What a login and a refresh answer; `expires_in` is seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = ACCESS_SECONDS


class Claims(NamedTuple):
    """What an access token states."""

    user: str
    login: str
    expires_at: int
    """Seconds since 1970."""


class BadToken(Unauthenticated):
    """HTTP 401, with the challenge that RFC 6750 section 3 asks for."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"WWW-Authenticate": "Bearer"})


async def user_of(token: str | None, settings: Settings, logins: Logins) -> LoggedInUser:
    """Whom an access token was issued to, whose login has not ended. Raises BadToken."""
    if token is None:
        raise BadToken("Log in first.")
    claims = read_access_token(token, settings)
    if await logins.name(claims.login) != claims.user:
        raise BadToken("This login has ended: log in again.")
    return LoggedInUser(claims.user, claims.login, claims.expires_at)


async def renew(watch: Watch, token: str, settings: Settings, logins: Logins) -> Error | None:
    """Go on serving a socket with a fresh access token of its user, or say why not."""
    try:
        user = await user_of(token, settings, logins)
    except BadToken as error:
        return Error(code="invalid", detail=f"token: {error.detail}")
    except DatabaseUnavailable:
        detail = "the token can't be checked at the moment: try again"
        return Error(code="unavailable", detail=detail)
    if user.name != watch.user.name:
        return Error(code="invalid", detail="token: This access token belongs to another user.")
    watch.renew(user)
    return None


def make_access_token(user: LoggedInUser, settings: Settings) -> str:
    """A token for this user, signed with the first of SECRET_KEYS."""
    now = int(time.time())
    claims = {
        "iss": PROJECT_NAME,
        "aud": PROJECT_NAME,
        "sub": user.name,
        "sid": user.login,
        "iat": now,
        "exp": now + ACCESS_SECONDS,
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode(claims, settings.secret_keys[0].get_secret_value(), ALGORITHM)


def read_access_token(token: str, settings: Settings) -> Claims:
    """What a token states that was signed with any of SECRET_KEYS. Raises BadToken."""
    for key in settings.secret_keys:
        try:
            claims = jwt.decode(
                token,
                key.get_secret_value(),
                algorithms=[ALGORITHM],
                audience=PROJECT_NAME,
                issuer=PROJECT_NAME,
                # A worker whose clock is behind may see an `iat` that is still to come.
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
    user = LoggedInUser(account.name, id_of(refresh_token), time.time() + REFRESH_SECONDS)
    return answer(connection, response, user, refresh_token)


@router.post("/refresh", responses={401: {"description": "Not a refresh token, or spent"}})
async def refresh(
    connection: HTTPConnection,
    response: Response,
    logins: LoginStore,
    live: Live,
    refresh_token: RefreshToken = "",
) -> Tokens:
    """Exchange a refresh token for a new pair; a spent one ends the login."""
    renewed = await logins.renew(refresh_token, REFRESH_SECONDS)
    if renewed is None:
        await live.end(id_of(refresh_token))
        raise BadToken("This refresh token is not valid any more: log in again.")
    return answer(connection, response, *renewed)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
async def logout(live: Live, refresh_token: RefreshToken = "") -> None:
    """End the login that a refresh token comes from, and close its sockets."""
    await live.end(id_of(refresh_token))


def answer(
    connection: HTTPConnection, response: Response, user: LoggedInUser, refresh_token: str
) -> Tokens:
    response.headers["Cache-Control"] = "no-store"
    return Tokens(
        access_token=make_access_token(user, connection.app.state.settings),
        refresh_token=refresh_token,
    )
