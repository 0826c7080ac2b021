"""What v0.2.0 can't do by rendering.

Before the update: files that belong to the owner from v0.2.0 on have a new form there, and
an update would leave the old one as it is. So this script writes the new ones. The owner's
edits stay in git, and a sentence says where.

After it: the owner's own modules import names that moved. Imports are rewritten in place
where that is safe. Everything else is printed with its file and line, and left as it is. A
second run finds its work done.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OWNERS_FILES = (
    *("app/main.py", "app/settings.py", "app/routes/__init__.py", "app/routes/echo.py"),
    *("tests/conftest.py", "tests/test_chat.py"),
)
"""Those that v0.1.0 and earlier have in another form, and the examples, which no update brings."""

TEMPLATE = Path(__file__).parent.parent / "template"

ENGINE_FOLDER = "app/realtime"
"""What only v0.2.0 and later have."""

ACCOUNTS, REALTIME = "app.auth.accounts", "app.realtime"
COOKIE, JWT = "app.auth.cookie", "app.auth.jwt"
SESSIONS, TOKENS = "app.auth.sessions", "app.auth.tokens"

MODULES = {
    "app.__main__": f"{REALTIME}.server.run",
    "app.auth.__main__": f"{ACCOUNTS}.__main__",
    ACCOUNTS: f"{ACCOUNTS}.store",
    "app.auth.identity": f"{REALTIME}.identity",
    "app.auth.origin": f"{REALTIME}.origin",
    COOKIE: SESSIONS,
    JWT: TOKENS,
    "app.broker": f"{REALTIME}.broker",
    "app.broker.base": f"{REALTIME}.broker.base",
    "app.broker.memory": f"{REALTIME}.broker.memory",
    "app.broker.redis": f"{REALTIME}.broker.redis.backend",
    "app.broker.redis_pipeline": f"{REALTIME}.broker.redis.pipeline",
    **{
        f"app.{name}": f"{REALTIME}.{name}"
        for name in (
            *("connection", "limits", "manager", "metrics", "protocol", "room"),
            *("settings",),
        )
    },
    "app.hand_over": f"{REALTIME}.server.hand_over",
    "app.logs": f"{REALTIME}.server.logs",
    "app.main": f"{REALTIME}.application",
    "app.prebuilt_frames": f"{REALTIME}.server.frames",
    "app.presence": f"{REALTIME}.presence.tracker",
    "app.routes.accounts": f"{ACCOUNTS}.routes",
    "app.routes.ops": f"{REALTIME}.operations",
    "app.routes.web": "app.client.html",
    "app.writer": f"{REALTIME}.server.asgi",
}
"""Where the names of a module are now, unless `MOVED` says otherwise."""

MOVED = {
    ("app.__main__", "main"): f"{REALTIME}.command_line",
    (ACCOUNTS, "Base"): "app.auth",
    (ACCOUNTS, "LoggedIn"): f"{ACCOUNTS}.throttle",
    (ACCOUNTS, "check_password"): f"{ACCOUNTS}.throttle",
    **{
        (ACCOUNTS, name): f"{ACCOUNTS}.names"
        for name in ("INVISIBLE", "MAX_NAME_LENGTH", "clean_name", "name_key")
    },
    **{(ACCOUNTS, name): f"{ACCOUNTS}.errors" for name in ("InvalidAccount", "NameTaken")},
    (ACCOUNTS, "HASHES_AT_ONCE"): f"{ACCOUNTS}.passwords",
    (ACCOUNTS, "digest"): f"{ACCOUNTS}.logins",
    (JWT, "next_token"): f"{ACCOUNTS}.logins",
    ("app.auth.identity", "User"): "app.auth",
    ("app.connection", "accept"): f"{REALTIME}.server.handshake",
    ("app.manager", "Manager"): f"{REALTIME}.dependencies",
    ("app.manager", "channel_of"): f"{REALTIME}.publisher",
    ("app.manager", "get_manager"): f"{REALTIME}.dependencies",
    **{
        ("app.protocol", name): f"{REALTIME}.frames"
        for name in ("Frames", "TEXT_FRAME", "encode", "join_frames")
    },
    **{
        ("app.protocol", name): f"{REALTIME}.parser"
        for name in ("ClientMessage", "InvalidMessage", "what_it_names")
    },
    ("app.room", "Delivery"): f"{REALTIME}.history",
    ("app.room", "Past"): f"{REALTIME}.history",
    ("app.manager", "CATCH_UP_DEADLINE"): f"{REALTIME}.feed",
    **{("app.manager", name): f"{REALTIME}.rooms" for name in ("JoinRequest", "RECENT")},
    **{
        ("app.presence", name): f"{REALTIME}.presence.announcements"
        for name in ("Announcement", "CHANNEL", "Change")
    },
    ("app.writer", "FrameWriter"): f"{REALTIME}.server.interface",
    ("app.broker.memory", "QUEUE_SIZE"): f"{REALTIME}.broker.base",
    ("app.broker.redis", "QUEUE_SIZE"): f"{REALTIME}.broker.base",
    ("app.broker.redis", "POSITION_SECONDS"): f"{REALTIME}.broker.redis.names",
    ("app.broker.redis", "describe"): f"{REALTIME}.broker.outage",
    ("app.broker.redis_pipeline", "Outage"): f"{REALTIME}.broker.redis.errors",
    **{
        ("app.broker.redis", name): f"{REALTIME}.broker.redis.subscriptions"
        for name in ("CANARY_DEADLINE", "CANARY_INTERVAL", "decode")
    },
    ("app.auth.identity", "Unauthenticated"): REALTIME,
    ("app.auth.origin", "check_origin"): REALTIME,
    ("app.broker", "BrokerUnavailable"): REALTIME,
    ("app.broker", "IdTaken"): REALTIME,
    ("app.broker.base", "BrokerUnavailable"): REALTIME,
    ("app.broker.base", "IdTaken"): REALTIME,
    ("app.connection", "Connection"): REALTIME,
    ("app.protocol", "CloseCode"): REALTIME,
    ("app.protocol", "Position"): REALTIME,
}
"""Where a name is now. Those of the public faces come first: `app.auth` and `app.realtime`."""

ENGINE = "see app/realtime/__init__.py for what the engine offers now"
GONE = {
    ("app.__main__", "drop_stalled_peers"): ENGINE,
    ("app.auth", "router"): "the routes are in AUTHENTICATION of app.auth",
    (
        ACCOUNTS,
        "open_accounts",
    ): f"use open_database of {ACCOUNTS}.database, and Accounts(database)",
    (COOKIE, "Session"): f"a session is a Login of {ACCOUNTS}.logins",
    (JWT, "TokenFamily"): f"what a login opened is a Login of {ACCOUNTS}.logins",
    (JWT, "family_of"): f"use id_of of {ACCOUNTS}.logins",
    (JWT, "revoke"): f"use LiveLogins.end() of {ACCOUNTS}.live",
    ("app.connection", "Handler"): ENGINE,
    ("app.connection", "READ_AT_ONCE"): ENGINE,
    ("app.hand_over", "Serve"): ENGINE,
    ("app.limits", "Limits"): "use open_socket of app.realtime",
    ("app.limits", "get_limits"): "use open_socket of app.realtime",
    ("app.main", "lifespan"): "give one of your own to Application in app/main.py",
    ("app.manager", "DELIVER_AT_ONCE"): ENGINE,
    ("app.broker.redis", "logger"): ENGINE,
    ("app.manager", "logger"): ENGINE,
    ("app.presence", "Rooms"): ENGINE,
    ("app.protocol", "Message"): "declare an Event in app/events.py",
    ("app.protocol", "PublicationId"): ENGINE,
    ("app.protocol", "Text"): "it is a constraint of ChatMessage in app/events.py",
    ("app.protocol", "parse_client_message"): ENGINE,
    ("app.room", "Body"): ENGINE,
    ("app.routes", "include_routes"): "list your routers in ROUTERS of app/routes/__init__.py",
    ("app.routes.accounts", "me"): ENGINE,
    ("app.routes.accounts", "router"): "the routes are in AUTHENTICATION of app.auth",
    ("app.routes.echo", "return_frames"): "use open_socket of app.realtime",
    ("app.routes.realtime", "realtime"): ENGINE,
    ("app.routes.realtime", "router"): ENGINE,
    ("app.routes.web", "router"): "use include_client of app.client",
    ("app.writer", "prebuilt_writer"): ENGINE,
    ("app.settings", "SECRET_KEY_LENGTH"): "it is KEY_LENGTH of app.realtime.settings",
}
"""What to do without a name."""

KNOWN_MODULES = {"app.auth", "app.main", "app.routes", "app.routes.echo", "app.settings"}
"""Old modules that are still there."""

OLD_MODULES = {*MODULES, *(module for module, _ in (*MOVED, *GONE))}
TABLES = {
    *(f"app/auth/accounts/{name}.py" for name in ("logins", "store", "throttle")),
    "app/auth/ticket.py",
}
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
    if os.environ.get("STAGE") == "before":
        renew()
        return
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


def renew() -> None:
    """Replace the old form of the owner's files, which git has."""
    if Path(ENGINE_FOLDER).exists():
        return
    replaced = [name for name in OWNERS_FILES if Path(name).exists()]
    for name in OWNERS_FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)  # an owner may have removed the folder
        shutil.copyfile(TEMPLATE / name, name)
    if replaced:
        sys.stdout.write(
            f"These files have a new form: {', '.join(replaced)}. If you edited one, see what "
            f"you had with git show HEAD:{replaced[0]}, and make your edits again.\n"
        )


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
        if any(module.encode() in source for module in OLD_MODULES - KNOWN_MODULES):
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
        elif target := target_of(module, alias.name):
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
        if isinstance(node, ast.ImportFrom) and node.module in {ACCOUNTS, "app.auth"}
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
                    "it. alembic finds it if handlers, permissions or routes import this module.",
                )
        if isinstance(node, ast.Attribute) and node.attr == "transaction":
            owner = ast.unparse(node.value).rpartition(".")[2]
            if owner == "accounts":
                notes.add(
                    path,
                    node.lineno,
                    "Accounts.transaction() is gone: use Database.transaction(), of the "
                    "dependency OpenDatabase from app.auth.",
                )


def target_of(module: str, name: str) -> str | None:
    """The module that has a name now, if there is one."""
    if (module, name) in GONE:
        return None
    targets = (MOVED.get((module, name)), MODULES.get(module))
    return next((it for it in targets if it is not None and defines(it, name)), None)


def advice(module: str, name: str) -> str:
    target = target_of(module, name)
    return f"it is in {target} now" if target else f"it is gone, {GONE.get((module, name), ENGINE)}"


def is_stale(module: str, name: str) -> bool:
    """Whether a name is looked for where it was, and the owner did not keep it there."""
    if module not in OLD_MODULES or defines(module, name):
        return False
    return (
        module not in KNOWN_MODULES
        or (module, name) in {*MOVED, *GONE}
        or bool(target_of(module, name))
    )


def body_of(module: str) -> list[ast.stmt]:
    """The statements of a module of this project; none if it can't be read."""
    path = Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    try:
        return ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return []


def defines(module: str, name: str) -> bool:
    """Whether a module of this project defines a name, exports it, or has it as a submodule."""
    path = Path(*module.split("."), name)
    if path.with_suffix(".py").exists() or path.is_dir():
        return True
    for node in body_of(module):
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
