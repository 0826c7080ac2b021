"""`python -m client`: the chat in the terminal."""

import argparse

from client.chat.app import Chat
from client.chat.auth import add_arguments, start
from client.credentials import socket_of
from client.rooms import check_name


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m client", description="Chat in the terminal.")
    parser.add_argument(
        "--url",
        default="http://127.0.0.1:8000",
        help="address of the server (default: %(default)s)",
    )
    parser.add_argument("--room", default="lobby", help="room to enter (default: %(default)s)")
    add_arguments(parser)
    arguments = parser.parse_args()
    try:
        socket_of(arguments.url)
        check_name(arguments.room)
    except ValueError as error:
        parser.error(str(error))
    Chat(start(arguments), room=arguments.room).run()


if __name__ == "__main__":
    main()
