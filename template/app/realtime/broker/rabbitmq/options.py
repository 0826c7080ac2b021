"""What a BROKER_URL of RabbitMQ says.

    amqp://user:password@host:5672/virtual-host?stream=chat&max_age=7200

`amqps` is AMQP over TLS. Without a user, it is `guest`, and without a path, the virtual host
is `/`. A virtual host that contains a slash is written with %2F.
"""

import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from app import PROJECT_NAME

HEARTBEAT = 10
"""Seconds of silence after which RabbitMQ may close a connection."""

PORTS = {"amqp": 5672, "amqps": 5671}

MAX_LENGTH_BYTES = 2 * 1024**3
"""Bytes that the stream may take on the disk of each server that has it."""

SEGMENTS = 20
"""Files of which a full stream consists. RabbitMQ forgets whole files."""

SMALLEST_SEGMENT, LARGEST_SEGMENT = 64 * 1024, 500_000_000
"""Bytes of such a file. RabbitMQ itself takes the second, and allows no more than 3 GB."""

MARGIN_SECONDS = 120
"""How much longer than history the stream is kept, even if `max_age` is less.

Workers begin to read it before the oldest message that they want.
"""

OPTIONS = ("stream", "max_age", "max_length_bytes", "replicas", "ca", "certificate", "key")


class Options(NamedTuple):
    """Where the stream is, and how it is declared if there is none."""

    url: str
    """What aiormq takes: server, user, password and virtual host."""
    host: str
    port: int
    user: str
    virtual_host: str
    stream: str
    """Its name."""
    arguments: Mapping[str, str | int]
    """Those that declare the stream."""
    tls: ssl.SSLContext | None


def read_options(url: str, history_seconds: float) -> Options:
    """Read a URL. Raises ValueError, with a reason, if it can't be used."""
    parts = urlsplit(url)
    port = parts.port or PORTS[parts.scheme]
    if not parts.hostname:
        raise ValueError("a host is missing, as in amqp://localhost:5672")
    if parts.fragment:
        raise ValueError("a # in a user's name, a password or a path is written as %23")
    options = read_query(parts.query)
    stream = options.get("stream", PROJECT_NAME)
    if not 0 < len(stream.encode()) <= 255 or stream.startswith("amq."):
        raise ValueError("a stream's name has 1 to 255 bytes and does not begin with amq.")
    return Options(
        url=address(parts, port),
        host=parts.hostname,
        port=port,
        user=unquote(parts.username or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/",
        stream=stream,
        arguments=stream_arguments(options, history_seconds),
        tls=tls_context(parts.scheme, options),
    )


def address(parts: SplitResult, port: int) -> str:
    """The URL for aiormq, which would take options of its own from the original."""
    user, _, host = parts.netloc.rpartition("@")
    host = host if host.endswith(f":{port}") else f"{host.rstrip(':')}:{port}"
    path = quote(unquote(parts.path[1:]), safe="")
    options = f"heartbeat={HEARTBEAT}&name={quote(PROJECT_NAME)}"
    return f"{parts.scheme}://{user}{'@' if user else ''}{host}/{path}?{options}"


def read_query(query: str) -> dict[str, str]:
    """Read the options. Raises ValueError for one that does not exist, or is given twice."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            raise ValueError(f"there is no option {name}; there are {', '.join(OPTIONS)}")
        if name in options:
            raise ValueError(f"{name} is given twice")
        options[name] = value
    return options


def stream_arguments(options: Mapping[str, str], history_seconds: float) -> dict[str, str | int]:
    """The arguments that declare the stream."""
    max_age = max(number(options, "max_age", 0, 1), int(history_seconds) + MARGIN_SECONDS)
    length = number(options, "max_length_bytes", MAX_LENGTH_BYTES, SEGMENTS * SMALLEST_SEGMENT)
    arguments: dict[str, str | int] = {
        "x-queue-type": "stream",
        "x-max-age": f"{max_age}s",
        "x-max-length-bytes": length,
        "x-stream-max-segment-size-bytes": min(length // SEGMENTS, LARGEST_SEGMENT),
    }
    if "replicas" in options:
        arguments["x-initial-cluster-size"] = number(options, "replicas", 0, 1)
    return arguments


def number(options: Mapping[str, str], name: str, default: int, least: int) -> int:
    """An option that is a number. Raises ValueError if it is none, or is too small."""
    value = options.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdecimal() and int(value) >= least):
        raise ValueError(f"{name} is a whole number, and at least {least}")
    return int(value)


def tls_context(scheme: str, options: Mapping[str, str]) -> ssl.SSLContext | None:
    """What encrypts the connection. Raises ValueError for a file that can't be used."""
    named = [name for name in ("ca", "certificate", "key") if name in options]
    if scheme != "amqps":
        if named:
            raise ValueError(f"{named[0]} is for amqps only")
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("ca"))
        if "certificate" in options:
            context.load_cert_chain(options["certificate"], options.get("key"))
        elif "key" in options:
            raise ValueError("a key needs a certificate")
    except OSError as error:  # ssl.SSLError among them
        raise ValueError(f"can't use {' and '.join(named)}: {error}") from error
    return context
