"""Accounts: who can log in.

Passwords are stored as argon2 hashes: see `passwords.py`.
"""

import secrets
import unicodedata
from typing import Annotated

from fastapi import Depends, Form, HTTPException, Request, status
from fastapi.requests import HTTPConnection
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, String, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.accounts.database import Base, Database
from app.auth.accounts.errors import InvalidAccount, NameTaken
from app.auth.accounts.names import KEYBOARDS, MAX_NAME_LENGTH, clean_name, name_key, skeletons
from app.auth.accounts.passwords import PasswordHasher

MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 1024
ID_BYTES = 8

TAKEN = "This user name is taken."
LOOKS_TAKEN = "A user name that looks like this one is taken."


class Account(Base):
    """Somebody who can log in."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Random, so that it is never given twice. It stays when the name changes."""
    name: Mapped[str] = mapped_column(String(MAX_NAME_LENGTH))
    key: Mapped[str] = mapped_column(String(255), unique=True)
    """Equal for two names that differ only in upper and lower case: see `name_key`."""
    password_hash: Mapped[str] = mapped_column(String(255))


class NameSkeleton(Base):
    """What the name of an account looks like. No other account may look like that."""

    __tablename__ = "name_skeletons"

    skeleton: Mapped[str] = mapped_column(String(255), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), index=True)


class Accounts:
    """The accounts of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hasher = PasswordHasher()

    async def add(self, name: str, password: str) -> Account:
        """Create an account. Raises InvalidAccount, NameTaken or TooManyHashes."""
        name = clean_name(name)
        check_new_password(password)
        looks = skeletons(name)
        await self._check_free(name, looks)
        password_hash = await self._hasher.hash(to_bytes(password))
        account = Account(
            id=secrets.token_hex(ID_BYTES),
            name=name,
            key=name_key(name),
            password_hash=password_hash,
        )
        try:
            async with self._database.transaction() as session:
                session.add(account)
                await session.flush()
                session.add_all(
                    NameSkeleton(skeleton=look, account_id=account.id) for look in looks
                )
        except IntegrityError:  # somebody was faster
            raise NameTaken(TAKEN) from None
        return account

    async def verify(self, name: str, password: str) -> Account | None:
        """The account with this name and this password.

        An unknown name takes as long as a wrong password. A hash made with outdated
        parameters is replaced. Raises TooManyHashes.
        """
        account = await self._find(name)
        if len(password) > KEYBOARDS * MAX_PASSWORD_LENGTH:
            password = ""  # which nobody has
        is_right, new_hash = await self._hasher.verify(
            to_bytes(password), account.password_hash if account else None
        )
        if account is None or not is_right:
            return None
        if new_hash is not None:
            async with self._database.transaction() as session:
                await session.execute(
                    update(Account).where(Account.id == account.id).values(password_hash=new_hash)
                )
        return account

    async def _check_free(self, name: str, looks: set[str]) -> None:
        """Raises NameTaken."""
        if await self._find(name):
            raise NameTaken(TAKEN)
        query = select(NameSkeleton.skeleton).where(NameSkeleton.skeleton.in_(looks)).limit(1)
        async with self._database.transaction() as session:
            if await session.scalar(query) is not None:
                raise NameTaken(LOOKS_TAKEN)

    async def _find(self, name: str) -> Account | None:
        try:
            key = name_key(clean_name(name))
        except InvalidAccount:
            return None
        async with self._database.transaction() as session:
            return await session.scalar(select(Account).where(Account.key == key))


def check_new_password(password: str) -> None:
    """Raises InvalidAccount unless the password has 8 to 1024 characters."""
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise InvalidAccount(
            f"A password must have {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters."
        )


def to_bytes(password: str) -> bytes:
    """The same bytes from every keyboard: some send "é" as one character, others as two."""
    return unicodedata.normalize("NFKC", password).encode(errors="surrogatepass")


class Credentials(BaseModel):
    """The form fields of a login and of a registration."""

    # They have defaults because FastAPI takes an empty field for a missing one.
    model_config = ConfigDict(json_schema_extra={"required": ["username", "password"]})

    username: str = ""
    password: str = ""


async def read_credentials(
    request: Request, credentials: Annotated[Credentials, Form()]
) -> Credentials:
    """Read the form. Raises HTTP 422 when a field is missing. An empty one is fine."""
    form = await request.form()  # which FastAPI has read already
    if not Credentials.model_fields.keys() <= form.keys():
        raise HTTPException(
            status.HTTP_422_UNPROCESSABLE_CONTENT,
            "Send the form fields username and password (application/x-www-form-urlencoded).",
        )
    return credentials


CredentialsForm = Annotated[Credentials, Depends(read_credentials)]


async def get_accounts(connection: HTTPConnection) -> Accounts:
    accounts: Accounts = connection.app.state.accounts
    return accounts


AccountsStore = Annotated[Accounts, Depends(get_accounts)]
