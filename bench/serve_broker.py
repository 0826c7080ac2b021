"""Run the broker of a project until stdin is closed. Prints its URL when it answers.

It is run by the project's interpreter, in the project's folder. The arguments are options of the
server, as NAME=VALUE.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.support.broker import Server


async def main(folder: Path) -> None:
    options = dict(argument.split("=") for argument in sys.argv[1:])
    async with Server(folder, **options).running() as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-broker-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)  # PostgreSQL runs as another user than root
        asyncio.run(main(Path(name)))
