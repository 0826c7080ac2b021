"""The checks of `tests/conformance` pass on this server, and fail on a broken one."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conformance.runner import Check, all_checks, run
from tests.conformance.target import Sample, Target
from tests.engine.example_server import ExampleServer
from tests.engine.faulty_relay import NewFault, doubling, dropping, relay, reordering
from tests.support.auth import sign_in
from tests.support.server import PROJECT, AppServer, free_port

OWN = ("tests.engine.own_app",)

OF_GUESTS = {
    "connecting: who has no credential is refused",
    "presence: two connections of a user count once",
}
"""What can't be checked where each connection is a new user."""


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """A server with the usual limits, and with a call."""
    async with ExampleServer(folder, {"MESSAGES_PER_SECOND": "20"}, OWN).running() as server:
        yield server


async def target_of(server: AppServer) -> Target:
    users = [await sign_in(server.url, name) for name in ("alice", "bob")]
    return Target(f"{server.ws_url}/ws", users, call=Sample("order", {"amount": 3}))


@pytest.mark.parametrize(("title", "check"), list(all_checks()))
async def test_this_server_passes(server: AppServer, title: str, check: Check) -> None:
    outcome = await run(title, check, await target_of(server))
    assert outcome.verdict == "ok" or (outcome.verdict == "skip" and title in OF_GUESTS), outcome


async def test_checks_are_skipped_only_where_there_are_guests(server: AppServer) -> None:
    target = await target_of(server)
    checks = [(title, check) for title, check in all_checks() if title in OF_GUESTS]
    verdicts = {(await run(title, check, target)).verdict for title, check in checks}
    assert len(checks) == len(OF_GUESTS)
    assert len(verdicts) == 1


FAULTS = {
    dropping: "publishing: all members see one order",
    doubling: "publishing: an id is delivered once",
    reordering: "rooms: a client that was away gets what it missed once and in order",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_server_fails(server: AppServer, fault: NewFault) -> None:
    target = await target_of(server)
    checks = dict(all_checks())
    title = FAULTS[fault]
    async with relay(server.ws_url, fault) as ws_url:
        spoiled = Target(f"{ws_url}/ws", target.users)
        outcome = await run(title, checks[title], spoiled)
    assert outcome.verdict == "FAIL", outcome


async def test_the_relay_alone_breaks_nothing(server: AppServer) -> None:
    target = await target_of(server)
    async with relay(server.ws_url, lambda: lambda frame: [frame]) as ws_url:
        honest = Target(f"{ws_url}/ws", target.users)
        outcomes = [
            await run(title, check, honest)
            for title, check in all_checks()
            if title in FAULTS.values()
        ]
    assert [it.verdict for it in outcomes] == ["ok"] * len(FAULTS)


async def command(*arguments: str) -> tuple[int | None, str]:
    """The exit code and the output of `python -m tests.conformance`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.conformance", *arguments),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_command_prints_a_line_for_each_check(server: AppServer) -> None:
    code, output = await command(f"{server.ws_url}/ws", "--only", "history", "--call", "silent={}")
    assert code == 0, output
    *lines, last = output.splitlines()
    assert {line[:6] for line in lines} == {"ok    "}
    assert last == f"{len(lines)} ok, 0 failed, 0 skipped"


async def test_the_command_exits_with_1_if_a_check_fails() -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws"  # nobody listens there
    code, output = await command(url, "--header", "X-User: ada", "--only", "ping is answered")
    assert code == 1, output
    assert output.startswith("FAIL  frames: ping is answered by pong: ")


@pytest.mark.parametrize("url", ["http://127.0.0.1/ws", "ws://127.0.0.1", "nonsense"])
async def test_the_command_refuses_what_is_no_address(url: str) -> None:
    code, output = await command(url)
    assert code == 2
    assert "url" in output
