"""The chat page in a real browser, used as a person would use it.

It needs the dependency group `browser` and a Chromium: the one that Playwright installed, or
one of the system.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex

from playwright.async_api import Browser, Error, Locator, Page, async_playwright, expect

from tests.support.server import PATIENCE

NAMES = ("chromium-headless-shell", "chromium", "google-chrome", "google-chrome-stable")

MILLISECONDS = PATIENCE * 1000


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless browser. If there is none, Playwright's Error says how to install it."""
    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch()
        except Error:
            path = next(filter(None, map(shutil.which, NAMES)), None)
            if path is None:
                raise
            browser = await playwright.chromium.launch(executable_path=path)
        yield browser
        await browser.close()


class Tab:
    """A tab with the chat page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        """Uncaught exceptions."""
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    async def enter(self, url: str) -> None:
        """Open the page as a new user, and wait for the connection."""
        await self.page.goto(url)
        if await self.page.locator("#account").count():  # the application has accounts
            await self.page.locator("#account-mode").click()
            await self.page.locator("#username").fill(f"visitor-{token_hex(4)}")
            await self.page.locator("#password").fill(token_hex(16))
            await self.page.locator("#account-submit").click()
        await self.expect_connection("open")

    async def send(self, text: str) -> None:
        """Write a message. The page sends it as soon as there is a connection."""
        await self.page.locator("#text").fill(text)
        await self.page.locator("#text").press("Enter")

    @asynccontextmanager
    async def asleep(self) -> AsyncIterator[None]:
        """Stop the page during the block, as if the computer slept."""
        debugger = await self.page.context.new_cdp_session(self.page)
        await debugger.send("Debugger.enable")
        await debugger.send("Debugger.pause")
        yield
        await debugger.detach()

    async def expect_connection(self, state: str) -> None:
        """Wait until the connection is `open`, or `waiting` for the next attempt."""
        connection = self.page.locator("#connection")
        await expect(connection).to_have_attribute("data-state", state, timeout=MILLISECONDS)

    async def expect_messages(self, *texts: str) -> None:
        """Wait until exactly these messages are acknowledged, in this order."""
        messages = self.page.locator('#messages .message[data-state="sent"] .text')
        await expect(messages).to_have_text(list(texts), timeout=MILLISECONDS)

    @property
    def notices(self) -> Locator:
        """What the page itself says in the log, for example that messages may be missing."""
        return self.page.locator("#messages .notice")
