"""A project in the hands of its owner: under git, with edits and a file of their own."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.gates.files import files_in
from tests.template import commit, git

OWN_FILE = "app/routes/mine.py"
OWN_TEXT = '"""What the owner wrote."""\n'
EDITED = ("app/realtime/protocol.py", "app/events.py", "pyproject.toml")
OWNERS_FILES = (
    *("app/main.py", "app/settings.py", "app/events.py", "app/handlers.py", "app/permissions.py"),
    *("app/routes/__init__.py", "app/routes/echo.py", "tests/conftest.py", "tests/test_chat.py"),
)
"""What an update never touches."""
LAST_LINE = "\n# The owner's last line.\n"


SHOP_TEST = '''"""The promises of the shop."""

from tests.support.client import Client


async def test_an_order_is_placed_and_announced(alice: Client, bob: Client) -> None:
    await bob.join("orders")
    assert (await alice.call("order.place", amount=3))["data"] == {"number": 3}
    await bob.expect("message", room="orders", data={"number": 3})
'''


def follow_the_readme(project: Path) -> list[str]:
    """Write the application of the README, and a test of it, in place of the examples.

    Returns the names of the files that it wrote.
    """
    readme = (project / "README.md").read_text()
    blocks = re.findall(r"^```python\n# (app/\S+)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert {name for name, _ in blocks} >= {"app/events.py", "app/routes/orders.py"}
    for name, code in blocks:
        (project / name).write_text(code)
    routes = project / "app" / "routes" / "__init__.py"
    routes.write_text(routes.read_text().replace("echo", "orders"))
    (project / "app" / "routes" / "echo.py").unlink()
    (project / "tests" / "test_chat.py").unlink()
    (project / "tests" / "test_orders.py").write_text(SHOP_TEST)
    return [*(name for name, _ in blocks), "app/routes/__init__.py", "tests/test_orders.py"]


def hand_over(project: Path, edited: Sequence[str] = EDITED) -> Path:
    """Put a rendered project under git, with the owner's edits in a second commit."""
    git(project, "init", "--quiet")
    commit(project)
    (project / OWN_FILE).write_text(OWN_TEXT)
    for name in edited:
        path = project / name
        path.write_text(path.read_text() + LAST_LINE)
    commit(project)
    return project


def take_back(project: Path) -> None:
    """Forget what was not committed."""
    git(project, "reset", "--quiet", "--hard")
    git(project, "clean", "--quiet", "--force", "-dx")


def differences(project: Path, fresh: Path, edited: Sequence[str] = EDITED) -> list[str]:
    """How an updated project differs from a fresh one with the owner's edits on top."""
    rendered = {name: (fresh / name).read_bytes() for name in files_in(fresh)}
    rendered[OWN_FILE] = OWN_TEXT.encode()
    for name in edited:
        rendered[name] += LAST_LINE.encode()
    found = {name for name in files_in(project) if not name.startswith(".git/")}
    return [
        *(f"{name}: missing" for name in sorted(rendered.keys() - found)),
        *(f"{name}: unexpected" for name in sorted(found - rendered.keys())),
        *(
            f"{name}: differs"
            for name in sorted(found & rendered.keys())
            if (project / name).read_bytes() != rendered[name]
        ),
        *(f"{folder}: an empty folder" for folder in empty_folders(project)),
        *(f"{line}: git" for line in conflicts(project)),
    ]


def conflicts(project: Path) -> list[str]:
    """The files that git shows as conflicts."""
    return git(project, "diff", "--name-only", "--diff-filter=U").splitlines()


def empty_folders(project: Path) -> list[str]:
    folders = (path for path in project.rglob("*") if path.is_dir() and not any(path.iterdir()))
    names = (path.relative_to(project).as_posix() for path in folders)
    return sorted(name for name in names if not name.startswith(".git/"))
