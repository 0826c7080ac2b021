"""Which settings of accounts are refused, and with which sentences."""

import base64
import secrets
import sys
from pathlib import Path

import pytest

from tests.engine.example.settings import Settings
from tests.engine.example_server import EXAMPLE
from tests.engine.test_settings import Refusal, refusal
from tests.support.auth import SETTINGS
from tests.support.server import free_port, run_module

__all__ = ["refusal"]

SAMPLES = [
    "a-key-for-tests-and-for-nothing-else",
    "change-me-change-me-change-me-change-me",
    "please_CHANGEME_before_you_go_to_production",
    "your-secret-key-goes-here-0123456789",
    "django-insecure-0123456789abcdefghijklmn",
    "this is an example of a key that is long",
    "replace-with-a-real-one-0123456789abcdef",
]

GOOD = "xv8Tq1KpZ3uWm6Rb0sYc9Nd4Lh7Gf2Ja"

REPEATING = ["a" * 40, "ab" * 20, "0123456789abcdef" * 3, "secretsecretsecretsecretsecretsecret"]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("", "must be set in production"),
        ("too short", "must hold keys of at least 32 characters in production"),
        (f"{GOOD},too short", "must hold keys of at least 32 characters"),
        *((key, "must not hold a sample") for key in SAMPLES),
        *((key, "must hold keys that do not repeat themselves") for key in REPEATING),
    ],
)
def test_production_does_not_start_with_keys_that_can_be_guessed(
    refusal: Refusal,
    keys: str,
    sentence: str,
) -> None:
    said = refusal(ENVIRONMENT="production", SECRET_KEYS=keys)
    assert said.startswith(f"Bad settings: SECRET_KEYS {sentence}")
    assert "openssl rand -base64 32" in said
    assert not keys or keys not in said


def test_random_keys_are_accepted() -> None:
    for _ in range(200):
        random = secrets.token_bytes(32)
        keys = [random.hex(), random.hex()[:32], base64.b64encode(random).decode()]
        Settings.model_validate({"environment": "production", "secret_keys": keys})


def test_more_than_one_process_needs_secret_keys(refusal: Refusal) -> None:
    assert "SECRET_KEYS must be set when" in refusal(WEB_CONCURRENCY="2")


@pytest.mark.parametrize(
    "url",
    [
        "app.db",
        "sqlite:///app.db",
        "postgresql://ada:marker@localhost/accounts",
        "carrier+pigeon://ada:marker@loft",
        "postgresql+asyncpg://ada:marker@localhost:port/accounts",
        "postgresql+asyncpg://ada:marker@[::1/accounts",
    ],
)
def test_a_database_url_that_cannot_be_used_is_refused(refusal: Refusal, url: str) -> None:
    said = refusal(DATABASE_URL=url)
    assert "DATABASE_URL" in said
    assert "marker" not in said


def test_the_error_about_a_missing_database_driver_says_how_to_install_it(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)  # as if it were not installed
    said = refusal(DATABASE_URL="postgresql+asyncpg://ada:marker@localhost/accounts")
    assert said == (
        "Bad settings: DATABASE_URL needs a driver that is not installed: run `uv add asyncpg`."
    )


def no_server() -> str:
    return f"postgresql+asyncpg://ada:marker@127.0.0.1:{free_port()}/accounts"


@pytest.mark.parametrize(
    "url",
    ["sqlite+aiosqlite:////nowhere/app.db", "sqlite+aiosqlite:///noise.db", no_server()],
    ids=["no folder", "no database", "no server"],
)
def test_a_database_that_does_not_open_stops_the_start_with_a_sentence(
    tmp_path: Path, url: str
) -> None:
    (tmp_path / "noise.db").write_text("no database at all " * 1000)
    port = str(free_port())
    ended = run_module(tmp_path, *EXAMPLE, PORT=port, DATABASE_URL=url, **SETTINGS)
    assert ended.returncode != 0
    assert "The database in DATABASE_URL can't be used: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "marker" not in ended.stderr
