"""The settings of accounts, beside the engine's."""

import secrets
from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import NoDecode
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.auth.accounts.errors import InvalidAccount
from app.auth.accounts.names import clean_name
from app.realtime.settings import (
    MAKE_A_KEY,
    Keys,
    RealtimeSettings,
    check_key,
    is_production,
    split,
)

RESERVED_NAMES = (
    *("admin", "administrator", "root", "system", "support", "moderator"),
    "guest-*",
)


class AccountSettings(RealtimeSettings):
    """The engine's settings, and those of accounts. For every limit, 0 means none."""

    database_url: str = "sqlite+aiosqlite:///app.db"
    secret_keys: Keys = ()
    registration_open: bool | None = None
    reserved_names: Annotated[tuple[str, ...], NoDecode] = RESERVED_NAMES
    registrations_per_minute: int = Field(default=60, ge=0, le=1_000_000)
    registrations_per_minute_per_address: int = Field(default=5, ge=0, le=1_000_000)

    @field_validator("secret_keys", mode="before")
    @classmethod
    def _split_secret_keys(cls, value: object) -> object:
        return split(value) if isinstance(value, str) else value

    @field_validator("secret_keys")
    @classmethod
    def _strong_secret_keys(
        cls, keys: tuple[SecretStr, ...], info: ValidationInfo
    ) -> tuple[SecretStr, ...]:
        if not keys and is_production(info):
            raise ValueError(f"must be set in production: {MAKE_A_KEY}")
        if not keys and info.data.get("web_concurrency", 1) > 1:
            raise ValueError(f"must be set when WEB_CONCURRENCY is more than 1: {MAKE_A_KEY}")
        if is_production(info):
            for key in keys:
                check_key(key)
        return keys

    @field_validator("reserved_names", mode="before")
    @classmethod
    def _split_reserved_names(cls, value: object) -> object:
        return split(value) if isinstance(value, str) else value

    @field_validator("reserved_names")
    @classmethod
    def _possible_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                part = clean_name(name.removesuffix("*"))
            except InvalidAccount as error:
                raise ValueError(f"holds what can't be a user name: {error}") from None
            if "*" in part:
                raise ValueError("may have a * at the end of a name only, as in guest-*")
        return names

    @field_validator("database_url")
    @classmethod
    def _async_database(cls, url: str) -> str:
        try:
            dialect = make_url(url).get_dialect()
            if dialect.is_async:
                dialect.import_dbapi()
        except ModuleNotFoundError as error:
            remedy = f"run `uv add {error.name}`"
            raise ValueError(f"needs a driver that is not installed: {remedy}") from None
        except (ArgumentError, ImportError) as error:
            raise ValueError(f"is not a database URL that can be used here: {error}") from None
        if not dialect.is_async:
            raise ValueError("needs an async driver, as in sqlite+aiosqlite:///app.db")
        return url

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        if not self.secret_keys:
            self.secret_keys = (SecretStr(secrets.token_urlsafe(32)),)
        if self.registration_open is None:
            self.registration_open = self.environment == "development"
        return self
