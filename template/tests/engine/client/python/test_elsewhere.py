"""The client in another project, as `docs/client/python.md` says."""

import re
import shutil
from pathlib import Path

from tests.support.server import PROJECT, run_module

HEAVY = ("fastapi", "textual", "starlette", "app.realtime.broker")


def test_the_client_needs_three_parts_of_this_project(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("chat", "__main__.py", "__pycache__")
    shutil.copytree(PROJECT / "client", tmp_path / "client", ignore=ignored)
    (tmp_path / "app" / "realtime").mkdir(parents=True)
    (tmp_path / "app" / "__init__.py").touch()
    for name in ("app/events.py", "app/realtime/events.py"):
        shutil.copy(PROJECT / name, tmp_path / name)
    guide = (PROJECT / "docs" / "client" / "python.md").read_text()
    [code] = re.findall(r"```python\n(from app\.realtime\.events .*?)```", guide, re.DOTALL)
    (tmp_path / "app" / "realtime" / "__init__.py").write_text(code)
    (tmp_path / "check.py").write_text(
        "import sys, client, client.auth, app.events\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    result = run_module(tmp_path, "check", PYTHONPATH=str(tmp_path))
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr
