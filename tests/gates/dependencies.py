"""A rendered project imports what it declares, and declares what it imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

OWN_PACKAGES = {"app", "client", "tests"}

NEVER_IMPORTED = {
    "aiosqlite": "SQLAlchemy imports it when DATABASE_URL names it",
    "asyncpg": "SQLAlchemy imports it when the tests have a PostgreSQL",
    "confluent-kafka": "the tests' Kafka is a program that uses it",
    "confusable-homoglyphs": "names.py reads its table of characters",
    "fastapi-cli": "it is the command `fastapi`",
    "mypy": "it is a command",
    "pytest-asyncio": "pytest loads it",
    "python-multipart": "FastAPI imports it to read forms",
    "ruff": "it is a command",
    "schemathesis": "it is a command",
}
"""Dependencies that no import shows."""


PARTS = {"pydantic_core": "pydantic"}
"""Import packages of a distribution that another one shows as its own."""


def undeclared_or_unused(project: Path) -> list[str]:
    """What is imported and not declared for that place, and the other way round."""
    declared = tomllib.loads((project / "pyproject.toml").read_text())
    runtime = {name_of(text) for text in declared["project"]["dependencies"]}
    groups = declared["dependency-groups"]
    of_client = {name_of(text) for text in groups.pop("client", ())}
    development = {name_of(text) for group in groups.values() for text in group}
    in_app = set(imported(project / "app"))
    in_client = set(imported(project / "client"))
    in_tests = set(imported(project / "tests"))
    return [
        *(f"app imports {name}: no dependency" for name in sorted(in_app - runtime)),
        *(
            f"tests import {name}: no dependency, nor in a group"
            for name in sorted(in_tests - runtime - development - of_client)
        ),
        *(
            f"client imports {name}: no dependency, nor in its group"
            for name in sorted(in_client - runtime - of_client)
        ),
        *(
            f"{name}: in the client's group, but it does not import it"
            for name in sorted(of_client - in_client)
        ),
        *(
            f"{name}: a dependency that app does not import"
            for name in sorted(runtime - in_app - NEVER_IMPORTED.keys())
        ),
        *(
            f"{name}: in a group, but tests do not import it"
            for name in sorted(development - in_tests - NEVER_IMPORTED.keys())
        ),
        *(f"{name}: declared twice" for name in sorted(runtime & development)),
    ]


def name_of(requirement: str) -> str:
    """The normalized name in a requirement such as `pwdlib[argon2]>=0.3`."""
    matched = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert matched is not None, requirement
    return normalized(matched.group())


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folder: Path) -> Iterator[str]:
    """The distributions that modules under a folder import."""
    for path in folder.rglob("*.py"):
        yield from map(distribution_of, packages_in(path.read_text()))


@cache
def packages_in(source: str) -> frozenset[str]:
    """The packages of others that a module imports. Most modules are in many projects."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.append(node.module or "")
    packages = {module.partition(".")[0] for module in modules}
    return frozenset(packages - OWN_PACKAGES - sys.stdlib_module_names)


def distribution_of(package: str) -> str:
    """What installs an import package; the package itself when nothing does."""
    distributions = installed().get(package, [package])
    return PARTS.get(package) or normalized(distributions[0])


@cache
def installed() -> dict[str, list[str]]:
    return dict(packages_distributions())
