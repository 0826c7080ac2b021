"""Runs the checks one after the other."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import NamedTuple

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.conformance import checks
from tests.conformance.target import Failed, Skipped, Target

SECONDS = 30.0
"""That one check may take."""

Check = Callable[[Target], Awaitable[None]]


class Outcome(NamedTuple):
    """What became of a check: "ok", "skip" or "FAIL", and why."""

    verdict: str
    title: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:4}  {self.title}{f': {self.reason}' if self.reason else ''}"


def all_checks() -> Iterator[tuple[str, Check]]:
    """Each check with its title, which is its name: the async functions of `checks/`."""
    for found in sorted(iter_modules(checks.__path__), key=lambda it: it.name):
        module: ModuleType = import_module(f"{checks.__name__}.{found.name}")
        for name, check in vars(module).items():
            is_own = inspect.iscoroutinefunction(check) and check.__module__ == module.__name__
            if is_own and not name.startswith("_"):
                yield f"{found.name}: {name.replace('_', ' ')}", check


async def run(title: str, check: Check, target: Target) -> Outcome:
    """Make one check. Whatever the server does, it ends."""
    try:
        async with asyncio.timeout(SECONDS):
            await check(target)
    except Skipped as reason:
        return Outcome("skip", title, str(reason))
    except TimeoutError:
        return Outcome("FAIL", title, "the server did not answer in time")
    except ConnectionClosed as error:
        return Outcome("FAIL", title, f"the server closed the socket: {error}")
    except (Failed, AssertionError, InvalidHandshake, OSError, LookupError, TypeError) as error:
        return Outcome("FAIL", title, f"{error}" or repr(error))
    return Outcome("ok", title)
