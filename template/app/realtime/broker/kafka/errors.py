"""Kafka's errors, as sentences for the operator."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from app.realtime.broker.log.base import LogUnavailable

logger = logging.getLogger(__name__)

WrongPassword = (AuthenticationFailedError, SaslAuthenticationFailed)
WrongMechanism = (AuthenticationMethodNotSupported, UnsupportedSaslMechanismError)
MissingRight = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)


class Reports(logging.Handler):
    """Keeps aiokafka's last report.

    It says why a server could not be reached only in its log. It repeats itself there for as
    long as an outage lasts, so the reports are passed on for debugging only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last: BaseException | None = None
        """The last error that was reported."""

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        self.last = next((it for it in arguments if isinstance(it, BaseException)), self.last)
        logger.debug("%s", record.getMessage())

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the reports of the block."""
        self.last = None
        source = logging.getLogger("aiokafka")
        source.addHandler(self)
        source.propagate = False
        try:
            yield
        finally:
            source.removeHandler(self)


@contextmanager
def told(what: str, reports: Reports | None = None) -> Iterator[None]:
    """Raise aiokafka's errors as LogUnavailable, which says what could not be done and why."""
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        cause = reports.last if reports is not None and reports.last is not None else error
        raise LogUnavailable(f"could not {what}: {explain(cause)}") from error


def explain(error: BaseException) -> str:
    """Say why, and what to do about it if that is known."""
    if isinstance(error, WrongPassword):
        return "Kafka refused the user or the password of BROKER_URL"
    if isinstance(error, WrongMechanism):
        return f"Kafka does not offer the sasl_mechanism of BROKER_URL ({error})"
    if isinstance(error, MissingRight):
        return (
            "the user of BROKER_URL has no right to. It needs Describe, DescribeConfigs, Read "
            "and Write for the topic, and Create to create it"
        )
    return f"{type(error).__name__} {error}".strip()
