"""Where the tests write: in memory, where the machine offers that.

They make and remove small files by the thousand. On a disk, that took more than half of
the time of those that switch answers.
"""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - the folder made there is the run's own
ENOUGH = 4 << 30
"""Bytes. Four workers were seen to need a fifth of that, and there may be sixteen."""


def make_scratch_folder() -> Path:
    """Make a folder that lies in memory, if that has room and may hold programs."""
    parent = MEMORY if "TMPDIR" not in os.environ and _is_suitable(MEMORY) else None
    folder = Path(tempfile.mkdtemp(prefix="template-tests-", dir=parent))
    folder.chmod(0o711)  # PostgreSQL runs as somebody else there
    return folder


def _is_suitable(folder: Path) -> bool:
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    may_execute = not os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return may_execute and min(shutil.disk_usage(folder).free, memory // 2) >= ENOUGH
