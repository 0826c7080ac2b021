"""The engine knows nothing of the owner's files, and they use its public face only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import app.realtime
from tests.support.server import PROJECT

APP = PROJECT / "app"

OWNERS = [
    *(APP / f"{name}.py" for name in ("main", "settings", "events", "handlers", "permissions")),
    *sorted((APP / "routes").glob("*.py")),
]
OWNERS_MODULES = {
    *("app.main", "app.settings", "app.events", "app.handlers", "app.permissions", "app.routes")
}
FACES = {"app.auth", "app.client", "app.realtime"}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """The module and the name of each import of `app`; the name is "" for a whole module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            found = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        yield from (it for it in found if it[0].split(".")[0] == "app")


def belongs_to(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def wrong_import_of_engine(module: str, name: str) -> bool:
    if module == "app":
        return name != "PROJECT_NAME"
    return not belongs_to(module, {"app.realtime"})


def wrong_import_of_owner(module: str, name: str) -> bool:
    if module == "app":
        return name != "PROJECT_NAME" and f"app.{name}" not in OWNERS_MODULES | FACES
    if module == "app.realtime":
        return name not in app.realtime.__all__
    return module not in FACES and not belongs_to(module, OWNERS_MODULES)


def test_the_engine_imports_nothing_of_the_owner() -> None:
    modules = sorted((APP / "realtime").rglob("*.py"))
    assert len(modules) > 20
    wrong = {
        (path.relative_to(APP).as_posix(), module, name)
        for path in modules
        for module, name in imports(path)
        if wrong_import_of_engine(module, name)
    }
    assert not wrong


def test_authentication_imports_nothing_of_the_owner() -> None:
    wrong = {
        (path.relative_to(APP).as_posix(), module, name)
        for path in sorted((APP / "auth").rglob("*.py"))
        for module, name in imports(path)
        if path.name != "__main__.py"  # a command, which reads the owner's settings
        and ((module == "app" and name != "PROJECT_NAME") or belongs_to(module, OWNERS_MODULES))
    }
    assert not wrong


def test_the_owner_imports_public_names_only() -> None:
    wrong = {
        (path.relative_to(APP).as_posix(), module, name)
        for path in OWNERS
        for module, name in imports(path)
        if wrong_import_of_owner(module, name)
    }
    assert not wrong


def test_the_public_face_is_complete() -> None:
    names = app.realtime.__all__
    assert sorted(names, key=str.lower) == sorted(set(names), key=str.lower)
    missing = [name for name in names if not hasattr(app.realtime, name)]
    assert not missing
