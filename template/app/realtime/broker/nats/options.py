"""What BROKER_URL says about NATS."""

import re
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from app import PROJECT_NAME

DEFAULT_PORT = 4222

NAMES = ("stream", "replicas", "storage", "token", "creds", "tls_ca", "tls_cert", "tls_key")
"""The options of the URL."""


class Options(NamedTuple):
    """Where the servers are, how to log in, and which stream to use."""

    servers: tuple[str, ...]
    """Addresses as nats-py takes them, without a user or a password."""
    has_tls: bool
    """Whether a server without TLS is refused."""
    tls: ssl.SSLContext | None
    user: str | None
    password: str | None
    token: str | None
    creds: str | None
    """The path of a credentials file, as `nsc` writes it."""
    stream: str
    replicas: int | None
    """How many servers of a cluster keep the stream. None leaves it as it is, at first 1."""
    storage: str | None
    """Where a new stream is kept: "file", which is the default, or "memory"."""


def read_options(url: str) -> Options:
    """Read a URL. Raises ValueError, with a reason, for one that can't be used."""
    parts = urlsplit(url)
    if parts.path not in ("", "/"):
        raise ValueError(f"a NATS URL has no path, and this one has {parts.path}")
    if parts.fragment:
        raise ValueError("a NATS URL has no fragment (write # as %23)")
    options = read_query(parts)
    login, _, hosts = parts.netloc.rpartition("@")
    user, separator, password = login.partition(":")
    token = options.get("token")
    if user and not separator:  # as in other clients of NATS, a token
        user, token = "", unquote(user)
    has_tls = parts.scheme == "tls"
    return Options(
        servers=tuple(read_server(host, has_tls=has_tls) for host in hosts.split(",")),
        has_tls=has_tls,
        tls=read_tls(options, has_tls=has_tls),
        user=unquote(user) or None,
        password=unquote(password) if user else None,
        token=token,
        creds=read_creds(options.get("creds")),
        stream=read_stream(options.get("stream")),
        replicas=read_replicas(options.get("replicas")),
        storage=read_storage(options.get("storage")),
    )


def read_query(parts: SplitResult) -> dict[str, str]:
    """The options behind the question mark."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in NAMES:
            raise ValueError(f"there is no {name} (there are {', '.join(NAMES)})")
        if name in options:
            raise ValueError(f"{name} is given twice")
        if not value:
            raise ValueError(f"{name} has no value")
        options[name] = value
    return options


def read_server(host: str, *, has_tls: bool) -> str:
    """One address of the URL, with its port."""
    parts = urlsplit(f"//{host}")
    if not parts.hostname:
        raise ValueError("a server has no name, as in nats://localhost:4222")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = DEFAULT_PORT if parts.port is None else parts.port
    return f"{'tls' if has_tls else 'nats'}://{name}:{port}"


def read_tls(options: dict[str, str], *, has_tls: bool) -> ssl.SSLContext | None:
    files = {name: options[name] for name in ("tls_ca", "tls_cert", "tls_key") if name in options}
    if not has_tls:
        if files:
            raise ValueError(f"{', '.join(files)} needs a URL that begins with tls://")
        return None
    if ("tls_cert" in files) is not ("tls_key" in files):
        raise ValueError("tls_cert and tls_key belong together")
    try:
        context = ssl.create_default_context(cafile=files.get("tls_ca"))
        if "tls_cert" in files:
            context.load_cert_chain(files["tls_cert"], files["tls_key"])
    except OSError as error:  # which those of ssl are, too
        raise ValueError(f"{', '.join(files)} can't be used: {error}") from error
    return context


def read_creds(path: str | None) -> str | None:
    if path is not None and not Path(path).is_file():
        raise ValueError(f"creds names a file that is not there: {path}")
    return path


def read_stream(name: str | None) -> str:
    if name is None:
        return PROJECT_NAME.replace(".", "-")  # which would end a token of a subject
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ValueError("stream has to be 1 to 64 letters, digits, hyphens and underscores")
    return name


def read_replicas(number: str | None) -> int | None:
    if number is None:
        return None
    if number not in ("1", "2", "3", "4", "5"):
        raise ValueError("replicas has to be a number from 1 to 5")
    return int(number)


def read_storage(kind: str | None) -> str | None:
    if kind not in (None, "file", "memory"):
        raise ValueError("storage has to be file or memory")
    return kind
