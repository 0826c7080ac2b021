"""Which settings the application starts with, and which it refuses."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.engine.example.settings import Settings, load_settings
from tests.engine.example_server import EXAMPLE
from tests.support.auth import SETTINGS
from tests.support.server import PROJECT, run_module

Refusal = Callable[..., str]


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refusal:
    """The sentence with which a start is refused that has these settings and no others."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def refuse(**settings: str) -> str:
        for name, value in settings.items():
            monkeypatch.setitem(os.environ, name, value)
        with pytest.raises(SystemExit) as end:
            load_settings()
        sentence = str(end.value)
        assert sentence.startswith("Bad settings: ")
        assert sentence.isprintable()
        return sentence

    return refuse


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
        ("ALLOWED_ORIGINS", "https://*.example.com"),
        ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "https://user@example.com"),
        ("ALLOWED_ORIGINS", "https://Example.com"),
        ("ALLOWED_ORIGINS", "https://example.com:443"),
        ("FORWARDED_ALLOW_IPS", "proxy.example.com"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1/8"),
        ("DEBUG", "perhaps"),
        ("DOCS_OPEN", "sometimes"),
        ("OUTBOX_BYTES", "-1"),
        ("HISTORY_SIZE", "-1"),
        ("HISTORY_SECONDS", "an hour"),
        ("HISTORY_SECONDS", "31536001"),
        ("HISTORY_SECONDS", "99999999999999999999"),  # a broker would refuse each message
        ("MESSAGES_PER_SECOND", "-1"),
        ("MESSAGES_PER_SECOND", "many"),
        ("MESSAGES_PER_SECOND", "9" * 400),  # no float: every message would fail
        ("MAX_CONNECTIONS", "-1"),
        ("MAX_CONNECTIONS_PER_USER", "1.5"),
        ("MAX_CONNECTIONS_PER_ADDRESS", "some"),
        ("PING_INTERVAL", "nan"),
        ("PING_INTERVAL", "inf"),
        ("API_KEYS", "a key that is not ascii: é"),
        ("METRICS_TOKEN", "a token that is not ascii: é"),
    ],
)
def test_a_bad_setting_is_refused_by_name(refusal: Refusal, setting: str, value: str) -> None:
    assert setting in refusal(**{setting: value})


def test_bad_settings_stop_the_start_with_one_line(tmp_path: Path) -> None:
    ended = run_module(tmp_path, *EXAMPLE, PORT="http", HISTORY_SIZE="-1")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "PORT" in line
    assert "HISTORY_SIZE" in line


KEY = "dGhpcyBrZXkgaXMgZm9yIG9uZSB0ZXN0IG9ubHk="

UNSAFE = [
    ("DEBUG", "true", "must be false in production"),
    ("ALLOWED_ORIGINS", "*", "must not hold *"),
    ("ALLOWED_ORIGINS", "https://good.example,*", "must not hold *"),
    ("FORWARDED_ALLOW_IPS", "*", "must not trust every address in production"),
    ("FORWARDED_ALLOW_IPS", "10.0.0.1, 0.0.0.0/0", "must not trust every address in production"),
    ("FORWARDED_ALLOW_IPS", "::/0", "must not trust every address in production"),
    ("API_KEYS", "short", "must hold keys of at least 32 characters in production"),
    ("API_KEYS", f"{KEY},short", "must hold keys of at least 32 characters in production"),
    ("API_KEYS", "change-me-change-me-change-me-change-me", "must not hold a sample"),
    ("API_KEYS", "abcdefgh" * 5, "must hold keys that do not repeat themselves"),
    ("METRICS_TOKEN", "short", "must hold keys of at least 32 characters in production"),
    ("METRICS_TOKEN", f"  short{' ' * 40}", "must hold keys of at least 32 characters"),
]
"""What production refuses to start with, and what it says."""


@pytest.mark.parametrize(("setting", "value", "sentence"), UNSAFE)
def test_production_refuses_unsafe_settings_with_a_sentence(
    refusal: Refusal, setting: str, value: str, sentence: str
) -> None:
    said = refusal(ENVIRONMENT="production", **{**SETTINGS, setting: value})
    assert said.startswith(f"Bad settings: {setting} {sentence}")


def test_all_problems_are_named_at_once(refusal: Refusal) -> None:
    values = {"DEBUG": "true", "ALLOWED_ORIGINS": "*", "FORWARDED_ALLOW_IPS": "*", "PORT": "x"}
    said = refusal(ENVIRONMENT="production", **{**SETTINGS, **values})
    for setting in values:
        assert f" {setting} " in said


def test_a_refusal_does_not_show_keys(refusal: Refusal) -> None:
    for name in ("API_KEYS", "METRICS_TOKEN"):
        values = {**SETTINGS, name: "not-to-be-shown", "PORT": "x"}
        sentence = refusal(ENVIRONMENT="production", **values)
        assert name in sentence
        assert "not-to-be-shown" not in sentence


def test_development_may_trust_every_proxy_show_tracebacks_and_use_short_keys() -> None:
    chosen = Settings.model_validate(
        {"forwarded_allow_ips": "*", "debug": "true", "api_keys": "one, two"}
    )
    assert (chosen.forwarded_allow_ips, chosen.debug) == ("*", True)
    assert [key.get_secret_value() for key in chosen.api_keys] == ["one", "two"]


def test_a_start_reads_a_dotenv_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=http\n")
    assert "PORT" in run_module(tmp_path, *EXAMPLE).stderr


def test_only_load_settings_reads_a_dotenv_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("HISTORY_SIZE=7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HISTORY_SIZE", raising=False)
    assert Settings().history_size == Settings.model_validate({}).history_size == 1000
    assert load_settings().history_size == 7


def test_env_example_has_every_setting_with_its_default() -> None:
    example = dotenv_values(PROJECT / ".env.example")
    assert example.keys() == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if value := example[name.upper()]:
            default = field.default
            if isinstance(default, tuple):
                default = ",".join(default)
            assert value == (str(default).lower() if default is False else str(default)), name
        else:
            assert not field.default, name
