"""What the numbers depend on: the machine, and the versions of what was measured."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measure import Bench

PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "websockets",
    "broadcaster",
    "redis",
    "litestar",
    "python-socketio",
    "channels",
    "channels-redis",
    "django",
    "chanx",
    "fast-channels",
)

LIST_VERSIONS = """
import json, sys
from importlib import metadata
versions = {"python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(versions))
"""


def collect_facts(bench: Bench, rounds: int, load_average: float) -> dict[str, Any]:
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(load_average, 1),
        "kernel": platform.release(),
        "rounds": rounds,
        "pinned": bench.cores.server is not None,
        "shared_core": bench.cores.redis == bench.cores.generator,
        "peers": versions(Path(sys.executable)),
        "app": versions(bench.app_python),
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def versions(python: Path) -> dict[str, str]:
    """Those of an environment; empty where it has no such interpreter."""
    try:
        listing = subprocess.check_output([python, "-c", LIST_VERSIONS, *PACKAGES], text=True)
    except OSError:
        return {}
    found: dict[str, str] = json.loads(listing)
    return found
