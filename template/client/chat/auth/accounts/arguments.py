"""What the command line says about the user."""

import os
from argparse import ArgumentParser, Namespace

from client.chat.app import Chat, Identity, Start
from client.chat.auth.accounts.screen import LoginScreen

PASSWORD = "CHAT_PASSWORD"  # noqa: S105
"""The environment variable with a password, so that none is on the command line."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add `--user`."""
    parser.add_argument(
        "--user",
        default="",
        help=f"user name; the password is that in {PASSWORD}, or is asked for",
    )


def start(arguments: Namespace) -> Start:
    """Log in with what is known, or ask."""
    password = os.environ.get(PASSWORD, "")

    async def identity(chat: Chat) -> Identity | None:
        nonlocal password
        screen = LoginScreen(arguments.url, arguments.user, password)
        password = ""  # a wrong one is tried once
        return await chat.push_screen_wait(screen)

    return identity
