"""Where the log goes, and what is kept out of it."""

import logging
from copy import deepcopy
from typing import Any

from uvicorn.config import LOGGING_CONFIG


class FalseAlarms(logging.Filter):
    """Drops what uvicorn says of every handshake that is refused with a response.

    It takes the refusal for an incomplete handshake (Kludex/uvicorn#3138).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return record.msg != "ASGI callable returned without completing handshake."


def log_config() -> dict[str, Any]:
    """Uvicorn's logging, with the application's own messages beside it."""
    config: dict[str, Any] = deepcopy(LOGGING_CONFIG)
    config["filters"] = {"false_alarms": {"()": FalseAlarms}}
    config["handlers"]["default"]["filters"] = ["false_alarms"]
    config["loggers"]["app"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config
