"""Processes that run a module, as `python -m` does, but start in a fraction of its time.

Most of a start is the import of libraries. The fork server of `multiprocessing` imports them
once. Then it forks for each process, which imports only the application.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

_libraries = [
    __name__,
    "fastapi",
    "pydantic_settings",
    "pytest",  # multiprocessing imports what was started, and that is pytest
    "uvicorn.protocols.websockets.websockets_sansio_impl",
]

if sys.platform == "win32":  # which can't fork
    _servers = multiprocessing.get_context("spawn")
else:
    _servers = multiprocessing.get_context("forkserver")


def preload(*modules: str) -> None:
    """Have the fork server import modules that take long to import.

    They must not import the application, which has to read its own settings.
    """
    _libraries.extend(modules)


def start_process(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    *,
    is_forked: bool = True,
) -> BaseProcess:
    """Start what follows `python -m`, with these variables and no others.

    The process appends what it prints to `log`. With `is_forked=False` it becomes an
    interpreter of its own, so that its memory can be measured.
    """
    _servers.set_forkserver_preload(_libraries)  # of use only before the first start
    arguments = (list(command), folder, dict(environment), log, is_forked)
    process = _servers.Process(target=_run, args=arguments)
    process.start()
    return process


def _run(
    command: list[str], folder: Path, environment: dict[str, str], log: Path, is_forked: bool
) -> None:
    os.chdir(folder)
    with Path(os.devnull).open() as nothing, log.open("a") as file:
        for number, source in enumerate((nothing, file, file)):
            os.dup2(source.fileno(), number)
    if not is_forked:
        os.execve(sys.executable, [sys.executable, "-m", *command], environment)  # noqa: S606
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, buffering=1) for number, mode in enumerate("rww")
    )
    module, *sys.argv[1:] = command
    runpy.run_module(module, run_name="__main__", alter_sys=True)
