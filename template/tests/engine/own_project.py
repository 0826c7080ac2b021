"""A project as it was when it was new, to which a test adds code as its owner would."""

import re
import shutil
from pathlib import Path

from tests.support.server import PROJECT, AppServer

ENGINE = ("__init__.py", "__main__.py", "auth", "client", "realtime")
"""What is not the owner's in `app/`."""

EXAMPLE = PROJECT / "tests" / "engine" / "example"
"""What the owner's files were."""

OWNERS_MIGRATIONS = "[0-9]*"
"""alembic begins their names with a date."""


class OwnProject:
    """A project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(EXAMPLE, folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
        for path in (folder / "app").rglob("*.py"):
            path.write_text(path.read_text().replace("tests.engine.example", "app"))
        for name in [*(f"app/{name}" for name in ENGINE), "migrations", "pyproject.toml", "web"]:
            self._copy(name)  # over the example's own __init__.py and __main__.py

    def _copy(self, name: str) -> None:
        source, copy = PROJECT / name, self.folder / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", OWNERS_MIGRATIONS)
            shutil.copytree(source, copy, ignore=ignored)
        elif source.exists():
            shutil.copy(source, copy)

    def add(self, name: str, code: str) -> None:
        """Add code to a file, or make a new one. Lists a new router."""
        path = self.folder / name
        known = path.read_text() if path.exists() else ""
        path.write_text(f"{known}\n\n{code}" if known else code)
        if name.startswith("app/routes/") and not known:
            self._list_router(path.stem)

    def replace(self, name: str, code: str) -> None:
        """Write a file."""
        (self.folder / name).write_text(code)

    def _list_router(self, module: str) -> None:
        path = self.folder / "app" / "routes" / "__init__.py"
        text = path.read_text()
        text = text.replace("from app.routes import echo", f"from app.routes import echo, {module}")
        path.write_text(text.replace("(echo.router,", f"(echo.router, {module}.router,"))


class OwnServer(AppServer):
    """A server of such a project. It is not forked: a fork would have this project's path."""

    is_forked = False

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        super().__init__(folder, {"PYTHONPATH": str(folder), **environment})


def code_blocks(markdown: str) -> list[tuple[str, str]]:
    """The Python blocks of a text whose first line names a file, with that name."""
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)
    return [(name, code) for name, code in blocks]
