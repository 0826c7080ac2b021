"""What BROKER_URL may say about Redis."""

import pytest

from tests.engine.example.settings import Settings
from tests.engine.test_settings import Refusal, refusal

__all__ = ["refusal"]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://localhost:6379/0?socket_keepalive_interval=10", "socket_keepalive_interval"),
        ("redis://localhost:6379/0?health_check_interval=often", "health_check_interval"),
        # On which reconnecting and deadlines depend.
        ("redis://localhost:6379/0?socket_timeout=5", "socket_timeout"),
        ("redis://localhost:6379/0?max_connections=1", "max_connections"),
        ("redis://localhost:6379/0?decode_responses=yes", "decode_responses"),
        ("redis://localhost:port/0", "port"),
    ],
)
def test_a_bad_option_is_told_by_the_settings(refusal: Refusal, url: str, what: str) -> None:
    sentence = refusal(BROKER_URL=url)
    assert "BROKER_URL" in sentence
    assert what in sentence


@pytest.mark.parametrize("path", ["/abc", "/1/2", "/1x", "/-1", "/٣"])
def test_a_path_that_names_no_database_is_refused(refusal: Refusal, path: str) -> None:
    said = refusal(BROKER_URL=f"redis://localhost:6379{path}")
    assert "BROKER_URL has an option that can't be used: a database has a number" in said


@pytest.mark.parametrize("path", ["", "/", "/0", "/15", "/?db=3"])
def test_a_path_that_names_a_database_is_taken(path: str) -> None:
    assert Settings(broker_url=f"redis://localhost:6379{path}").broker_url.endswith(path)


def test_an_option_of_a_connection_is_taken() -> None:
    settings = Settings(broker_url="redis://:secret@localhost/1?client_name=chat")
    assert settings.broker_url.endswith("?client_name=chat")
