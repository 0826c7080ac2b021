"""Settings: what they are, and what is refused."""

from pathlib import Path

import pytest
from dotenv import dotenv_values

from app.settings import Settings
from tests.server import PROJECT, run_module


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("ENVIRONMENT", "staging"),
        ("BROKER_URL", "carrier-pigeon://loft"),
        ("BROKER_URL", "localhost"),
        ("BROKER_URL", "memory://localhost:99999"),
        ("WEB_CONCURRENCY", "2"),
        ("ALLOWED_ORIGINS", "https://example.com/path"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://example.com:443"),
        ("OUTBOX_BYTES", "-1"),
        ("HISTORY_SIZE", "-1"),
        ("HISTORY_SECONDS", "an hour"),
        ("MESSAGES_PER_SECOND", "-1"),
        ("MESSAGES_PER_SECOND", "many"),
        ("MAX_CONNECTIONS", "-1"),
        ("MAX_CONNECTIONS_PER_USER", "1.5"),
        ("MAX_CONNECTIONS_PER_ADDRESS", "some"),
        ("PING_INTERVAL", "nan"),
        ("PING_INTERVAL", "inf"),
    ],
)
def test_bad_setting_stops_the_start_with_a_sentence(
    tmp_path: Path, setting: str, value: str
) -> None:
    ended = run_module(tmp_path, "app", **{setting: value})
    assert ended.returncode != 0
    assert setting in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_settings_come_from_a_dotenv_file_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=http\n")
    assert "PORT" in run_module(tmp_path, "app").stderr


def test_env_example_has_every_setting_with_its_default() -> None:
    example = dotenv_values(PROJECT / ".env.example")
    assert example.keys() == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if value := example[name.upper()]:
            assert value == str(field.default), name
        else:
            assert not field.default, name
