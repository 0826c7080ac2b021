"""A module that runs in a fork behaves as with `python -m`."""

from pathlib import Path

import pytest

from tests.support.quick_start import start_process

PATIENCE = 20.0

PROBE = """
import os, sys
assert __name__ == sys.modules["__main__"].__name__ == "__main__"
print(sys.argv[1:], sorted(os.environ.items()), os.getcwd(), repr(sys.stdin.read()))
print("to stderr", file=sys.stderr)
raise SystemExit("a sentence")
"""


@pytest.mark.parametrize("is_forked", [True, False])
def test_a_module_runs_as_with_python_m(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_forked: bool
) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    monkeypatch.syspath_prepend(tmp_path)
    environment = {"LC_ALL": "C.UTF-8", "PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    log = tmp_path / "log"
    log.write_text("before\n")

    process = start_process(["probe", "--option"], tmp_path, environment, log, is_forked=is_forked)
    process.join(PATIENCE)

    assert process.exitcode == 1
    before, printed, *errors = log.read_text().splitlines()
    assert before == "before"
    assert printed == f"['--option'] {sorted(environment.items())} {tmp_path} ''"
    assert errors == ["to stderr", "a sentence"]
