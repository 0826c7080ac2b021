"""What v0.2.0 can't do by rendering: the owner's own modules import names that moved.

Imports are rewritten in place where that is safe. Everything else is printed with its
file and line, and left as it is. A second run finds its work done.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ACCOUNTS, COOKIE, JWT = "app.auth.accounts", "app.auth.cookie", "app.auth.jwt"
DATABASE, LOGINS, SESSIONS, THROTTLE, TOKENS = (
    f"app.auth.{name}" for name in ("database", "logins", "sessions", "throttle", "tokens")
)

MOVED = {
    ("app.auth", "User"): "app.auth.identity",
    (ACCOUNTS, "Base"): DATABASE,
    (ACCOUNTS, "LoggedIn"): THROTTLE,
    (ACCOUNTS, "check_password"): THROTTLE,
    (ACCOUNTS, "digest"): LOGINS,
    **{
        (COOKIE, name): SESSIONS
        for name in (
            *("COOKIE", "LoginAnswer", "SESSION_SECONDS", "SessionCookie"),
            *("login", "logout", "make_signer", "set_cookie"),
        )
    },
    **{
        (JWT, name): TOKENS
        for name in (
            *("ACCESS_SECONDS", "ALGORITHM", "BadToken", "BearerToken", "CLAIMS"),
            *("REFRESH_SECONDS", "RefreshToken", "Tokens", "answer", "login", "logout"),
            *("make_access_token", "read_access_token", "refresh"),
        )
    },
    (JWT, "next_token"): LOGINS,
    ("app.connection", "accept"): "app.handshake",
    ("app.broker.redis", "describe"): "app.broker.redis_pipeline",
    **{
        ("app.broker.redis", name): "app.broker.redis_subscriptions"
        for name in ("CANARY_DEADLINE", "CANARY_INTERVAL", "QUEUE_SIZE", "decode")
    },
}
"""Where a name is now."""

GONE = {
    (ACCOUNTS, "open_accounts"): "use open_database of app.auth.database, and Accounts(database)",
    (COOKIE, "Session"): "a session is a Login of app.auth.logins",
    (JWT, "TokenFamily"): "what a login opened is a Login of app.auth.logins",
    (JWT, "family_of"): "use id_of of app.auth.logins",
    (JWT, "revoke"): "use LiveLogins.end() of app.auth.live",
}
"""What to do without a name."""

OLD_MODULES = {module for module, _ in (*MOVED, *GONE)}
TABLES = {f"app/auth/{name}.py" for name in ("accounts", "logins", "throttle", "ticket")}
"""Modules with tables that migrations/ already knows."""

LINE_LENGTH = 100


class Edit(NamedTuple):
    """Lines of a file, counted from 0, and what replaces them."""

    start: int
    end: int
    text: bytes


class Notes:
    """What was done, and what is left to do by hand."""

    def __init__(self) -> None:
        self.rewritten: list[str] = []
        self.by_hand: list[str] = []

    def add(self, path: Path, line: int, sentence: str) -> None:
        self.by_hand.append(f"{path.as_posix()}:{line}: {sentence}")


def main() -> None:
    notes = Notes()
    for path in python_files():
        visit(path, notes)
    lines = [f"{name}: imports what moved from where it is now." for name in notes.rewritten]
    if notes.rewritten:
        lines.append("Put the imports in order: uv run ruff check --fix && uv run ruff format")
    if notes.by_hand:
        lines.append("What is left to you:")
    lines += [f"  {note}" for note in notes.by_hand]
    sys.stdout.writelines(f"{line}\n" for line in lines)


def python_files() -> list[Path]:
    """Every Python file below the current folder that git does not ignore."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"],  # noqa: S607
        check=True,
        capture_output=True,
    ).stdout.decode(errors="surrogateescape")
    paths = (Path(name) for name in sorted({*listing.split("\0")} - {""}))
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def visit(path: Path, notes: Notes) -> None:
    """Rewrite what is safe to rewrite, then note the rest, by its new lines."""
    source = path.read_bytes()
    try:
        edits = [*import_edits(path, source, Notes())]
        if edits:
            lines = source.splitlines(keepends=True)
            for edit in sorted(edits, reverse=True):
                lines[edit.start : edit.end] = [edit.text]
            source = b"".join(lines)
            path.write_bytes(source)
            notes.rewritten.append(path.as_posix())
        list(import_edits(path, source, notes))
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # with conflict markers, for example
        if any(module.encode() in source for module in OLD_MODULES - {"app.auth"}):
            notes.add(path, 1, "can't be parsed. Look at what it imports from app.")
        return
    for node, module, name in uses_by_attribute(tree):
        if is_stale(module, name):
            notes.add(path, node.lineno, f"{module}.{name}: {advice(module, name)}.")
    note_what_is_built_otherwise(path, tree, notes)


def import_edits(path: Path, source: bytes, notes: Notes) -> Iterator[Edit]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield from rewritten_import(path, source, node, notes)


def rewritten_import(path: Path, source: bytes, node: ast.ImportFrom, notes: Notes) -> list[Edit]:
    """The same names from where they are now, or none when that is up to the owner."""
    module = node.module or ""
    kept: list[ast.alias] = []
    moved: dict[str, list[ast.alias]] = {}
    for alias in node.names:
        if not is_stale(module, alias.name):
            kept.append(alias)
        elif (target := MOVED.get((module, alias.name))) and defines(target, alias.name):
            moved.setdefault(target, []).append(alias)
        else:
            notes.add(path, node.lineno, f"{module}.{alias.name}: {advice(module, alias.name)}.")
            kept.append(alias)
    if not moved:
        return []
    start, end = node.lineno - 1, node.end_lineno or node.lineno
    lines = source.splitlines(keepends=True)[start:end]
    text = b"".join(lines)
    ending = b"\r\n" if text.endswith(b"\r\n") else b"\n"
    begins_its_line = not lines[0][: node.col_offset].strip()
    if len(moved) == 1 and not kept and begins_its_line:
        (target,) = moved
        pattern = rb"(?m)\A(\s*from\s+)" + re.escape(module.encode()) + rb"(?=\s+import\b)"
        changed, count = re.subn(pattern, rb"\g<1>" + target.encode(), text)
        if count:
            return [Edit(start, end, changed)]
    if not begins_its_line or b";" in text or b"#" in text:
        names = ", ".join(alias.name for aliases in moved.values() for alias in aliases)
        notes.add(path, node.lineno, f"import from {', '.join(moved)} instead: {names}.")
        return []
    indent = lines[0][: node.col_offset].decode()
    statements = [(module, kept)] if kept else []
    statements += moved.items()
    written = [write_import(indent, *statement) for statement in sorted(statements, key=first)]
    return [Edit(start, end, "".join(written).encode().replace(b"\n", ending))]


def first(statement: tuple[str, list[ast.alias]]) -> str:
    return statement[0]


def write_import(indent: str, module: str, aliases: list[ast.alias]) -> str:
    names = [f"{it.name} as {it.asname}" if it.asname else it.name for it in aliases]
    line = f"{indent}from {module} import {', '.join(names)}"
    if len(line) <= LINE_LENGTH:
        return f"{line}\n"
    inner = "".join(f"{indent}    {name},\n" for name in names)
    return f"{indent}from {module} import (\n{inner}{indent})\n"


def uses_by_attribute(tree: ast.Module) -> Iterator[tuple[ast.Attribute, str, str]]:
    """Names that are reached through their module: the node, the module and the name."""
    modules: dict[str, str] = {}  # an expression in the source, and the module it names
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {it.asname or it.name: it.name for it in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules |= {it.asname or it.name: f"{node.module}.{it.name}" for it in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            module = modules.get(ast.unparse(node.value))
            if module in OLD_MODULES:
                yield node, module, node.attr


def note_what_is_built_otherwise(path: Path, tree: ast.Module, notes: Notes) -> None:
    """Tables come from migrations, transactions from the database."""
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in {ACCOUNTS, DATABASE}
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and path.as_posix() not in TABLES:
            bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
            if any(imported.get(base) == "Base" for base in bases):
                notes.add(
                    path,
                    node.lineno,
                    f"{node.name}: a start does not create tables any more, migrations/ does. "
                    "Write one for this table, with if_not_exists=True for databases that have "
                    "it, and import this module in migrations/env.py.",
                )
        if isinstance(node, ast.Attribute) and node.attr == "transaction":
            owner = ast.unparse(node.value).rpartition(".")[2]
            if owner == "accounts":
                notes.add(
                    path,
                    node.lineno,
                    "Accounts.transaction() is gone: use Database.transaction(), of the "
                    "dependency OpenDatabase from app.auth.database.",
                )


def advice(module: str, name: str) -> str:
    target = MOVED.get((module, name))
    return f"it is in {target} now" if target else f"it is gone, {GONE[module, name]}"


def is_stale(module: str, name: str) -> bool:
    """Whether a name is looked for where it was, and the owner did not keep it there."""
    known = (module, name) in MOVED or (module, name) in GONE
    return known and not defines(module, name)


def defines(module: str, name: str) -> bool:
    """Whether a module of this project has a name of its own, or gives it away as one."""
    path = Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if node.name == name:
                return True
            case ast.ImportFrom() if any(it.asname == name for it in node.names):
                return True
            case ast.Assign(targets=targets):
                found = [it.id for it in targets if isinstance(it, ast.Name)]
                if name in found or ("__all__" in found and f"'{name}'" in ast.unparse(node)):
                    return True
            case ast.AnnAssign(target=ast.Name(id=found_name)) if found_name == name:
                return True
    return False


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    main()
