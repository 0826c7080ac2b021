"""Logins: one for each browser or device in which somebody logged in.

The token of a login is "series.secret", both random. The series stays when the secret is
exchanged for a new one. The id of the login is a hash of the series, and of the secret, too,
only a hash is stored. So with what is in the database, in a message between workers or in a
log, nobody can log in, and nobody can end a login.
"""

import hashlib
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection
from sqlalchemy import BigInteger, ColumnElement, ForeignKey, String, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.accounts.database import Base, Database
from app.auth.accounts.store import Account
from app.realtime.identity import User

AT_ONCE = 500
"""Logins that are looked up in one query."""


class Login(Base):
    """A login that has not ended."""

    __tablename__ = "logins"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    account_id: Mapped[str] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class LoggedInUser(User):
    """A user, and how long the credential is valid that was presented."""

    login: str
    """The id of the login. Sockets end with the login that opened them."""
    expires_at: float
    """Seconds since 1970."""


class Logins:
    """The logins of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, account: Account, seconds: int) -> str:
        """Start a login that lasts for some seconds. Returns its token."""
        now = int(time.time())
        token = next_token(secrets.token_urlsafe(16))
        async with self._database.transaction() as session:
            await session.execute(delete(Login).where(Login.expires_at <= now))
            session.add(
                Login(
                    id=id_of(token),
                    secret_hash=digest(token),
                    account_id=account.id,
                    expires_at=now + seconds,
                )
            )
        return token

    async def find(self, token: str) -> LoggedInUser | None:
        """The user whose login a token belongs to, if the login has not ended."""
        query = (
            select(Account.id, Account.name, Login.id, Login.expires_at)
            .join(Login)
            .where(
                Login.id == id_of(token),
                Login.secret_hash == digest(token),
                has_not_ended(),
            )
        )
        async with self._database.transaction() as session:
            row = (await session.execute(query)).one_or_none()
        return row and LoggedInUser(*row)

    async def renew(self, token: str, seconds: int) -> tuple[LoggedInUser, str] | None:
        """Exchange a token for the next one, which lasts for some seconds from now.

        None for an invalid token. Of two clients with the same token, only one succeeds.
        """
        new_token = next_token(series_of(token))
        spend = (
            update(Login)
            .where(
                Login.id == id_of(token),
                Login.secret_hash == digest(token),
                has_not_ended(),
            )
            .values(secret_hash=digest(new_token), expires_at=int(time.time()) + seconds)
        )
        async with self._database.transaction() as session:
            await session.execute(spend)
        user = await self.find(new_token)
        return None if user is None else (user, new_token)

    async def user(self, login: str) -> User | None:
        """The user whose login this is, if it has not ended."""
        query = (
            select(Account.id, Account.name).join(Login).where(Login.id == login, has_not_ended())
        )
        async with self._database.transaction() as session:
            row = (await session.execute(query)).one_or_none()
        return row and User(*row)

    async def remaining(self, logins: Collection[str]) -> set[str]:
        """The logins among these that have not ended."""
        asked, remaining = list(logins), set[str]()
        for start in range(0, len(asked), AT_ONCE):
            query = select(Login.id).where(
                Login.id.in_(asked[start : start + AT_ONCE]), has_not_ended()
            )
            async with self._database.transaction() as session:
                remaining.update(await session.scalars(query))
        return remaining

    async def delete(self, login: str) -> bool:
        """Delete a login. False if there was none."""
        gone = delete(Login).where(Login.id == login).returning(Login.id)
        async with self._database.transaction() as session:
            return await session.scalar(gone) is not None


def has_not_ended() -> ColumnElement[bool]:
    """The condition for a login that has not ended."""
    return Login.expires_at > int(time.time())


def next_token(series: str) -> str:
    return f"{series}.{secrets.token_urlsafe(32)}"


def series_of(token: str) -> str:
    return token.partition(".")[0]


def id_of(token: str) -> str:
    """The id of the login that a token claims to belong to. The id does not give it away."""
    return digest(series_of(token))


def digest(token: str) -> str:
    """What is stored of a random token: enough to recognize it, not enough to use it."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


async def get_logins(connection: HTTPConnection) -> Logins:
    logins: Logins = connection.app.state.logins
    return logins


LoginStore = Annotated[Logins, Depends(get_logins)]
