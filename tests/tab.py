"""A browser tab with the chat page, used as a person would use it."""

import re

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, expect

PASSWORD = "correct horse battery staple"  # noqa: S105

MISSED = "The connection was interrupted. Messages may be missing here."
"""What the page says in a room where the server could not fill in what was missed."""


class Tab:
    """A tab, and its problems: errors, violations of the security policy, dialogs.

    `patience` is how long anything that is expected may take, in seconds. A page that lost
    its server backs off, so a change of the connection's state may take twice as long.
    """

    def __init__(
        self, context: BrowserContext, url: str, room: str = "lobby", patience: float = 15
    ) -> None:
        self.room = room
        self._patience = patience * 1000
        self.problems: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        self.page.goto(f"{url}#{room}")

    def _note(self, message: ConsoleMessage) -> None:
        # Chromium logs every 401, which is how the page learns that nobody is logged in.
        if message.type in {"error", "warning"} and "401 (Unauthorized)" not in message.text:
            self.problems.append(message.text)

    def enter(self, name: str) -> str:
        """Register where there are accounts, and wait for the connection.

        Returns the name that the page shows.
        """
        page = self.page
        page.locator("#account:not([hidden]), #chat:not([hidden])").first.wait_for()
        if page.locator("#account").is_visible():
            page.locator("#account-mode").click()
            self.fill_in(name)
        self.expect_connection("open")
        expect(page.locator("#user")).not_to_be_empty()
        return page.locator("#user").inner_text()

    def fill_in(self, name: str, password: str = PASSWORD) -> None:
        """Fill in the login form, and submit it."""
        self.page.locator("#username").fill(name)
        self.page.locator("#password").fill(password)
        self.page.locator("#account-submit").click()

    def send(self, text: str) -> None:
        self.page.locator("#text").fill(text)
        self.page.locator("#text").press("Enter")

    def wake(self, event: str = "online") -> None:
        """Send the page an event as the browser would, for example that it is online."""
        self.page.evaluate(
            "name => document.dispatchEvent(new Event(name, { bubbles: true }))", event
        )

    def stop_clock(self) -> None:
        """Stop the timers of the page. Its context must have a clock installed."""
        self.page.clock.pause_at(self.page.evaluate("Date.now()") / 1000 + 1)

    def expect_connection(self, state: str) -> None:
        connection = self.page.locator("#connection")
        expect(connection).to_have_attribute("data-state", state, timeout=2 * self._patience)

    def expect_trouble(self, words: str) -> None:
        """The page says what is wrong with the connection."""
        trouble = self.page.locator("#trouble-text")
        expect(trouble).to_contain_text(words, timeout=self._patience)

    def expect_login_form(self, words: str) -> None:
        """Nobody is logged in, and the page says why."""
        expect(self.page.locator("#chat")).to_be_hidden(timeout=self._patience)
        expect(self.page.locator("#account-reason")).to_have_text(words, timeout=self._patience)

    def expect_problem(self, words: str) -> None:
        """The login form says what is wrong."""
        error = self.page.locator("#account-error")
        expect(error).to_have_text(words, timeout=self._patience)

    def expect_messages(self, *texts: str) -> None:
        """Exactly these messages are acknowledged, in this order."""
        expect(self.messages.locator(".text")).to_have_text(list(texts), timeout=self._patience)

    def expect_log(self, *texts: str) -> None:
        """Exactly these messages and notices are there, in this order."""
        entries = self.page.locator("#messages").locator(".text, .notice")
        expect(entries).to_have_text(list(texts), timeout=self._patience)

    def expect_state(self, text: str, state: str) -> None:
        """This message is there once. The state is pending, sent or failed."""
        message = self.page.locator("#messages .message").filter(has_text=text)
        expect(message).to_have_attribute("data-state", state, timeout=self._patience)

    def expect_members(self, *names: str) -> None:
        """Exactly these users are in the room, each once."""
        members = self.page.locator("#members li")
        expect(members).to_have_count(len(names), timeout=self._patience)
        for name in names:
            text = re.compile(rf"^{re.escape(name)}( \(you\))?$")
            expect(members.filter(has_text=text)).to_have_count(1)

    def expect_typing(self, words: str) -> None:
        """What the page says about who is typing."""
        expect(self.page.locator("#typing")).to_have_text(words, timeout=self._patience)

    @property
    def messages(self) -> Locator:
        return self.page.locator('#messages .message[data-state="sent"]')

    @property
    def notices(self) -> Locator:
        return self.page.locator("#messages .notice")
