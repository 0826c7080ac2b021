"""Where the log goes, and what is kept out of it."""

import logging
from copy import deepcopy
from typing import Any

from uvicorn.config import LOGGING_CONFIG


class FalseAlarms(logging.Filter):
    """Drops what uvicorn logs as errors though only a client did something wrong."""

    messages = frozenset(
        {
            # Of every handshake that is refused with a response (Kludex/uvicorn#3138).
            "ASGI callable returned without completing handshake.",
            # With a traceback; the client is told with close code 1007.
            "Invalid UTF-8 sequence received from client.",
        }
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return record.msg not in self.messages


def log_config() -> dict[str, Any]:
    """Uvicorn's logging, with the application's own messages beside it."""
    config: dict[str, Any] = deepcopy(LOGGING_CONFIG)
    config["filters"] = {"false_alarms": {"()": FalseAlarms}}
    config["handlers"]["default"]["filters"] = ["false_alarms"]
    config["loggers"]["app"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config
