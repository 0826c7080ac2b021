"""What BROKER_URL says: where the server is, and which schema and connections to use."""

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from app import PROJECT_NAME

SCHEMES = ("postgresql", "postgres")

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

FILES = ("passfile", "sslcert", "sslcrl", "sslkey", "sslrootcert")
"""Options of a connection that name a file, which has to be there."""

OPTIONS = (
    *FILES,
    "application_name",
    "database",
    "dbname",
    "gsslib",
    "host",
    "krbsrvname",
    "password",
    "port",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "user",
)
"""Options of a connection. asyncpg would send any other one to the server, as a setting."""


class Address(NamedTuple):
    """Where messages are published, and where notifications come from."""

    url: str
    """For everything but notifications."""
    listen_url: str
    """For notifications, and to create the tables."""
    is_pooled: bool
    """Whether `url` leads to a pooler, which may use another connection for each transaction."""
    schema: str
    """Where the tables are. Notifications have its name, too."""


def read_address(url: str) -> Address:
    """Read a URL. Raises ValueError, with a reason, for one that can't be used."""
    options = read_options(url)
    schema = options.pop("schema", default_schema())
    if not re.fullmatch(r"(?!pg_)[a-z_][a-z0-9_]{0,62}", schema):
        raise ValueError(
            "schema has up to 63 lower-case letters, digits and underscores, "
            "and does not begin with a digit or pg_"
        )
    listen_url = options.pop("listen", None)
    if listen_url is not None:
        if urlsplit(listen_url).scheme not in SCHEMES:
            raise ValueError("listen is a URL like postgresql://user:password@host:5432/database")
        check_options(read_options(listen_url))
    check_options(options)
    direct = url.partition("?")[0] + (f"?{urlencode(options)}" if options else "")
    return Address(direct, listen_url or direct, listen_url is not None, schema)


def read_options(url: str) -> dict[str, str]:
    """The options in a URL. Raises ValueError for one without a value."""
    query = urlsplit(url).query
    try:
        return dict(parse_qsl(query, strict_parsing=True, keep_blank_values=True)) if query else {}
    except ValueError:
        raise ValueError("options have the form ?name=value&name=value") from None


def check_options(options: dict[str, str]) -> None:
    """Raise ValueError for an option of a connection that can't be used."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise ValueError(f"there is no option {name}")
        if name == "sslmode" and value not in SSL_MODES:
            raise ValueError(f"sslmode is one of {', '.join(SSL_MODES)}")
        if name == "port" and not re.fullmatch(r"[0-9]{1,5}(,[0-9]{1,5})*", value):
            raise ValueError("port is a number")
        if name in FILES and not Path(value).is_file():
            raise ValueError(f"{name} names a file that is not there")


def default_schema() -> str:
    """A schema for each project, so that several can share a database."""
    return "realtime_" + re.sub("[^a-z0-9]+", "_", PROJECT_NAME.lower())[:54]
