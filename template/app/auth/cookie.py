"""Log in with a form, stay logged in with a session cookie.

The cookie holds a random token, signed, so that what nobody issued never reaches the
database. The database holds the token's hash: logging out ends the session, whoever has
a copy of the cookie.
"""

import hashlib
import secrets
import time
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response, status
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyCookie
from itsdangerous import BadSignature, Signer
from pydantic import BaseModel
from sqlalchemy import BigInteger, ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.accounts import Account, AccountsStore, Base, LoggedIn, digest
from app.auth.identity import Unauthenticated, User
from app.settings import Settings

COOKIE = "session"
SESSION_SECONDS = 14 * 24 * 3600

router = APIRouter()

SessionCookie = Annotated[str | None, Depends(APIKeyCookie(name=COOKIE, auto_error=False))]


class Session(Base):
    """One login of an account, in one browser."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    """Seconds since 1970."""


class LoginAnswer(BaseModel):
    username: str


async def authenticate(
    connection: HTTPConnection, accounts: AccountsStore, cookie: SessionCookie
) -> User:
    """Whose session the cookie belongs to.

    Raises Unauthenticated without a session, and HTTP 403 for a handshake that has the
    cookie but no Origin: a browser always sends both, so nothing vouches for where
    this one comes from.
    """
    if cookie is None:
        raise Unauthenticated("Log in first.")
    if connection.scope["type"] == "websocket" and "origin" not in connection.headers:
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, "A handshake with a cookie needs an Origin header."
        )
    try:
        token = make_signer(connection.app.state.settings).unsign(cookie).decode()
    except BadSignature:
        raise Unauthenticated("This session is not valid: log in again.") from None
    query = (
        select(Account.name)
        .join(Session)
        .where(Session.token_hash == digest(token), Session.expires_at > time.time())
    )
    async with accounts.transaction() as session:
        name = await session.scalar(query)
    if name is None:
        raise Unauthenticated("This session has ended: log in again.")
    return User(name=name)


@router.post("/login", responses={401: {"description": "Wrong user name or password"}})
async def login(
    connection: HTTPConnection, response: Response, accounts: AccountsStore, account: LoggedIn
) -> LoginAnswer:
    """Start a session of 14 days, and set its cookie."""
    settings: Settings = connection.app.state.settings
    token = secrets.token_urlsafe(32)
    now = int(time.time())
    async with accounts.transaction() as session:
        await session.execute(delete(Session).where(Session.expires_at <= now))
        session.add(
            Session(
                token_hash=digest(token),
                account_id=account.id,
                expires_at=now + SESSION_SECONDS,
            )
        )
    set_cookie(response, settings, make_signer(settings).sign(token).decode(), SESSION_SECONDS)
    return LoginAnswer(username=account.name)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
async def logout(
    connection: HTTPConnection, response: Response, accounts: AccountsStore, cookie: SessionCookie
) -> None:
    """End the session, and remove its cookie. Without a session, nothing happens."""
    settings: Settings = connection.app.state.settings
    set_cookie(response, settings, "", 0)
    if cookie is None:
        return
    try:
        token = make_signer(settings).unsign(cookie).decode()
    except BadSignature:
        return
    async with accounts.transaction() as session:
        await session.execute(delete(Session).where(Session.token_hash == digest(token)))


def set_cookie(response: Response, settings: Settings, value: str, max_age: int) -> None:
    """Set the cookie for `max_age` seconds; 0 removes it.

    No script can read it (HttpOnly), and a foreign page's requests carry it only when
    they follow a link (SameSite=Lax).
    """
    response.headers["Cache-Control"] = "no-store"
    response.set_cookie(
        COOKIE,
        value,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="lax",
        secure=settings.environment == "production",
    )


def make_signer(settings: Settings) -> Signer:
    """Signs with the first of SECRET_KEYS and accepts them all."""
    keys = [key.get_secret_value() for key in settings.secret_keys]
    # itsdangerous signs with the last.
    return Signer(keys[::-1], salt="session", key_derivation="hmac", digest_method=hashlib.sha256)
