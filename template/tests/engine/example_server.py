"""The servers of the engine's tests, which run `tests/engine/example/`."""

from collections.abc import Sequence
from pathlib import Path

from tests.support.server import AppServer

EXAMPLE = ("tests.engine.example",)
PLAIN_UVICORN = ("uvicorn", "tests.engine.example.main:app")
"""A server that takes no prebuilt frames. Its own settings are variables `UVICORN_…`."""


class ExampleServer(AppServer):
    """A server of the example."""

    def __init__(
        self, folder: Path, environment: dict[str, str], command: Sequence[str] = EXAMPLE
    ) -> None:
        super().__init__(folder, environment, command)
