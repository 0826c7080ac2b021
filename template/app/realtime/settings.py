"""The engine's settings, from environment variables and `.env`; `.env.example` explains each."""

import re
from ipaddress import ip_network
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    Field,
    NonNegativeInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.realtime.broker import SCHEMES, create_backend

Seconds = Annotated[float, Field(ge=0, le=86400)]
Keys = Annotated[tuple[SecretStr, ...], NoDecode]
"""Comma-separated keys."""

KEY_LENGTH = 32
"""The shortest key, in characters, that production accepts."""

SAMPLE_KEY = re.compile(
    r"change.?(me|this|it)|your.?(own|secret|key)|secret.?key|example|insecure|placeholder"
    r"|replace|(for|only).?test|not.?(so|very|a).?secret",
    re.IGNORECASE,
)
"""Words of keys that were copied from documentation."""

MAKE_A_KEY = "make one with `openssl rand -base64 32`"


class RealtimeSettings(BaseSettings):
    """What operators can set. For every limit, 0 means none.

    Only `read_settings` looks into `.env`. Settings made without it, in a test for
    example, don't.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    environment: Literal["development", "production"] = "development"
    debug: bool = False
    docs_open: bool | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    web_concurrency: int = Field(default=1, ge=1)

    broker_url: str = "memory://"
    api_keys: Keys = ()
    metrics_token: SecretStr | None = None
    allowed_origins: Annotated[frozenset[str], NoDecode] = frozenset()
    forwarded_allow_ips: str = "127.0.0.1,::1"

    history_size: NonNegativeInt = 1000
    history_seconds: int = Field(default=3600, ge=0, le=365 * 86400)
    history_bytes: NonNegativeInt = 67108864

    max_frame_bytes: NonNegativeInt = 65536
    messages_per_second: int = Field(default=20, ge=0, le=1_000_000)
    replay_bytes_per_second: NonNegativeInt = 1048576
    max_connections: NonNegativeInt = 10000
    max_connections_per_user: NonNegativeInt = 50
    max_connections_per_address: NonNegativeInt = 500
    max_rooms_per_connection: NonNegativeInt = 128
    presence_members: NonNegativeInt = 100
    outbox_messages: NonNegativeInt = 1000
    outbox_bytes: NonNegativeInt = 1048576
    ping_interval: Seconds = 20
    ping_timeout: Seconds = 20
    shutdown_grace: NonNegativeInt = 20

    @field_validator("debug")
    @classmethod
    def _no_debug_in_production(cls, debug: bool, info: ValidationInfo) -> bool:
        if debug and is_production(info):
            raise ValueError("must be false in production: it shows clients how the code failed")
        return debug

    @model_validator(mode="after")
    def _open_docs_in_development(self) -> Self:
        if self.docs_open is None:
            self.docs_open = self.environment == "development"
        return self

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, url: str, info: ValidationInfo) -> str:
        try:
            scheme = urlsplit(url).scheme
            for host in urlsplit(url).netloc.rpartition("@")[2].split(","):
                _ = urlsplit(f"//{host}").port
        except ValueError:
            raise ValueError("is not a URL with a valid host and port") from None
        if scheme not in SCHEMES or "://" not in url:
            raise ValueError(f"must begin with {', '.join(f'{s}://' for s in SCHEMES)}")
        try:
            create_backend(url, 0, 0)
        except ValueError as error:
            raise ValueError(f"has an option that can't be used: {error}") from None
        if scheme == "memory" and info.data.get("web_concurrency", 1) > 1:
            raise ValueError(
                "memory:// carries messages within one process only: "
                "set WEB_CONCURRENCY to 1, or name a broker"
            )
        return url

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_api_keys(cls, value: object) -> object:
        return split(value) if isinstance(value, str) else value

    @field_validator("api_keys")
    @classmethod
    def _strong_api_keys(
        cls, keys: tuple[SecretStr, ...], info: ValidationInfo
    ) -> tuple[SecretStr, ...]:
        for key in keys:
            check_header_key(key, info)
        return keys

    @field_validator("metrics_token")
    @classmethod
    def _strong_metrics_token(
        cls, token: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        text = token.get_secret_value().strip() if token is not None else ""
        if not text:
            return None
        check_header_key(SecretStr(text), info)
        return SecretStr(text)

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        return split(value) if isinstance(value, str) else value

    @field_validator("allowed_origins")
    @classmethod
    def _origins_only(cls, origins: frozenset[str]) -> frozenset[str]:
        for origin in origins:
            if "*" in origin:
                raise ValueError("must not hold *, which allows every page: list each origin")
            if not re.fullmatch(r"https?://[^/\s@?#]+", origin):
                raise ValueError("must list origins such as https://example.com, without a path")
            if re.fullmatch(r"http://.*:80|https://.*:443", origin):
                raise ValueError("must leave out the ports 80 and 443, as browsers do")
            if origin != origin.lower():
                raise ValueError("must be in lower case, as browsers write origins")
        return origins

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _proxies_only(cls, proxies: str, info: ValidationInfo) -> str:
        everybody = proxies.strip() == "*"
        if not everybody:
            try:
                networks = [ip_network(proxy) for proxy in split(proxies)]
            except ValueError:
                raise ValueError(
                    "must list addresses and networks such as 10.0.0.1 or 10.0.0.0/8, "
                    "the latter without bits behind the prefix"
                ) from None
            everybody = any(network.prefixlen == 0 for network in networks)
        if everybody and is_production(info):
            raise ValueError(
                "must not trust every address in production, because then every client could "
                "claim any address: list those of your proxies"
            )
        return proxies.strip()


def is_production(info: ValidationInfo) -> bool:
    return info.data.get("environment") == "production"


def check_header_key(key: SecretStr, info: ValidationInfo) -> None:
    """Raises ValueError for a key that no header can carry, or that production refuses."""
    if not key.get_secret_value().isascii():
        raise ValueError("must hold ASCII keys: others can't be sent in a header")
    if is_production(info):
        check_key(key)


def check_key(key: SecretStr) -> None:
    """Raises ValueError for a key that could be guessed."""
    text = key.get_secret_value()
    if len(text) < KEY_LENGTH:
        raise ValueError(
            f"must hold keys of at least {KEY_LENGTH} characters in production: {MAKE_A_KEY}"
        )
    if SAMPLE_KEY.search(text):
        raise ValueError(f"must not hold a sample that others know, too: {MAKE_A_KEY}")
    if len(set(text)) < 8 or re.fullmatch(r"(.+?)\1+", text):
        raise ValueError(f"must hold keys that do not repeat themselves: {MAKE_A_KEY}")


def split(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


Settings = TypeVar("Settings", bound=RealtimeSettings)


def read_settings(model: type[Settings]) -> Settings:
    """Read settings from environment variables and `.env`.

    Raises SystemExit with a sentence for each bad value. It never shows the value itself,
    which may be a secret.
    """
    try:
        return model(_env_file=".env")
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"][:1]).upper()
            reason = str(problem.get("ctx", {}).get("error", problem["msg"]))
            problems.append(f"{name} {reason}".strip())
        raise SystemExit("Bad settings: " + "; ".join(problems) + ".") from None
