"""The format of the log, and what is not logged.

Fields go into `extra`: `logger.info("closed", extra={"connection": id, "user": user.id})`.
Never put a payload or a credential into a message, a field or the text of an exception.
"""

import json
import logging
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

NO_FIELDS = frozenset([*RESERVED_ATTRS, "color_message"])
"""The attributes of every record, which are no fields. The last is uvicorn's."""


class FalseAlarms(logging.Filter):
    """Drops messages without information, and errors that are only a client's fault."""

    messages = frozenset(
        {
            # For every handshake that is refused with a response (Kludex/uvicorn#3138).
            "ASGI callable returned without completing handshake.",
            # For every socket that opens, in addition to the line with client and path.
            "connection open",
            # With a traceback. The client is told by close code 1007.
            "Invalid UTF-8 sequence received from client.",
        }
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return record.msg not in self.messages


class QueryStrings(logging.Filter):
    """Removes the query string from logged paths, because it may hold a credential."""

    def filter(self, record: logging.LogRecord) -> bool:
        names_a_path = record.name == "uvicorn.access" or '"WebSocket %s"' in str(record.msg)
        if names_a_path and isinstance(record.args, tuple):
            record.args = tuple(
                value.partition("?")[0] if isinstance(value, str) else value
                for value in record.args
            )
        return True


class TextFormatter(logging.Formatter):
    """One line for each record, and tracebacks indented, so that no text can forge a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        fields = [
            f"{name}={json.dumps(value, ensure_ascii=False, default=str)}"
            for name, value in vars(record).items()
            if name not in NO_FIELDS
        ]
        return printable(" ".join([super().formatMessage(record).rstrip(), *fields]))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"    {printable(line)}" for line in lines)


def printable(text: str) -> str:
    """The text with line ends, control characters and the like escaped as in Python."""
    if text.isprintable():  # most are
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def log_config(environment: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`: text in development, in production a JSON object a line."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "false_alarms": {"()": FalseAlarms},
            "query_strings": {"()": QueryStrings},
        },
        "formatters": {
            "development": {
                "()": TextFormatter,
                "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s",
            },
            "production": {
                "()": JsonFormatter,
                "fmt": ["levelname", "name", "message"],
                "rename_fields": {"levelname": "level", "name": "logger"},
                "reserved_attrs": list(NO_FIELDS),
                "timestamp": True,
            },
        },
        "handlers": {
            "default": {
                "class": "logging.StreamHandler",
                "formatter": environment,
                "filters": ["false_alarms", "query_strings"],
            },
        },
        "root": {"handlers": ["default"], "level": "WARNING"},
        "loggers": {"app": {"level": "INFO"}, "uvicorn": {"level": "INFO"}},
    }
