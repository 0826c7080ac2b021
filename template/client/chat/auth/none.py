"""Everybody is a guest: there is nothing to ask."""

from argparse import ArgumentParser, Namespace

from client.auth.none import Guest
from client.chat.app import Chat, Identity, Start
from client.credentials import socket_of


def add_arguments(parser: ArgumentParser) -> None:
    """There are no further ones."""


def start(arguments: Namespace) -> Start:
    """Connect at once."""

    async def identity(_: Chat) -> Identity:
        return Identity(socket_of(arguments.url), Guest())

    return identity
