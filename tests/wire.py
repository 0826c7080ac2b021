"""What stands between a tab and its server: a line that can be cut, or a test that speaks."""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, Page, WebSocketRoute

JSON = dict[str, Any]

SOCKET = "**/ws"


def wait_until(page: Page, condition: Callable[[], bool], patience: float = 15) -> None:
    """Let the page go on until something is so. Raises AssertionError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        page.wait_for_timeout(10)


def plant(context: BrowserContext, url: str, path: str, old: str, new: str) -> None:
    """Have a browser get a file of the page with a fault in it."""
    with urllib.request.urlopen(url + path) as response:  # noqa: S310
        text: str = response.read().decode()
        headers = dict(response.headers)
    assert text.count(old) == 1
    body = text.replace(old, new)
    del headers["content-length"]
    context.route(url + path, lambda route: route.fulfill(body=body, headers=headers))


class Line:
    """The line from the tabs of a browser to the real server, and what went over it."""

    def __init__(self, context: BrowserContext) -> None:
        self.sent: list[JSON] = []
        self.received: list[JSON] = []
        self.is_deaf = False
        """What the server says is lost."""
        self._is_cut = False
        self._routes: list[WebSocketRoute] = []
        context.route_web_socket(SOCKET, self._connect)

    def cut(self) -> None:
        """End the connections, and let nobody connect until `mend`."""
        self._is_cut = True
        for route in self._routes:
            route.close(code=1006)
        self._routes.clear()

    def mend(self) -> None:
        self._is_cut = False
        self.is_deaf = False

    def count(self, type: str) -> int:  # noqa: A002
        """How many messages of this type the server has sent."""
        return sum(message["type"] == type for message in self.received)

    def _connect(self, route: WebSocketRoute) -> None:
        if self._is_cut:
            route.close(code=1006)
            return
        server = route.connect_to_server()

        def upward(frame: str | bytes) -> None:
            self.sent.append(json.loads(frame))
            server.send(frame)

        def downward(frame: str | bytes) -> None:
            self.received.append(json.loads(frame))
            if not self.is_deaf:
                route.send(frame)

        route.on_message(upward)
        server.on_message(downward)
        self._routes += (route, server)


class ScriptedServer:
    """A server for the tab of a browser that says what a test has it say.

    Pings it answers by itself, if it is to `answer_pings`. `patience` is how long the tab
    may take to say something, in seconds.
    """

    def __init__(self, context: BrowserContext, patience: float = 5) -> None:
        self.answer_pings = False
        self.pings = 0
        self._patience = patience
        self._context = context
        self._heard: list[JSON] = []
        self._connections: list[WebSocketRoute] = []
        self._route: WebSocketRoute | None = None
        context.route_web_socket(SOCKET, self._connect)

    def _connect(self, route: WebSocketRoute) -> None:
        self._connections.append(route)
        route.on_message(self._hear)

    def _hear(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        if message["type"] != "ping":
            self._heard.append(message)
            return
        self.pings += 1
        if self.answer_pings:
            self.says("pong")

    def accept(self, user: str = "ada") -> None:
        """Welcome the next connection."""
        self._wait(self._connections)
        self._route = self._connections.pop(0)
        self._heard.clear()
        self.says("welcome", connection="c", user=user, heartbeat=20)

    def hears(self, type: str) -> JSON:  # noqa: A002
        """The next message but pings. Raises AssertionError unless it is of this type."""
        self._wait(self._heard)
        message = self._heard.pop(0)
        assert message.pop("type") == type, message
        return message

    def hears_nothing(self) -> None:
        """All that the tab has said by now has been heard."""
        self._page.evaluate("0")
        assert self._heard == []

    def says(self, type: str, **fields: object) -> None:  # noqa: A002
        assert self._route is not None
        self._route.send(json.dumps({"type": type, **fields}))

    def says_joined(
        self, offset: int, *, recovered: bool = False, room: str = "lobby", epoch: str = "e1"
    ) -> None:
        members = ["ada", "bob"]
        self.says(
            "joined", room=room, epoch=epoch, offset=offset, recovered=recovered, members=members
        )

    def says_message(
        self,
        offset: int,
        text: str,
        *,
        sender: str = "bob",
        id: str | None = None,  # noqa: A002
        room: str = "lobby",
    ) -> None:
        self.says(
            "message",
            room=room,
            id=id or text,
            offset=offset,
            sender=sender,
            text=text,
            sent_at="2026-01-01T12:00:00Z",
        )

    def says_error(self, code: str, ref: str | None = None) -> None:
        about = {"room": "lobby"} | ({"ref": ref} if ref else {})
        self.says("error", code=code, detail=f"it is {code}", **about)

    def close(self, code: int) -> None:
        assert self._route is not None
        self._route.close(code=code)

    @property
    def _page(self) -> Page:
        return self._context.pages[0]

    def _wait(self, things: list[Any]) -> None:
        wait_until(self._page, lambda: len(things) > 0, self._patience)
