"""What BROKER_URL says about Kafka."""

import re
from pathlib import Path
from ssl import SSLContext, SSLError
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from aiokafka.helpers import create_ssl_context

from app import PROJECT_NAME

SECURITY = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

TLS_FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile")

NUMBERS = {"partitions": 1, "replication": 0, "fetch_max_wait_ms": 500}
"""Options that are numbers, and their defaults."""

NAMES = ("security", "sasl_mechanism", *TLS_FILES, *NUMBERS)


class Options(NamedTuple):
    topic: str
    partitions: int
    """Of a topic that has to be created."""
    replication: int
    """Of a topic that has to be created; 0 for 3, or as many servers as there are."""
    fetch_max_wait_ms: int
    connection: dict[str, Any]
    """Arguments for every client of aiokafka."""


def read_url(url: str) -> Options:
    """Read `kafka://user:password@host:port,host:port/topic?option=value`.

    Raises ValueError, with a reason, for what can't be used.
    """
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    given = dict(query)
    for name in given:
        if name not in NAMES:
            raise ValueError(f"there is no {name}; there are {', '.join(NAMES)}")
    user, _, password = (unquote(part) for part in credentials.partition(":"))
    security = given.get("security", default_security(credentials, given))
    if security not in SECURITY:
        raise ValueError(f"security is one of {', '.join(SECURITY)}")
    if ("SASL" in security) != bool(credentials):
        raise ValueError("a user and a password go with security=SASL_SSL or SASL_PLAINTEXT")
    connection: dict[str, Any] = {
        "bootstrap_servers": [read_host(host) for host in hosts.split(",")],
        "security_protocol": security,
    }
    if credentials:
        connection |= {
            "sasl_mechanism": read_mechanism(given),
            "sasl_plain_username": user,
            "sasl_plain_password": password,
        }
    elif "sasl_mechanism" in given:
        raise ValueError("sasl_mechanism needs a user and a password")
    if security.endswith("SSL"):
        connection["ssl_context"] = read_tls(given)
    elif any(name in given for name in TLS_FILES):
        raise ValueError("certificates go with security=SSL or SASL_SSL")
    numbers = {name: read_number(given, name) for name in NUMBERS}
    return Options(read_topic(parts.path), connection=connection, **numbers)


def default_security(credentials: str, given: dict[str, str]) -> str:
    """TLS where there is a secret or a certificate, and not without them."""
    if credentials:
        return "SASL_SSL"
    return "SSL" if any(name in given for name in TLS_FILES) else "PLAINTEXT"


def read_host(text: str) -> str:
    match = re.fullmatch(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?", text)
    if match is None or int(match[2] or 9092) > 65535:
        raise ValueError(f"{text or 'nothing'} is no host and port, as in localhost:9092")
    return f"{match[1]}:{match[2] or 9092}"


def read_topic(path: str) -> str:
    topic = path.removeprefix("/") or PROJECT_NAME
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic):
        raise ValueError("a topic has letters, digits, dots, underscores and hyphens")
    return topic


def read_mechanism(given: dict[str, str]) -> str:
    mechanism = given.get("sasl_mechanism", "PLAIN")
    if mechanism not in MECHANISMS:
        raise ValueError(f"sasl_mechanism is one of {', '.join(MECHANISMS)}")
    return mechanism


def read_number(given: dict[str, str], name: str) -> int:
    if name not in given:
        return NUMBERS[name]
    if not re.fullmatch(r"[1-9][0-9]{0,4}", given[name]):
        raise ValueError(f"{name} is a number from 1 to 99999")
    return int(given[name])


def read_tls(given: dict[str, str]) -> SSLContext:
    for name in TLS_FILES:
        if name in given and not Path(given[name]).is_file():
            raise ValueError(f"{name} names no file: {given[name]}")
    if "ssl_keyfile" in given and "ssl_certfile" not in given:
        raise ValueError("ssl_keyfile needs ssl_certfile")
    cafile, certfile, keyfile = (given.get(name) for name in TLS_FILES)
    try:
        context: SSLContext = create_ssl_context(cafile=cafile, certfile=certfile, keyfile=keyfile)
    except (SSLError, OSError) as error:
        raise ValueError(f"a certificate can't be used: {error}") from error
    return context
