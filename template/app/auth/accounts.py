"""Accounts: who may log in, in a database.

Passwords are kept as argon2 hashes. One takes some 50 ms and 64 MiB to compute, on
purpose, so that is done in threads and a few at a time.
"""

import asyncio
import hashlib
import re
import secrets
import unicodedata
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated

from fastapi import Depends, Form, HTTPException, status
from fastapi.requests import HTTPConnection
from pwdlib import PasswordHash
from sqlalchemy import String, event, select, update
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import CreateIndex, CreateTable

MAX_NAME_LENGTH = 64
MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 1024
HASHES_AT_ONCE = 4

# They count as printable and show nothing: with them, two names could look the same.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


class Base(DeclarativeBase):
    """A table of the database is a class that inherits from this one."""


class Account(Base):
    """Somebody who can log in."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_NAME_LENGTH))
    key: Mapped[str] = mapped_column(String(255), unique=True)
    """The same for two names that people would take for one: see `name_key`."""
    password_hash: Mapped[str] = mapped_column(String(255))


class InvalidAccount(ValueError):
    """Such a user name or password can't be had; the sentence says why."""


class NameTaken(ValueError):
    """Another account has this user name."""


class Accounts:
    """The accounts of one database; `open_accounts` makes it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._passwords = PasswordHash.recommended()
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        # Of a password that nobody knows. It takes as long to check as a real one.
        self._nobodys_hash = self._passwords.hash(secrets.token_bytes())

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A database transaction: committed at its end, undone by an exception."""
        return self._sessions.begin()

    async def add(self, name: str, password: str) -> Account:
        """Create an account. Raises InvalidAccount or NameTaken."""
        name = clean_name(name)
        check_new_password(password)
        taken = NameTaken("This user name is taken.")
        if await self._find(name):
            raise taken
        async with self._hashing:
            password_hash = await asyncio.to_thread(self._passwords.hash, to_bytes(password))
        account = Account(name=name, key=name_key(name), password_hash=password_hash)
        try:
            async with self.transaction() as session:
                session.add(account)
        except IntegrityError:  # taken meanwhile
            raise taken from None
        return account

    async def verify(self, name: str, password: str) -> Account | None:
        """The account that has this name and this password.

        An unknown name takes as long as a wrong password. A hash made with other
        parameters than today's is replaced.
        """
        account = await self._find(name)
        password_hash = account.password_hash if account else self._nobodys_hash
        async with self._hashing:
            is_right, new_hash = await asyncio.to_thread(
                self._passwords.verify_and_update, to_bytes(password), password_hash
            )
        if account is None or not is_right:
            return None
        if new_hash is not None:
            async with self.transaction() as session:
                await session.execute(
                    update(Account).where(Account.id == account.id).values(password_hash=new_hash)
                )
        return account

    async def _find(self, name: str) -> Account | None:
        try:
            key = name_key(clean_name(name))
        except InvalidAccount:
            return None
        async with self.transaction() as session:
            return await session.scalar(select(Account).where(Account.key == key))


@asynccontextmanager
async def open_accounts(database_url: str) -> AsyncIterator[Accounts]:
    """Open the database, create the tables that it lacks, and close it at the end."""
    engine = create_async_engine(database_url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    try:
        try:
            await _create_tables(engine)
        except (IntegrityError, ProgrammingError):
            # On PostgreSQL, IF NOT EXISTS fails while another worker creates the same table.
            await _create_tables(engine)
        yield Accounts(engine)
    finally:
        await engine.dispose()


async def _create_tables(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            await connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                await connection.execute(CreateIndex(index, if_not_exists=True))


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Let several workers share the file: they wait for each other's locks.

    Not in WAL mode: several that switch to it at once on a new file fail without waiting.
    """
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 5000")  # milliseconds
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def clean_name(name: str) -> str:
    """The form in which a user name is kept and shown (Unicode NFKC).

    Raises InvalidAccount unless it is 1 to 64 visible characters.
    """
    name = unicodedata.normalize("NFKC", name)
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise InvalidAccount(f"A user name must have 1 to {MAX_NAME_LENGTH} characters.")
    if name != name.strip():
        raise InvalidAccount("A user name must not begin or end with white space.")
    if not name.isprintable() or INVISIBLE.search(name):
        raise InvalidAccount("A user name must not hold control or invisible characters.")
    return name


def name_key(name: str) -> str:
    """What two names share that differ in upper and lower case only."""
    return unicodedata.normalize("NFKC", name.casefold())


def check_new_password(password: str) -> None:
    """Raises InvalidAccount unless the password has 8 to 1024 characters."""
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise InvalidAccount(
            f"A password must have {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters."
        )


def to_bytes(password: str) -> bytes:
    """The same bytes from every keyboard: some send "é" as one character, some as two."""
    return unicodedata.normalize("NFKC", password).encode(errors="surrogatepass")


def digest(token: str) -> str:
    """What is stored of a random token: enough to know it again, not to use it."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def get_accounts(connection: HTTPConnection) -> Accounts:
    accounts: Accounts = connection.app.state.accounts
    return accounts


AccountsStore = Annotated[Accounts, Depends(get_accounts)]


async def check_password(
    accounts: AccountsStore,
    username: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
) -> Account:
    """The account that a login form opens.

    Raises HTTP 401 with one answer for an unknown name and a wrong password.
    """
    account = await accounts.verify(username, password)
    if account is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "The user name or the password is wrong.")
    return account


LoggedIn = Annotated[Account, Depends(check_password)]
