"""Where the tests write."""

import os
import tempfile
from pathlib import Path

import pytest

from tests import scratch


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as memory, and is large enough."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "MEMORY", folder)
    monkeypatch.setattr(scratch, "ENOUGH", 1)
    monkeypatch.delenv("TMPDIR")
    return folder


def test_memory_is_taken(memory: Path) -> None:
    assert scratch.make_scratch_folder().parent == memory


def test_a_folder_of_choice_is_preferred(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(memory.parent))
    assert scratch.make_scratch_folder().parent == memory.parent


@pytest.mark.parametrize("lack", ["there", "room", "programs"])
def test_memory_is_left_that_will_not_do(
    memory: Path, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    if lack == "there":
        memory.rmdir()
    elif lack == "room":
        monkeypatch.setattr(scratch, "ENOUGH", 1 << 60)
    else:
        values = list(os.statvfs(memory))
        values[8] |= os.ST_NOEXEC
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    assert scratch.make_scratch_folder().parent == memory.parent
