"""`python -m tests.conformance URL`: check a server, and print a line for each check."""

import argparse
import asyncio
import json
import secrets
import sys
from collections import Counter
from urllib.parse import urlsplit

from tests.conformance.runner import all_checks, run
from tests.conformance.target import Sample, Target
from tests.support.auth import sign_in
from tests.support.client import Credentials


def main() -> None:
    arguments = parse_arguments()
    sys.exit(asyncio.run(check(arguments)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description="Check a server that speaks this protocol. Without --header and --token, two "
        "users of the server's own style of authentication do it.",
    )
    parser.add_argument("url", type=url, help="of the endpoint: ws://127.0.0.1:8000/ws")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="of the handshake, with the credential of a user; again for a second user",
    )
    parser.add_argument(
        "--token",
        action="append",
        default=[],
        help="that a user sends in a first message `auth`; again for a second user",
    )
    parser.add_argument(
        "--message", type=sample, default=Target.message, metavar="EVENT=JSON", help="to publish"
    )
    parser.add_argument(
        "--signal", type=sample, default=Target.signal, metavar="EVENT=JSON", help="to send"
    )
    parser.add_argument(
        "--call", type=sample, metavar="EVENT=JSON", help="without it, none is made"
    )
    parser.add_argument("--max-frame-bytes", type=int, default=Target.max_frame_bytes)
    parser.add_argument("--only", default="", metavar="TEXT", help="checks whose title has it")
    return parser.parse_args()


def url(text: str) -> str:
    """The address of a socket. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in {"ws", "wss"} or not parts.netloc or not parts.path.strip("/"):
        raise ValueError(text)
    return text


def sample(text: str) -> Sample:
    """An event and its data. Raises ValueError."""
    event, _, data = text.partition("=")
    return Sample(event, json.loads(data or "{}"))


async def check(arguments: argparse.Namespace) -> int:
    """Make all checks. Returns the exit code."""
    target = Target(
        arguments.url,
        await users(arguments),
        arguments.message,
        arguments.signal,
        arguments.call,
        arguments.max_frame_bytes,
    )
    counts: Counter[str] = Counter()
    for title, made in all_checks():
        if arguments.only in title:
            outcome = await run(title, made, target)
            counts[outcome.verdict] += 1
            sys.stdout.write(f"{outcome}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{counts['ok']} ok, {counts['FAIL']} failed, {counts['skip']} skipped\n")
    return 1 if counts["FAIL"] or not counts["ok"] else 0


async def users(arguments: argparse.Namespace) -> list[Credentials]:
    """Those that the arguments name, or else two of the server's own style."""
    given = [Credentials(headers=header(text)) for text in arguments.header]
    given += [
        Credentials(first_frame=json.dumps({"type": "auth", "token": token}))
        for token in arguments.token
    ]
    if given:
        return given
    parts = urlsplit(arguments.url)
    scheme = "https" if parts.scheme == "wss" else "http"
    run_id = secrets.token_hex(4)
    names = (f"{name}-{run_id}" for name in ("ada", "ben"))
    return [await sign_in(f"{scheme}://{parts.netloc}", name) for name in names]


def header(text: str) -> dict[str, str]:
    name, _, value = text.partition(":")
    return {name.strip(): value.strip()}


if __name__ == "__main__":
    main()
