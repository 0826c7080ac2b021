"""The snapshot of the working tree that all tests render, made once per run."""

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from itertools import chain, islice
from pathlib import Path

import pytest

from tests.postgres_server import FOLDER_VARIABLE, copy_postgres
from tests.template import SNAPSHOT_VARIABLE, Combination, render, snapshot, take_snapshot


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        folder = tempfile.mkdtemp(prefix="template-")
        take_snapshot(Path(folder))
        os.environ[SNAPSHOT_VARIABLE] = folder  # xdist's workers inherit it
        binaries = tempfile.mkdtemp(prefix="postgres-")
        copy_postgres(Path(binaries))
        os.environ[FOLDER_VARIABLE] = binaries


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and SNAPSHOT_VARIABLE in os.environ:
        shutil.rmtree(snapshot())
        shutil.rmtree(os.environ[FOLDER_VARIABLE])


# These take minutes. One that began last would keep everybody waiting.
LONGEST = (
    "test_suite_passes_and_skips_nothing[cookie-redis-none]",
    "test_suite_passes_and_skips_nothing[ticket-redis-none]",
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
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Combination], Path]:
    """Rendered projects to look at, each made once: tests leave them as they are."""

    @cache
    def project(combination: Combination) -> Path:
        return render(tmp_path_factory.mktemp(str(combination)) / "my-chat", combination)

    return project
