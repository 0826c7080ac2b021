"""The snapshot of the working tree that all tests render, made once per run."""

import fcntl
import os
import shutil
import tempfile
from functools import cache
from itertools import chain, islice
from pathlib import Path

import pytest

from tests.postgres_server import FOLDER_VARIABLE, copy_postgres
from tests.scratch import make_scratch_folder
from tests.template import (
    SNAPSHOT_VARIABLE,
    Combination,
    Rendered,
    render,
    snapshot,
    take_snapshot,
)

SCRATCH = pytest.StashKey[Path]()
"""What to remove in the end."""


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # an xdist worker inherits the variables
        return
    config.stash[SCRATCH] = folder = make_scratch_folder()
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None  # it was asked before
    repository, binaries = folder / "template", folder / "postgres"
    take_snapshot(repository)
    os.environ[SNAPSHOT_VARIABLE] = str(repository)
    copy_postgres(binaries)
    os.environ[FOLDER_VARIABLE] = str(binaries)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode, config: pytest.Config
) -> None:
    """Say where the files are that somebody will want to look at."""
    if exitstatus == pytest.ExitCode.TESTS_FAILED and SCRATCH in config.stash:
        folder = config.stash[SCRATCH]
        terminalreporter.write_line(f"What the failed tests wrote is in {folder}: remove it.")
        del config.stash[SCRATCH]


def pytest_unconfigure(config: pytest.Config) -> None:
    if SCRATCH in config.stash:
        shutil.rmtree(config.stash[SCRATCH])


# These take minutes. One that began last would keep everybody waiting.
LONGEST = (
    "test_suite_passes_and_skips_nothing[none-rabbitmq-none]",
    "test_suite_passes_and_skips_nothing[cookie-redis-none]",
    "test_suite_passes_and_skips_nothing[ticket-redis-none]",
    "test_suite_passes_and_skips_nothing[none-postgres-none]",
    "test_suite_passes_and_skips_nothing[none-nats-none]",
    "test_suite_passes_and_skips_nothing[none-kafka-none]",
    "test_suite_passes_and_skips_nothing[jwt-redis-none]",
    "test_suite_passes_and_skips_nothing[none-redis-none]",
    "test_suite_passes_and_skips_nothing[first_message-redis-none]",
    "test_suite_passes_with_its_own_dependencies_alone",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deal the longest to the workers, each of which pytest-xdist gives a stretch of the list."""
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    longest = [item for name in LONGEST for item in items if item.name.startswith(name)]
    others = iter([item for item in items if item not in longest])
    stretches: list[list[pytest.Item]] = [longest[worker::workers] for worker in range(workers)]
    left = len(items)
    for number, stretch in enumerate(stretches):
        size = left // (workers - number)
        stretch.extend(islice(others, max(0, size - len(stretch))))
        left -= len(stretch)
    items[:] = [*chain(*stretches), *others]


@pytest.fixture(scope="session")
def rendered() -> Rendered:
    """Rendered projects to look at, each made once in a run: tests leave them as they are."""
    folder = snapshot().with_name("rendered")

    @cache
    def project(combination: Combination) -> Path:
        home = folder / str(combination)
        home.mkdir(parents=True, exist_ok=True)
        destination = home / "my-chat"
        with (home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another of pytest's workers may be making it
            return destination if destination.exists() else render(destination, combination)

    return project
