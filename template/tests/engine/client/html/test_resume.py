"""The page reconnects without losing a message, in a real browser: `pytest -m browser`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from app.realtime.rooms import RECENT
from tests.support.auth import sign_in
from tests.support.client import open_client
from tests.support.server import AppServer, StartServer

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.engine.client.html.browser import Tab

pytestmark = pytest.mark.browser

OpenTab = Callable[[AppServer, str], Awaitable["Tab"]]

MISSED = [f"message {number}" for number in range(RECENT + 1)]
"""More messages than the server sends to a new member."""


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator["Browser"]:
    from tests.engine.client.html.browser import chromium  # noqa: PLC0415 - see its docstring

    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture
async def open_tab(browser: "Browser") -> AsyncIterator[OpenTab]:
    """Opens a tab for a new user, in a room on a server."""
    from tests.engine.client.html.browser import Tab  # noqa: PLC0415 - see its docstring

    tabs: list[Tab] = []
    async with AsyncExitStack() as stack:

        async def open_in(server: AppServer, room: str) -> Tab:
            context = await browser.new_context()
            stack.push_async_callback(context.close)
            tabs.append(Tab(await context.new_page()))
            await tabs[-1].enter(f"{server.url}/#{room}")
            return tabs[-1]

        yield open_in
    assert not [problem for tab in tabs for problem in tab.problems]


async def test_two_tabs_receive_each_others_messages(
    open_tab: OpenTab, server: AppServer, room: str
) -> None:
    ada, bob = [await open_tab(server, room) for _ in range(2)]
    await ada.send("hello, Bob")
    await bob.expect_messages("hello, Bob")
    await bob.send("hello, Ada")
    for tab in (ada, bob):
        await tab.expect_messages("hello, Bob", "hello, Ada")


async def publish(server: AppServer, room: str, *texts: str) -> None:
    """Publish messages in a room, from a client without a browser."""
    credentials = await sign_in(server.url, "bob")
    async with open_client(server.ws_url, credentials) as bob:
        await bob.join(room)
        for text in texts:
            await bob.expect("message", id=await bob.publish(room, text))


async def test_a_tab_that_was_offline_misses_nothing(
    open_tab: OpenTab, server: AppServer, room: str
) -> None:
    tab = await open_tab(server, room)
    await publish(server, room, "before")
    await tab.expect_messages("before")
    await tab.page.context.set_offline(True)
    await tab.expect_connection("waiting")
    await tab.send("written meanwhile")
    await publish(server, room, *MISSED)
    await tab.page.context.set_offline(False)
    await tab.expect_messages("before", *MISSED, "written meanwhile")
    assert await tab.notices.count() == 0


async def test_a_tab_that_slept_during_a_restart_reconnects(
    open_tab: OpenTab, start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url)
    tab = await open_tab(server, room)
    async with tab.asleep():
        await server.stop()
        await server.start()
    await tab.send("awake")
    await tab.expect_messages("awake")


async def test_a_restart_loses_no_message_that_the_broker_remembers(
    open_tab: OpenTab, start_server: StartServer, broker_url: str, room: str
) -> None:
    # The memory broker loses its history with the server's process.
    is_kept = not broker_url.startswith("memory:")
    server = await start_server(BROKER_URL=broker_url)
    tab = await open_tab(server, room)
    await publish(server, room, "before")
    await tab.expect_messages("before")
    await server.stop()
    await tab.expect_connection("waiting")
    await tab.send("written meanwhile")
    missed = MISSED if is_kept else []
    if is_kept:
        await publish(await start_server(BROKER_URL=broker_url), room, *missed)
    await server.start()
    await tab.expect_messages("before", *missed, "written meanwhile")
    assert await tab.notices.count() == (0 if is_kept else 1)  # "messages may be missing"
