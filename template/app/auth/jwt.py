"""Log in with a form, stay logged in with bearer tokens.

An access token is a signed statement, good for 15 minutes and checked without the
database. A refresh token is random, good for 30 days and for one use: it is exchanged
for a new pair. Who presents a spent one has a copy, or lost the new one to somebody who
has, so that ends the login that both came from (RFC 9700 section 4.14.2).
"""

import secrets
import time
from typing import Annotated, Literal

import jwt
from fastapi import APIRouter, Depends, Form, Response, status
from fastapi.requests import HTTPConnection
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel
from sqlalchemy import BigInteger, ForeignKey, String, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app import PROJECT_NAME
from app.auth.accounts import Account, AccountsStore, Base, LoggedIn, digest
from app.auth.identity import Unauthenticated, User
from app.settings import Settings

ACCESS_SECONDS = 15 * 60
REFRESH_SECONDS = 30 * 24 * 3600
ALGORITHM = "HS256"
CLAIMS = ["iss", "aud", "sub", "iat", "exp", "jti"]
SUBPROTOCOL_PREFIX = "bearer."

router = APIRouter()

# Reads the header of sockets too, and gives Swagger UI its "Authorize" button.
BearerToken = Annotated[
    str | None, Depends(OAuth2PasswordBearer(tokenUrl="auth/login", auto_error=False))
]
RefreshToken = Annotated[str, Form()]


class TokenFamily(Base):
    """One login of an account: the refresh tokens that follow from each other.

    A token is "family.secret". Both are random, and kept as hashes; of the secrets,
    only the one that is not spent yet.
    """

    __tablename__ = "token_families"

    family_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64))
    account_id: Mapped[int] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    """Seconds since 1970."""


class Tokens(BaseModel):
    """What a login and a refresh answer; `expires_in` is seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int = ACCESS_SECONDS


class BadToken(Unauthenticated):
    """HTTP 401, with the challenge that RFC 6750 section 3 asks for."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"WWW-Authenticate": "Bearer"})


async def authenticate(connection: HTTPConnection, token: BearerToken) -> User:
    """Whom the access token was issued to.

    It comes as `Authorization: Bearer`, or with the subprotocols, for browsers let
    scripts set no headers on a handshake. Raises BadToken.
    """
    token = token or token_among(connection.scope.get("subprotocols", []))
    if token is None:
        raise BadToken("Log in first.")
    return User(name=read_access_token(token, connection.app.state.settings))


def token_among(subprotocols: list[str]) -> str | None:
    for name in subprotocols:
        if name.startswith(SUBPROTOCOL_PREFIX):
            return name.removeprefix(SUBPROTOCOL_PREFIX)
    return None


def make_access_token(username: str, settings: Settings) -> str:
    """A token for this user, signed with the first of SECRET_KEYS."""
    now = int(time.time())
    claims = {
        "iss": PROJECT_NAME,
        "aud": PROJECT_NAME,
        "sub": username,
        "iat": now,
        "exp": now + ACCESS_SECONDS,
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode(claims, settings.secret_keys[0].get_secret_value(), ALGORITHM)


def read_access_token(token: str, settings: Settings) -> str:
    """The name of the user that a token was issued to, by any of SECRET_KEYS.

    Raises BadToken.
    """
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
        return str(claims["sub"])
    raise BadToken("This access token is not valid.")


@router.post("/login", responses={401: {"description": "Wrong user name or password"}})
async def login(
    connection: HTTPConnection, response: Response, accounts: AccountsStore, account: LoggedIn
) -> Tokens:
    """Exchange a user name and a password for a pair of tokens."""
    now = int(time.time())
    family = secrets.token_urlsafe(16)
    refresh_token = next_token(family)
    async with accounts.transaction() as session:
        await session.execute(delete(TokenFamily).where(TokenFamily.expires_at <= now))
        session.add(
            TokenFamily(
                family_hash=digest(family),
                token_hash=digest(refresh_token),
                account_id=account.id,
                expires_at=now + REFRESH_SECONDS,
            )
        )
    return answer(connection, response, account.name, refresh_token)


@router.post("/refresh", responses={401: {"description": "Not a refresh token, or spent"}})
async def refresh(
    connection: HTTPConnection,
    response: Response,
    accounts: AccountsStore,
    refresh_token: RefreshToken = "",
) -> Tokens:
    """Exchange a refresh token for a new pair; a spent one ends the login."""
    now = int(time.time())
    family = family_of(refresh_token)
    new_token = next_token(family)
    spend = (
        update(TokenFamily)
        .where(
            TokenFamily.family_hash == digest(family),
            TokenFamily.token_hash == digest(refresh_token),
            TokenFamily.expires_at > now,
        )
        .values(token_hash=digest(new_token), expires_at=now + REFRESH_SECONDS)
    )
    query = (
        select(Account.name)
        .join(TokenFamily)
        .where(
            TokenFamily.family_hash == digest(family), TokenFamily.token_hash == digest(new_token)
        )
    )
    async with accounts.transaction() as session:
        await session.execute(spend)
        username = await session.scalar(query)
    if username is None:
        await revoke(accounts, family)
        raise BadToken("This refresh token is not valid any more: log in again.")
    return answer(connection, response, username, new_token)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
async def logout(accounts: AccountsStore, refresh_token: RefreshToken = "") -> None:
    """End the login that a refresh token comes from.

    Its access token remains good until it expires.
    """
    await revoke(accounts, family_of(refresh_token))


def answer(
    connection: HTTPConnection, response: Response, username: str, refresh_token: str
) -> Tokens:
    response.headers["Cache-Control"] = "no-store"
    return Tokens(
        access_token=make_access_token(username, connection.app.state.settings),
        refresh_token=refresh_token,
    )


def next_token(family: str) -> str:
    return f"{family}.{secrets.token_urlsafe(32)}"


def family_of(refresh_token: str) -> str:
    return refresh_token.partition(".")[0]


async def revoke(accounts: AccountsStore, family: str) -> None:
    async with accounts.transaction() as session:
        await session.execute(delete(TokenFamily).where(TokenFamily.family_hash == digest(family)))
