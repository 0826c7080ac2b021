"""Accounts: who can log in.

Passwords are stored as argon2 hashes: see `passwords.py`.
"""

import re
import secrets
import unicodedata
from typing import Annotated

from fastapi import Depends, Form, HTTPException, Request, status
from fastapi.requests import HTTPConnection
from pydantic import BaseModel, ConfigDict
from sqlalchemy import String, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.accounts.database import Base, Database
from app.auth.accounts.passwords import PasswordHasher

MAX_NAME_LENGTH = 64
MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 1024
ID_BYTES = 8

KEYBOARDS = 4
"""How many times longer a text may be when a keyboard sends it in combining parts.

Longer texts are not normalized at all, because that takes quadratic time.
"""

# They count as printable but are invisible, so two names could look the same.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


class Account(Base):
    """Somebody who can log in."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Random, so that it is never given twice. It stays when the name changes."""
    name: Mapped[str] = mapped_column(String(MAX_NAME_LENGTH))
    key: Mapped[str] = mapped_column(String(255), unique=True)
    """Equal for two names that people can't tell apart: see `name_key`."""
    password_hash: Mapped[str] = mapped_column(String(255))


class InvalidAccount(ValueError):
    """A user name or a password is not allowed; the message says why."""


class NameTaken(ValueError):
    """Another account has this user name."""


class Accounts:
    """The accounts of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hasher = PasswordHasher()

    async def add(self, name: str, password: str) -> Account:
        """Create an account. Raises InvalidAccount, NameTaken or TooManyHashes."""
        name = clean_name(name)
        check_new_password(password)
        taken = NameTaken("This user name is taken.")
        if await self._find(name):
            raise taken
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
        except IntegrityError:  # somebody was faster
            raise taken from None
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

    async def _find(self, name: str) -> Account | None:
        try:
            key = name_key(clean_name(name))
        except InvalidAccount:
            return None
        async with self._database.transaction() as session:
            return await session.scalar(select(Account).where(Account.key == key))


def clean_name(name: str) -> str:
    """The form in which a user name is kept and shown (Unicode NFKC).

    Raises InvalidAccount unless it is 1 to 64 visible characters.
    """
    if len(name) <= KEYBOARDS * MAX_NAME_LENGTH:
        name = unicodedata.normalize("NFKC", name)
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise InvalidAccount(f"A user name must have 1 to {MAX_NAME_LENGTH} characters.")
    if name != name.strip():
        raise InvalidAccount("A user name must not begin or end with white space.")
    if not name.isprintable() or INVISIBLE.search(name):
        raise InvalidAccount("A user name must not hold control or invisible characters.")
    return name


def name_key(name: str) -> str:
    """What names that differ only in upper and lower case have in common."""
    return unicodedata.normalize("NFKC", name.casefold())


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
