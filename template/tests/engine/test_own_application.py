"""The example in the README's section "Your own application", as it stands there.

It replaces the chat by an application of one's own, in files of the owner only.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.engine.own_project import ENGINE, OwnProject, OwnServer, code_blocks
from tests.support.auth import sign_in
from tests.support.client import Client, open_client
from tests.support.server import PROJECT, AppServer

README = PROJECT / "README.md"
TEXT = README.read_text() if README.exists() else ""
SECTION = TEXT.partition("## Your own application\n")[2].partition("\n## ")[0]
BLOCKS = dict(code_blocks(SECTION))

pytestmark = pytest.mark.skipif(not SECTION, reason="README.md does not have the example any more")


def test_it_takes_less_than_forty_lines() -> None:
    lines = [line for code in BLOCKS.values() for line in code.splitlines() if line.strip()]
    assert {"app/events.py", "app/handlers.py", "app/routes/orders.py"} <= BLOCKS.keys()
    assert len(lines) < 40


@pytest_asyncio.fixture(scope="module")
async def server(
    broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AppServer]:
    """The application of the README, in place of the one that all tests share."""
    project = OwnProject(tmp_path_factory.mktemp("own"))
    for name, code in BLOCKS.items():
        if name in {"app/events.py", "app/handlers.py"}:
            project.replace(name, code)
        else:
            project.add(name, code)
    async with OwnServer(project.folder, {"BROKER_URL": broker_url}).running() as server:
        await server.wait_for_status("/readyz", 200)
        yield server


@pytest_asyncio.fixture
async def alice(server: AppServer) -> AsyncIterator[Client]:
    """A client in the room "orders"."""
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as client:
        await client.join("orders")
        yield client


async def test_the_handler_answers_and_publishes(alice: Client) -> None:
    answer = await alice.call("order.place", amount=3)
    assert (answer["event"], answer["data"]) == ("order.placed", {"number": 3})
    await alice.send(type="history", room="orders")
    page = await alice.expect("history")
    assert page["messages"][-1]["data"] == {"number": 3}
    answer = await alice.call("order.place", amount=101)
    assert (answer["code"], answer["detail"]) == ("refused", "at most 100 at a time")


async def test_the_route_publishes(server: AppServer, alice: Client) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.post("/orders/7")).status_code == 202
    await alice.expect("message", room="orders", event="order.placed", data={"number": 7})


async def test_the_worker_publishes(server: AppServer, broker_url: str, alice: Client) -> None:
    if broker_url == "memory://":
        return  # which carries messages within one process only
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.worker"),
        cwd=server.folder,
        env={"PATH": os.environ["PATH"], "BROKER_URL": broker_url},
    )
    await alice.expect("message", room="orders", event="order.placed", data={"number": 8})
    assert await worker.wait() == 0


async def test_the_chat_is_gone(alice: Client) -> None:
    await alice.publish("orders", "hello", id="1")
    await alice.expect("error", code="invalid", ref="1")


def test_only_files_of_the_owner_are_named() -> None:
    for name in BLOCKS:
        assert Path(name).parts[0] == "app"
        assert Path(name).parts[1] not in ENGINE
