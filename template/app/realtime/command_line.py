"""The command line.

- `python -m app` serves in production.
- `python -m app publish ROOM EVENT [JSON]` publishes an event to a room.
- `python -m app notify USER EVENT [JSON]` publishes an event to a user.
- `python -m app asyncapi [--server URL]` writes the AsyncAPI document, to be committed.
- `python -m app typescript [--output FILE]` writes the types of the events, for a client.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from pydantic import ValidationError
from uvicorn.importer import import_from_string

from app.realtime.application import Application
from app.realtime.broker import BrokerUnavailable, IdTaken
from app.realtime.contract.asyncapi import Server
from app.realtime.contract.typescript import typescript
from app.realtime.events import Event, Events, Signal, UnknownEvent
from app.realtime.identity import room_of_user
from app.realtime.publisher import LocalBroker, open_publisher
from app.realtime.server.run import serve
from app.realtime.settings import RealtimeSettings


def main(
    application: str, events: ModuleType, load_settings: Callable[[], RealtimeSettings]
) -> None:
    """Run a command. If it fails, it prints a sentence and exits with code 1.

    `application` is what is served, as "module:name".
    """
    arguments = parse_arguments()
    if arguments.command == "asyncapi":
        document = load_application(application).asyncapi(arguments.server)
        write(f"{json.dumps(document, indent=2, sort_keys=True)}\n", arguments.output)
        return
    if arguments.command == "typescript":
        write(typescript(load_application(application).messages()), arguments.output)
        return
    settings = load_settings()
    if arguments.command is None:
        serve(application, settings)
        return
    room = arguments.room if arguments.command == "publish" else room_of_user(arguments.user)
    try:
        event = Events.of(events).read(arguments.event, arguments.data)
        answer = asyncio.run(publish(settings, room, event, arguments.id))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(["data", *map(str, problem["loc"])])
        sys.exit(f"{field}: {problem['msg']}")
    except IdTaken:
        sys.exit("Another event in this room has this id: choose a new one.")
    except (BrokerUnavailable, LocalBroker, UnknownEvent, ValueError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"{json.dumps(answer)}\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description="Without a command, serve in production: .env.example explains the settings.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    publish = commands.add_parser("publish", help="publish an event of app/events.py to a room")
    publish.add_argument("room", metavar="ROOM")
    notify = commands.add_parser("notify", help="publish an event of app/events.py to a user")
    notify.add_argument("user", metavar="USER", help="the id of the user")
    for command in (publish, notify):
        command.add_argument("event", metavar="EVENT", help="its name, such as chat.message")
        command.add_argument("data", metavar="JSON", nargs="?", default="{}", help="its data")
        command.add_argument("--id", help="makes it safe to repeat the command")
    document = commands.add_parser("asyncapi", help="write the AsyncAPI document of the socket")
    document.add_argument("--output", type=Path, metavar="FILE", help="such as asyncapi.json")
    document.add_argument(
        "--server", type=server, metavar="URL", default="ws://127.0.0.1:8000", help="of the server"
    )
    types = commands.add_parser("typescript", help="write the types of the events, for a client")
    types.add_argument("--output", type=Path, metavar="FILE", help="such as web/src/events.ts")
    return parser.parse_args()


def server(url: str) -> Server:
    """A server by its URL, without /ws. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.netloc:
        raise ValueError(url)
    return Server(parts.netloc, parts.scheme == "wss", parts.path.rstrip("/"))


def load_application(name: str) -> Application:
    """The application that "module:name" names."""
    application = import_from_string(name)
    assert isinstance(application, Application)  # noqa: S101 - app/main.py makes one
    return application


def write(text: str, output: Path | None) -> None:
    """Write to a file, or without one to the standard output."""
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        sys.exit(f"{output} can't be written: {error.strerror}")


async def publish(
    settings: RealtimeSettings,
    room: str,
    event: Event | Signal,
    id: str | None,  # noqa: A002
) -> dict[str, object]:
    """Publish, and return the position. That of a signal is empty."""
    async with open_publisher(settings) as publisher:
        if isinstance(event, Signal):
            await publisher.signal(room, event)
            return {}
        position = await publisher.publish(room, event, id=id)
        return position.model_dump()
