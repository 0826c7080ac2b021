"""What BROKER_URL may say about Redis."""

import pytest

from app.settings import Settings
from tests.test_settings import Refusal, refusal

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


def test_an_option_of_a_connection_is_taken() -> None:
    settings = Settings(broker_url="redis://:secret@localhost/1?client_name=chat", _env_file=None)
    assert settings.broker_url.endswith("?client_name=chat")
