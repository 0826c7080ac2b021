"""What BROKER_URL may say about Kafka."""

import logging
from pathlib import Path

import pytest
from aiokafka.errors import (
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from app import PROJECT_NAME
from app.realtime.broker.kafka.errors import Reports, told
from app.realtime.broker.kafka.options import read_url
from app.realtime.broker.kafka.topic import check
from app.realtime.broker.log.base import LogUnavailable
from tests.engine.test_settings import Refusal, refusal

__all__ = ["refusal"]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("kafka://localhost:9092/chat?group_id=me", "there is no group_id"),
        ("kafka://localhost:9092/chat?partitions=0", "partitions is a number"),
        ("kafka://localhost:9092/chat?fetch_max_wait_ms=soon", "fetch_max_wait_ms is a number"),
        ("kafka://localhost:9092/chat?security=TLS", "security is one of"),
        ("kafka://localhost:9092/chat?security=SASL_SSL", "a user and a password"),
        ("kafka://me:secret@localhost:9092/chat?security=SSL", "a user and a password"),
        ("kafka://me:secret@localhost/chat?sasl_mechanism=GSSAPI", "sasl_mechanism is one of"),
        ("kafka://localhost:9092/chat?ssl_cafile=/nowhere.pem", "ssl_cafile names no file"),
        ("kafka://localhost:9092/a/b", "a topic has"),
        ("kafka://localhost:port/chat", "host and port"),
        ("kafka://one:9092,,two:9092/chat", "is no host"),
    ],
)
def test_a_bad_option_is_told_by_the_settings(refusal: Refusal, url: str, what: str) -> None:
    sentence = refusal(BROKER_URL=url)
    assert "BROKER_URL" in sentence
    assert what in sentence
    assert "secret" not in sentence


def test_several_servers_a_topic_and_defaults_are_read() -> None:
    options = read_url("kafka://one,two:9093/chat?replication=3")
    assert options.connection == {
        "bootstrap_servers": ["one:9092", "two:9093"],
        "security_protocol": "PLAINTEXT",
    }
    assert (options.topic, options.partitions, options.replication) == ("chat", 1, 3)
    assert read_url("kafka://localhost").topic == PROJECT_NAME


def test_event_hubs_can_be_named() -> None:
    secret = "Endpoint=sb://space.servicebus.windows.net/;SharedAccessKey=a+b/c="
    quoted = secret.replace("/", "%2F").replace("+", "%2B").replace(":", "%3A")
    options = read_url(
        f"kafka://$ConnectionString:{quoted}@space.servicebus.windows.net:9093/hub"
        "?security=SASL_SSL&sasl_mechanism=PLAIN"
    )
    assert options.connection["bootstrap_servers"] == ["space.servicebus.windows.net:9093"]
    assert options.connection["sasl_plain_username"] == "$ConnectionString"
    assert options.connection["sasl_plain_password"] == secret
    assert options.connection["ssl_context"].check_hostname


def test_a_certificate_that_is_none_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    sentence = refusal(BROKER_URL=f"kafka://localhost/chat?ssl_cafile={file}")
    assert "a certificate can't be used" in sentence


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"cleanup.policy": "compact"}, "cleanup.policy=compact"),
        ({"cleanup.policy": "compact,delete"}, "cleanup.policy"),
        ({"retention.ms": "3599000"}, "HISTORY_SECONDS"),
    ],
)
def test_a_topic_that_breaks_the_promises_is_refused(settings: dict[str, str], what: str) -> None:
    with pytest.raises(LogUnavailable, match=what):
        check("chat", settings, 3600)


@pytest.mark.parametrize(
    "settings",
    [{}, {"retention.ms": "-1"}, {"cleanup.policy": "delete", "retention.ms": "3600000"}],
)
def test_another_topic_is_used_as_it_is(settings: dict[str, str]) -> None:
    check("chat", settings, 3600)


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (SaslAuthenticationFailed(), "the user or the password"),
        (UnsupportedSaslMechanismError(), "sasl_mechanism"),
        (TopicAuthorizationFailedError("chat"), "DescribeConfigs, Read"),
    ],
)
def test_a_refusal_is_a_sentence_that_says_what_to_do(error: Exception, what: str) -> None:
    with pytest.raises(LogUnavailable, match=what), told("read the topic chat"):
        raise error


def test_what_aiokafka_says_only_in_its_own_reports_is_told() -> None:
    reports = Reports()
    source = logging.getLogger("aiokafka.client")
    with reports.kept():
        source.error("Unable connect to %s: %s", "one", SaslAuthenticationFailed())
    with pytest.raises(LogUnavailable, match="the password"), told("connect", reports):
        raise OSError("unable to bootstrap")
