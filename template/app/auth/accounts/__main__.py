"""`python -m app.auth.accounts add-user NAME`: accounts from the command line."""

import argparse
import asyncio
import getpass
import sys

from sqlalchemy.exc import SQLAlchemyError

from app.auth.accounts.database import DatabaseUnavailable, SchemaMismatch, open_database
from app.auth.accounts.errors import InvalidAccount, NameTaken
from app.auth.accounts.names import clean_name
from app.auth.accounts.store import Accounts, check_new_password
from app.settings import load_settings


def main() -> None:
    """Run the command. If it fails, it prints a sentence and exits with code 1."""
    parser = argparse.ArgumentParser(
        prog="python -m app.auth.accounts", description="Manage accounts."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_user = commands.add_parser(
        "add-user",
        help="add an account",
        description="Add an account to the database in DATABASE_URL, also one with a name of "
        "RESERVED_NAMES. The command asks for the password, or reads it from the first line of "
        "standard input.",
    )
    add_user.add_argument("name", metavar="NAME", help="the user name")
    name = parser.parse_args().name

    settings = load_settings()
    try:
        name = clean_name(name)
        password = read_password()
        check_new_password(password)
        asyncio.run(add(settings.database_url, name, password))
    except (InvalidAccount, NameTaken, SchemaMismatch) as error:
        sys.exit(str(error))
    except DatabaseUnavailable as error:
        sys.exit(error.detail)
    except (SQLAlchemyError, OSError) as error:
        sys.exit(f"The database in DATABASE_URL can't be used: {error}")
    sys.stdout.write(f"Added {name}.\n")


def read_password() -> str:
    """Ask for a new password twice, or read a line if there is no terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise InvalidAccount("The two passwords differ.")
    return password


async def add(database_url: str, name: str, password: str) -> None:
    try:
        async with open_database(database_url) as database:
            await Accounts(database).add(name, password)
    except (DatabaseUnavailable, SQLAlchemyError):
        # After a failure to connect, aiosqlite's thread answers once more. It would print
        # a traceback if the event loop were closed by then.
        await asyncio.sleep(0.2)
        raise


if __name__ == "__main__":
    main()
