"""The engine knows nothing of the owner's files, and they use its public face only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import app.realtime
from tests.engine.own_project import ENGINE
from tests.support.server import PROJECT

APP = PROJECT / "app"
TESTS = PROJECT / "tests"

OWNERS = [
    path for path in sorted(APP.rglob("*.py")) if path.relative_to(APP).parts[0] not in ENGINE
]
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


def is_of_owner(module: str, name: str) -> bool:
    """Whether this imports a module of the owner."""
    if module == "app":
        return name != "PROJECT_NAME" and f"app.{name}" not in FACES
    return module.split(".")[1] not in ENGINE


def is_internal(module: str, name: str) -> bool:
    """Whether this imports what the engine, or authentication, has for itself."""
    if module == "app.realtime":
        return name not in app.realtime.__all__
    return not is_of_owner(module, name) and module != "app" and module not in FACES


def test_the_engine_imports_nothing_of_the_owner() -> None:
    modules = sorted((APP / "realtime").rglob("*.py"))
    assert len(modules) > 20
    wrong = {
        (path.relative_to(APP).as_posix(), module, name)
        for path in modules
        for module, name in imports(path)
        if not f"{module}.".startswith("app.realtime.")
        and (module, name) != ("app", "PROJECT_NAME")
    }
    assert not wrong


def test_authentication_imports_nothing_of_the_owner() -> None:
    wrong = {
        (path.relative_to(APP).as_posix(), module, name)
        for path in sorted((APP / "auth").rglob("*.py"))
        for module, name in imports(path)
        if path.name != "__main__.py"  # a command, which reads the owner's settings
        and is_of_owner(module, name)
    }
    assert not wrong


def test_the_engines_tests_import_nothing_of_the_owner() -> None:
    modules = sorted([*(TESTS / "engine").rglob("*.py"), *(TESTS / "support").rglob("*.py")])
    assert len(modules) > 50
    wrong = {
        (path.relative_to(TESTS).as_posix(), module, name)
        for path in modules
        for module, name in imports(path)
        if is_of_owner(module, name)
    }
    assert not wrong


def test_the_owner_imports_public_names_only() -> None:
    assert OWNERS
    wrong = {
        (path.relative_to(APP).as_posix(), module, name)
        for path in OWNERS
        for module, name in imports(path)
        if is_internal(module, name)
    }
    assert not wrong


def test_the_public_face_is_complete() -> None:
    names = app.realtime.__all__
    assert sorted(names, key=str.lower) == sorted(set(names), key=str.lower)
    missing = [name for name in names if not hasattr(app.realtime, name)]
    assert not missing
