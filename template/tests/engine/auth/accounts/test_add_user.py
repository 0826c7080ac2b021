"""`python -m app.auth.accounts add-user`: accounts where registration is closed."""

import re
from pathlib import Path

import pytest
from sqlalchemy import select

from app.auth.accounts import __main__ as command
from app.auth.accounts.database import open_database
from app.auth.accounts.errors import InvalidAccount
from app.auth.accounts.store import Account, Accounts
from tests.support.server import run_module

PASSWORD = "eight is enough"


def add_user(folder: Path, name: str, **settings: str) -> tuple[int, str]:
    """The exit code of the command, and what it printed."""
    arguments = ("app.auth.accounts", "add-user", name)
    ended = run_module(folder, *arguments, stdin=PASSWORD + "\n", **settings)
    return ended.returncode, ended.stdout + ended.stderr


async def test_add_user_creates_an_account_with_the_given_password(new_project: Path) -> None:
    assert add_user(new_project, "Barbara") == (0, "Added Barbara.\n")
    async with open_database(f"sqlite+aiosqlite:///{new_project / 'app.db'}") as database:
        async with database.transaction() as session:
            [stored] = await session.scalars(select(Account.password_hash))
        accounts = Accounts(database)
        assert await accounts.verify("Barbara", PASSWORD)
        assert not await accounts.verify("Barbara", PASSWORD + ".")
    # At least what OWASP recommends for argon2id: 19 MiB and two passes.
    memory = re.match(r"\$argon2id\$v=19\$m=(\d+),t=[2-9],", stored)
    assert memory is not None
    assert int(memory[1]) >= 19 * 1024


def test_add_user_refuses_a_taken_name(new_project: Path) -> None:
    add_user(new_project, "Barbara")
    assert add_user(new_project, "BARBARA") == (1, "This user name is taken.\n")


def test_add_user_may_use_a_reserved_name(new_project: Path) -> None:
    assert add_user(new_project, "admin") == (0, "Added admin.\n")
    looks_taken = "A user name that looks like this one is taken.\n"
    assert add_user(new_project, "\N{CYRILLIC SMALL LETTER A}dmin") == (1, looks_taken)


def test_add_user_explains_a_refusal_in_a_sentence(new_project: Path) -> None:
    refusal = "A user name must not begin or end with white space.\n"
    assert add_user(new_project, " x") == (1, refusal)
    code, output = add_user(new_project, "x", DATABASE_URL="sqlite+aiosqlite:////nowhere/app.db")
    assert code == 1
    assert output.startswith("The database in DATABASE_URL can't be used: ")


def test_add_user_asks_for_the_password_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["one password", "another password", PASSWORD, PASSWORD])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    with pytest.raises(InvalidAccount, match="differ"):
        command.read_password()
    assert command.read_password() == PASSWORD
