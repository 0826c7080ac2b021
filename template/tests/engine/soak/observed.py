"""`python -m app` with two paths more, for what can't be seen from outside.

`/tasks` answers how many asyncio tasks there are. `/trim` gives memory that was freed
back to the system: glibc keeps it for later where something in use lies behind it.
"""

import asyncio
import ctypes
import gc

from app.__main__ import main
from app.main import app


@app.get("/tasks")
async def tasks() -> int:
    return len(asyncio.all_tasks())


@app.get("/trim")
async def trim() -> None:
    gc.collect()
    trim_heap = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim_heap is not None:  # other C libraries do without
        trim_heap(0)


if __name__ == "__main__":
    main()
