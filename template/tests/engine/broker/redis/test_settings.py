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
        ("redis+cluster://a:1,b:2?max_connections=1", "max_connections"),
        ("redis+cluster://a:1,,b:2", "a comma too many"),
        ("redis+cluster://a:1,b:port", "port"),
        ("redis+cluster://a:1/1", "a Redis Cluster has only the database 0"),
        ("redis+cluster://a:1/?db=1", "a Redis Cluster has only the database 0"),
        ("redis+cluster://a:1?sentinel_password=x", "sentinel_password"),
        ("redis+sentinel://a:1,b:2", "it has to name a master"),
        ("redis+sentinel://a:1,b:2/mymaster/zero", "it has to name a master"),
        ("redis+sentinel://a:1/mymaster?sentinel_name=x", "sentinel_name"),
        ("redis://localhost?ssl_ca_certs=/", "ssl_ca_certs"),
        ("rediss://localhost?ssl_ca_certs=/none.crt", "there is no file /none.crt"),
        ("rediss+sentinel://a/mymaster?ssl_keyfile=/none.key", "there is no file /none.key"),
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


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://user:p%40ss@[::1]:1,b:2,c",
        "rediss+cluster://a?ssl_check_hostname=false",
        "redis+sentinel://a,b:2/mymaster",
        "rediss+sentinel://user:secret@a,b:2/mymaster/3?sentinel_username=x&sentinel_password=y",
    ],
)
def test_several_servers_are_taken(url: str) -> None:
    assert Settings(broker_url=url).broker_url == url
