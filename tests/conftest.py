"""The snapshot of the working tree that all tests render, made once per run."""

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
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


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Combination], Path]:
    """Rendered projects to look at, each made once: tests leave them as they are."""

    @cache
    def project(combination: Combination) -> Path:
        return render(tmp_path_factory.mktemp(str(combination)) / "my-chat", combination)

    return project
