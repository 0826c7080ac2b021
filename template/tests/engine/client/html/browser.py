"""The chat page in a real browser, driven as a person would.

It needs the dependency group `browser`, and a Chromium: that of Playwright, else one of
the system.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
{% if auth != 'none' %}
from secrets import token_hex
{% endif %}

from playwright.async_api import Browser, Error, Locator, Page, async_playwright, expect

{% if auth != 'none' %}
from tests.support.auth.accounts import PASSWORD
{% endif %}
from tests.support.server import PATIENCE

NAMES = ("chromium-headless-shell", "chromium", "google-chrome", "google-chrome-stable")

MILLISECONDS = PATIENCE * 1000


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless browser. Without one, Playwright's Error says how to install it."""
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
        """Exceptions that nothing caught."""
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    async def enter(self, url: str) -> None:
        """Open the page{{ ', register under a new name' if auth != 'none' else '' }}, and wait for the connection."""
        await self.page.goto(url)
{% if auth != 'none' %}
        await self.page.locator("#account-mode").click()
        await self.page.locator("#username").fill(f"visitor-{token_hex(4)}")
        await self.page.locator("#password").fill(PASSWORD)
        await self.page.locator("#account-submit").click()
{% endif %}
        await self.expect_connection("open")

    async def send(self, text: str) -> None:
        """Write a message, to be sent at once or when there is a connection."""
        await self.page.locator("#text").fill(text)
        await self.page.locator("#text").press("Enter")

    @asynccontextmanager
    async def asleep(self) -> AsyncIterator[None]:
        """Let nothing run in the page during the block, as on a computer that sleeps."""
        debugger = await self.page.context.new_cdp_session(self.page)
        await debugger.send("Debugger.enable")
        await debugger.send("Debugger.pause")
        yield
        await debugger.detach()

    async def expect_connection(self, state: str) -> None:
        """Wait until the page says that it is `open`, or `waiting` for the next attempt."""
        connection = self.page.locator("#connection")
        await expect(connection).to_have_attribute("data-state", state, timeout=MILLISECONDS)

    async def expect_messages(self, *texts: str) -> None:
        """Wait until these messages are there, acknowledged, in this order, and no others."""
        messages = self.page.locator('#messages .message[data-state="sent"] .text')
        await expect(messages).to_have_text(list(texts), timeout=MILLISECONDS)

    @property
    def notices(self) -> Locator:
        """What the page itself says between the messages, as where some are missing."""
        return self.page.locator("#messages .notice")
