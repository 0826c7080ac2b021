"""What BROKER_URL may say about RabbitMQ."""

from pathlib import Path

import pytest

from app import PROJECT_NAME
from app.realtime.broker.rabbitmq.options import read_options
from tests.engine.example.settings import Settings
from tests.engine.test_settings import Refusal, refusal

__all__ = ["refusal"]


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        ("localhost:port", "port"),
        ("localhost:70000", "port"),
        (":5672", "a host is missing"),
        ("localhost/#1", "is written as %23"),
        ("localhost?heartbeat=5", "there is no option heartbeat"),
        ("localhost?stream=", "a stream's name"),
        ("localhost?stream=amq.chat", "a stream's name"),
        ("localhost?stream=a&stream=b", "stream is given twice"),
        ("localhost?max_age=1h", "max_age is a whole number"),
        ("localhost?max_length_bytes=1000", "max_length_bytes is a whole number, and at least"),
        ("localhost?replicas=0", "replicas is a whole number, and at least 1"),
        ("localhost?replicas=٣", "replicas is a whole number"),
        ("localhost?ca=ca.pem", "ca is for amqps only"),
    ],
)
def test_a_bad_option_is_told_by_the_settings(refusal: Refusal, rest: str, what: str) -> None:
    sentence = refusal(BROKER_URL=f"amqp://{rest}")
    assert "BROKER_URL" in sentence
    assert what in sentence


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("ca=missing.pem", "can't use ca: [Errno 2]"),
        ("ca={empty}", "can't use ca"),
        ("certificate={empty}", "can't use certificate"),
        ("key={empty}", "a key needs a certificate"),
    ],
)
def test_a_file_that_tls_can_not_use_is_told(
    refusal: Refusal, tmp_path: Path, options: str, what: str
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    assert what in refusal(BROKER_URL=f"amqps://localhost?{options.format(empty=empty)}")


def test_the_settings_take_what_the_documentation_shows() -> None:
    url = "amqps://chat:secret@b-1.mq.eu-west-1.amazonaws.com:5671?stream=chat&replicas=3"
    assert Settings(broker_url=url).broker_url == url


def test_a_short_url_says_everything() -> None:
    options = read_options("amqp://localhost", 3600)
    assert (options.host, options.port) == ("localhost", 5672)
    assert (options.user, options.virtual_host) == ("guest", "/")
    assert options.stream == PROJECT_NAME
    assert options.tls is None
    assert options.arguments == {
        "x-queue-type": "stream",
        "x-max-age": "3720s",
        "x-max-length-bytes": 2 * 1024**3,
        "x-stream-max-segment-size-bytes": 2 * 1024**3 // 20,
    }


def test_a_long_url_says_everything() -> None:
    options = read_options(
        "amqps://us%40er:pa%2Fss%23@[::1]:1234/a%2Fb"
        "?stream=other&max_age=86400&max_length_bytes=100000000000&replicas=3",
        3600,
    )
    assert (options.host, options.port) == ("::1", 1234)
    assert (options.user, options.virtual_host, options.stream) == ("us@er", "a/b", "other")
    assert options.tls is not None
    assert options.tls.check_hostname
    assert options.url.startswith("amqps://us%40er:pa%2Fss%23@[::1]:1234/a%2Fb?")
    assert options.arguments == {
        "x-queue-type": "stream",
        "x-max-age": "86400s",
        "x-max-length-bytes": 100_000_000_000,
        "x-stream-max-segment-size-bytes": 500_000_000,
        "x-initial-cluster-size": 3,
    }


@pytest.mark.parametrize(
    ("max_age", "history_seconds", "kept"),
    [(60, 3600, "3720s"), (7200, 3600, "7200s"), (60, 0, "120s")],
)
def test_the_stream_is_kept_longer_than_history(
    max_age: int, history_seconds: float, kept: str
) -> None:
    options = read_options(f"amqp://localhost?max_age={max_age}", history_seconds)
    assert options.arguments["x-max-age"] == kept
