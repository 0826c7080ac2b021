"""The example with two more routes, which show what can't be seen from outside.

`/tasks` returns the number of asyncio tasks. `/trim` returns freed memory to the system,
which glibc otherwise keeps for later.
"""

import asyncio
import ctypes
import gc

from app.realtime.command_line import main
from tests.engine.example import events
from tests.engine.example.main import app
from tests.engine.example.settings import load_settings


@app.get("/tasks")
async def tasks() -> int:
    return len(asyncio.all_tasks())


@app.get("/trim")
async def trim() -> None:
    gc.collect()
    trim_heap = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim_heap is not None:  # other C libraries have no such function
        trim_heap(0)


if __name__ == "__main__":
    main("tests.engine.example.main:app", events, load_settings)
