"""Limits how often a password can be guessed.

Attempts are counted in the database, so that it makes no difference which worker gets
them. An attempt is counted before the password is checked, so that many at once don't
help; a successful one is not counted in the end. A user who is attacked from elsewhere can
still log in, because the narrow limit is per name and address.
"""

import hashlib
import time
from typing import Annotated, Any

from fastapi import Depends, HTTPException, status
from fastapi.requests import HTTPConnection
from sqlalchemy import BigInteger, Integer, String, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.accounts.database import Base, Database, Lock, OpenDatabase
from app.auth.accounts.errors import InvalidAccount
from app.auth.accounts.names import clean_name, name_key
from app.auth.accounts.passwords import TooManyHashes
from app.auth.accounts.store import Account, AccountsStore, CredentialsForm
from app.realtime.limits import network_of

WINDOW_SECONDS = 15 * 60

MAX_FAILURES = {"name and address": 10, "address": 100, "name": 300}
"""Wrong passwords in that time. Further attempts are refused."""


class FailedLogin(Base):
    """A wrong password, or an attempt that is still being checked."""

    __tablename__ = "failed_logins"

    # Three rows for each attempt would exhaust the 32 bits of PostgreSQL's integers.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), index=True)
    """A hash of who is counted, because people type passwords into the field for names."""
    at: Mapped[int] = mapped_column(BigInteger, index=True)
    """Seconds since 1970."""


class TooManyAttempts(HTTPException):
    """HTTP 429."""

    def __init__(self) -> None:
        super().__init__(
            status.HTTP_429_TOO_MANY_REQUESTS,
            "Too many wrong passwords: try again in a quarter of an hour.",
            {"Retry-After": str(WINDOW_SECONDS)},
        )


async def check_password(
    connection: HTTPConnection,
    accounts: AccountsStore,
    database: OpenDatabase,
    form: CredentialsForm,
) -> Account:
    """The account that a login form opens.

    Raises HTTP 401 with one answer for an unknown name and a wrong password,
    TooManyAttempts, also with one answer, and TooManyHashes, which counts no attempt.
    """
    address = connection.client.host if connection.client else ""
    attempts = await count_attempt(database, form.username, address)
    try:
        account = await accounts.verify(form.username, form.password)
    except TooManyHashes:
        await forget(database, attempts)
        raise
    if account is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "The user name or the password is wrong.")
    await forget(database, attempts)
    return account


LoggedIn = Annotated[Account, Depends(check_password)]

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "Wrong user name or password"},
    422: {"description": "Not a form with the fields username and password"},
    429: {"description": "Too many wrong passwords"},
    503: {"description": "The database or the worker is too busy"},
}
"""How a login route can refuse, for the description of the API."""


async def count_attempt(database: Database, username: str, address: str) -> list[int]:
    """Record an attempt, and return the ids of its rows. Raises TooManyAttempts.

    Attempts are recorded one after the other. Otherwise several at once would all find
    that there is room for one more.
    """
    now = int(time.time())
    subjects = subjects_of(username, address)
    rows = {kind: FailedLogin(subject=subject, at=now) for kind, subject in subjects.items()}
    query = (
        select(FailedLogin.subject, func.count())
        .where(FailedLogin.subject.in_(subjects.values()), FailedLogin.at > now - WINDOW_SECONDS)
        .group_by(FailedLogin.subject)
    )
    async with database.exclusive_transaction(Lock.ATTEMPTS) as session:
        await session.execute(delete(FailedLogin).where(FailedLogin.at <= now - WINDOW_SECONDS))
        counts = dict((await session.execute(query)).all())
        if any(counts.get(subjects[kind], 0) >= most for kind, most in MAX_FAILURES.items()):
            raise TooManyAttempts
        session.add_all(rows.values())
    return [row.id for row in rows.values()]


async def forget(database: Database, attempts: list[int]) -> None:
    """Remove an attempt whose password was right, or was not checked."""
    async with database.transaction() as session:
        await session.execute(delete(FailedLogin).where(FailedLogin.id.in_(attempts)))


def subjects_of(username: str, address: str) -> dict[str, str]:
    try:
        name = name_key(clean_name(username))
    except InvalidAccount:
        name = ""
    network = network_of(address)
    parts = {"name and address": f"{network} {name}", "address": network, "name": name}
    return {
        kind: hashlib.sha256(f"{kind} {part}".encode(errors="surrogatepass")).hexdigest()
        for kind, part in parts.items()
    }
