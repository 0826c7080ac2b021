"""`python -m app` with one path more: `/tasks` answers how many asyncio tasks there are."""

import asyncio

from app.__main__ import main
from app.main import app


@app.get("/tasks")
async def tasks() -> int:
    return len(asyncio.all_tasks())


if __name__ == "__main__":
    main()
