"""Migrations run when an update crosses their release: once, with consent, and with care."""

import ast
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from copier.errors import UnsafeTemplateError

from tests.owner import OWNERS_FILES, conflicts, hand_over
from tests.releases import take_history
from tests.template import DEFAULT, ROOT, commit, git, render, run_copier, update

SCRIPT = ROOT / "hooks" / "v0_2_0.py"
MODULES, MOVED, GONE = (runpy.run_path(str(SCRIPT))[name] for name in ("MODULES", "MOVED", "GONE"))

History = tuple[Path, list[str]]

EDITED = ["pyproject.toml"]
"""What the owner edits in a project of an earlier release."""


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A template and its releases, of which the last is the working tree."""
    template = tmp_path_factory.mktemp("history") / "template"
    return template, take_history(template)


# --- Consent ------------------------------------------------------------------


def test_a_project_of_three_releases_ago_runs_each_migration(
    tmp_path: Path, history: History
) -> None:
    template, releases = history
    folder = tmp_path / "my-chat"
    project = hand_over(render(folder, template=template, revision=releases[-4]), EDITED)
    result = run_copier("update", "--defaults", "--trust", cwd=project)
    assert result.returncode == 0, result.stderr
    ran = [line for line in result.stderr.splitlines() if "Running task" in line]
    assert len(ran) == 2  # before the update and after it
    assert all("hooks/v0_2_0.py" in line for line in ran)
    commit(project)
    again = run_copier("update", "--defaults", cwd=project)
    assert again.returncode == 0, again.stderr
    assert "Running task" not in again.stderr
    assert git(project, "status", "--porcelain") == ""


def test_copying_asks_for_no_trust(tmp_path: Path, history: History) -> None:
    template, _ = history
    project = tmp_path / "my-chat"
    result = run_copier("copy", "--defaults", template, project)
    assert result.returncode == 0, result.stderr
    assert (project / "pyproject.toml").exists()


def test_an_update_that_crosses_a_migration_asks_for_trust_and_changes_nothing(
    tmp_path: Path, history: History
) -> None:
    template, releases = history
    folder = tmp_path / "my-chat"
    project = hand_over(render(folder, template=template, revision=releases[-2]), EDITED)
    result = run_copier("update", "--defaults", cwd=project)
    assert result.returncode == 4
    assert "potentially unsafe feature: migrations" in result.stderr
    assert "--trust" in result.stderr
    assert git(project, "status", "--porcelain") == ""


def test_an_update_that_crosses_none_asks_for_no_trust(tmp_path: Path, history: History) -> None:
    template, releases = history
    folder = tmp_path / "my-chat"
    project = hand_over(render(folder, template=template, revision=releases[-3]), EDITED)
    result = run_copier("update", "--defaults", f"--vcs-ref={releases[-2]}", cwd=project)
    assert result.returncode == 0, result.stderr
    assert f"_commit: {releases[-2]}" in (project / ".copier-answers.yml").read_text()


def test_another_answer_of_the_same_release_asks_for_no_trust(
    tmp_path: Path, history: History
) -> None:
    template, releases = history
    folder = tmp_path / "my-chat"
    project = hand_over(render(folder, template=template, revision=releases[-1]))
    update(project, {"broker": "memory"}, releases[-1])
    old = hand_over(render(tmp_path / "old", template=template, revision=releases[-2]), EDITED)
    with pytest.raises(UnsafeTemplateError):
        update(old, {"broker": "memory"}, releases[-1])


# --- v0.2.0: imports of what moved --------------------------------------------

OWN_TABLE = '''"""A table and an endpoint of the owner's own."""

from typing import Annotated

from fastapi import APIRouter, Depends, WebSocket
from sqlalchemy.orm import Mapped, mapped_column

from app.auth import CurrentUser, User
from app.auth.accounts import Account, AccountsStore, Base, digest
from app.connection import accept

router = APIRouter()


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)


async def name_of(user: CurrentUser) -> str:
    assert isinstance(user, User)
    return digest(user.name)


@router.websocket("/mine")
async def mine(
    socket: WebSocket, name: Annotated[str, Depends(name_of)], accounts: AccountsStore
) -> None:
    async with accounts.transaction() as session:
        await session.get(Account, 1)
    await accept(socket)
'''


@pytest.mark.parametrize("auth", ["cookie", "jwt"])
def test_the_owners_modules_can_be_imported_after_the_update(
    tmp_path: Path, history: History, auth: str
) -> None:
    template, releases = history
    chosen = replace(DEFAULT, auth=auth)
    folder = tmp_path / "my-chat"
    project = hand_over(render(folder, chosen, template=template, revision=releases[-2]), EDITED)
    own = project / "app" / "orders.py"
    own.write_text(OWN_TABLE)
    assert import_error(project, "app.orders") == ""
    commit(project)
    result = run_copier("update", "--defaults", "--trust", cwd=project)
    assert result.returncode == 0, result.stderr
    assert conflicts(project) == []
    assert import_error(project, "app.orders") == ""
    expected = OWN_TABLE.replace(
        "from app.auth.accounts import Account, AccountsStore, Base, digest\n",
        "from app.auth import Base\n"
        "from app.auth.accounts.logins import digest\n"
        "from app.auth.accounts.store import Account, AccountsStore\n",
    ).replace("from app.connection", "from app.realtime.server.handshake")
    assert own.read_text() == expected
    assert "app/orders.py: imports what moved from where it is now." in result.stdout
    for line, sentence in (
        ("class Order(Base):", "Order: a start does not create tables any more"),
        ("    async with accounts.transaction() as session:", "Accounts.transaction() is gone"),
    ):
        number = expected.splitlines().index(line) + 1
        assert f"app/orders.py:{number}: {sentence}" in result.stdout


def import_error(project: Path, module: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stderr


def test_every_name_that_left_its_module_is_known(tmp_path: Path, history: History) -> None:
    template, releases = history
    new = releases[releases.index("v0.2.0")]
    missing = set()
    found = set()
    for auth in ("cookie", "jwt", "none"):
        chosen = replace(DEFAULT, auth=auth)
        before, after = (
            render(tmp_path / f"{auth}-{tag}", chosen, template=template, revision=tag)
            for tag in (releases[releases.index("v0.2.0") - 1], new)
        )
        missing |= set(public_names(before)) - set(public_names(after))
        found |= set(public_names(after))
    unknown = {
        (module, name)
        for module, name in missing - GONE.keys()
        if not {(MOVED.get((module, name)), name), (MODULES.get(module), name)} & found
    }
    assert not unknown
    assert GONE.keys() | MOVED.keys() <= missing


def public_names(project: Path) -> Iterator[tuple[str, str]]:
    """What may be imported from each module: what it defines, or lists in `__all__`."""
    for path in (project / "app").rglob("*.py"):
        module = ".".join(path.relative_to(project).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            names: list[str] = []
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    names = [node.name]
                case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=elements)):
                    names = [str(it.value) for it in elements if isinstance(it, ast.Constant)]
                case ast.Assign(targets=[ast.Name(id=name)]):
                    names = [name]
                case ast.AnnAssign(target=ast.Name(id=name)):
                    names = [name]
            for name in names:
                if not name.startswith("_"):
                    yield module.removesuffix(".__init__"), name


def test_files_of_the_owner_get_their_new_form_and_git_keeps_the_old_one(
    tmp_path: Path, history: History
) -> None:
    template, releases = history
    project = render(tmp_path / "my-chat", template=template, revision=releases[-2])
    hand_over(project, ["app/main.py"])
    git(project, "rm", "--quiet", "-r", "tests")
    commit(project)
    before = (project / "app" / "main.py").read_text()
    result = run_copier("update", "--defaults", "--trust", cwd=project)
    assert result.returncode == 0, result.stderr
    assert conflicts(project) == []
    assert "These files have a new form: app/main.py, " in result.stdout
    assert "git show HEAD:app/main.py" in result.stdout
    fresh = render(tmp_path / "new" / "my-chat", template=template)
    for name in OWNERS_FILES:
        assert (project / name).read_bytes() == (fresh / name).read_bytes(), name
    assert git(project, "show", "HEAD:app/main.py") == before


def test_the_new_form_of_the_owners_files_is_left_alone(project: Path) -> None:
    main = project / "app" / "main.py"
    main.write_text("# The owner's.\n")
    assert migrate(project, "before") == ""
    assert main.read_text() == "# The owner's.\n"


# --- v0.2.0: with care --------------------------------------------------------

FILES = {
    "app/auth/__init__.py": '__all__ = ["Base", "CurrentUser"]\nCurrentUser = 1\n',
    "app/auth/accounts/__init__.py": "",
    "app/auth/accounts/logins.py": "def digest(): pass\ndef next_token(): pass\n",
    "app/auth/accounts/store.py": "Account = 1\n",
    "app/auth/jwt.py": "",
    "app/auth/tokens.py": "BadToken: int = 1\nREFRESH_SECONDS = 1\nmake_access_token = 1\n"
    "read_access_token = 1\n",
    "app/realtime/__init__.py": "",
    "app/realtime/server/handshake.py": "async def accept(): pass\n",
    "app/realtime/settings.py": "Seconds = 1\n",
    "app/settings.py": "class Settings: pass\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What the script needs of a project of v0.2.0: modules with names."""
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / ".gitignore").write_text(".venv/\n")
    git(tmp_path, "init", "--quiet", str(root))
    commit(root)
    return root


def migrate(project: Path, stage: str = "after") -> str:
    """Run the script as copier does. The answer is what it says."""
    result = subprocess.run(
        [sys.executable, SCRIPT],
        cwd=project,
        capture_output=True,
        check=True,
        env=os.environ | {"STAGE": stage, "VERSION_FROM": "v0.1.0", "VERSION_TO": "v0.2.0"},
    )
    assert result.stderr == b""
    return result.stdout.decode()


REWRITTEN = [
    ("from app.auth.accounts import Base", "from app.auth import Base"),
    ("from app.auth.accounts import Account", "from app.auth.accounts.store import Account"),
    ("from app.auth.accounts import Base as B, Base", "from app.auth import Base as B, Base"),
    ("from app.auth.accounts import Base  # why", "from app.auth import Base  # why"),
    (
        "from app.auth.accounts import (\n    # why\n    Base,\n)",
        "from app.auth import (\n    # why\n    Base,\n)",
    ),
    ("from app.auth.accounts import Base; x = 1", "from app.auth import Base; x = 1"),
    (
        "if True:\n    from app.settings import Settings as S, Seconds as B",
        "if True:\n    from app.realtime.settings import Seconds as B\n"
        "    from app.settings import Settings as S",
    ),
    (
        "from app.auth.jwt import REFRESH_SECONDS, BadToken, make_access_token, next_token, "
        "read_access_token",
        "from app.auth.accounts.logins import next_token\n"
        "from app.auth.tokens import REFRESH_SECONDS, BadToken, make_access_token, "
        "read_access_token",
    ),
    (
        "é = 1\r\nfrom app.auth.accounts import Base\r",
        "é = 1\r\nfrom app.auth import Base\r",
    ),
    (
        "from app.settings import Settings, Seconds\r",
        "from app.realtime.settings import Seconds\r\nfrom app.settings import Settings\r",
    ),
    ("from app.auth.accounts import \\\n    Base", "from app.auth import \\\n    Base"),
]


@pytest.mark.parametrize(("before", "after"), REWRITTEN)
def test_an_import_is_rewritten_and_the_rest_is_left(
    project: Path, before: str, after: str
) -> None:
    own = project / "mine.py"
    own.write_bytes(f"# Before\n{before}\n# After\n".encode())
    said = migrate(project)
    assert own.read_bytes().decode() == f"# Before\n{after}\n# After\n"
    assert said.startswith("mine.py: imports what moved from where it is now.\n")
    assert git(project, "status", "--porcelain").split() == ["??", "mine.py"]
    assert migrate(project) == ""
    assert own.read_bytes().decode() == f"# Before\n{after}\n# After\n"


LEFT = [
    (
        "from app.settings import Settings, Seconds  # why",
        "import from app.realtime.settings instead: Seconds.",
    ),
    (
        "from app.settings import (\n    Settings,  # why\n    Seconds,\n)",
        "import from app.realtime.settings instead: Seconds.",
    ),
    (
        "x = 1; from app.auth.accounts import Account, Base",
        "import from app.auth.accounts.store, app.auth instead: Account, Base.",
    ),
    (
        "x = 1; from app.connection import accept",
        "import from app.realtime.server.handshake instead: accept.",
    ),
    (
        "from app.auth.accounts import open_accounts",
        "app.auth.accounts.open_accounts: it is gone, use open_database of "
        "app.auth.accounts.database, and Accounts(database).",
    ),
    (
        "from app.manager import no_such_name",
        "app.manager.no_such_name: it is gone, see app/realtime/__init__.py for what the engine "
        "offers now.",
    ),
    (
        "from app.auth.cookie import COOKIE",
        "app.auth.cookie.COOKIE: it is gone, see app/realtime/__init__.py for what the engine "
        "offers now.",
    ),
    (
        "import app.auth.accounts; print(app.auth.accounts.digest)",
        "app.auth.accounts.digest: it is in app.auth.accounts.logins now.",
    ),
    (
        "from app.auth import accounts as a; print(a.digest)",
        "app.auth.accounts.digest: it is in app.auth.accounts.logins now.",
    ),
    ("import app.auth.jwt as\n", "can't be parsed. Look at what it imports from app."),
]


@pytest.mark.parametrize(("text", "sentence"), LEFT)
def test_what_is_not_safe_to_change_is_said_and_left(
    project: Path, text: str, sentence: str
) -> None:
    own = project / "mine.py"
    own.write_text(text + "\n")
    expected = f"What is left to you:\n  mine.py:1: {sentence}\n"
    assert migrate(project) == expected
    assert migrate(project) == expected
    assert own.read_text() == text + "\n"


def test_a_name_that_the_owner_kept_in_its_place_stays(project: Path) -> None:
    accounts = project / "app" / "auth" / "accounts" / "__init__.py"
    accounts.write_text("Account = 1\nclass Base: pass\ndef digest(): pass\n")
    own = project / "mine.py"
    own.write_text("from app.auth.accounts import Base, digest\n")
    assert migrate(project) == ""
    assert own.read_text() == "from app.auth.accounts import Base, digest\n"


def test_only_modules_of_the_project_are_touched(project: Path) -> None:
    text = "from app.auth.accounts import Base\n"
    ignored, linked = project / ".venv" / "lib.py", project / "linked.py"
    ignored.parent.mkdir()
    ignored.write_text(text)
    linked.symlink_to(ignored)
    assert migrate(project) == ""
    assert ignored.read_text() == text


def test_a_project_without_anything_of_its_own_is_told_nothing(project: Path) -> None:
    assert migrate(project) == ""
    assert git(project, "status", "--porcelain") == ""
