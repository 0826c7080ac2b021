"""What is between a tab and its server: a line that can be cut, or a test in its place."""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, Page, WebSocketRoute

JSON = dict[str, Any]

SOCKET = "**/ws"


def person(name: str) -> JSON:
    """A user as the server describes users. The id depends on the name alone."""
    return {"id": f"id-of-{name}", "name": name}


ADA, BOB = person("ada"), person("bob")


def wait_until(page: Page, condition: Callable[[], bool], patience: float = 15) -> None:
    """Let the page run until a condition is true. Fails after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        page.wait_for_timeout(10)


def plant(context: BrowserContext, url: str, path: str, old: str, new: str) -> None:
    """Give a browser a file of the page with a fault in it."""
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
        """Whether what the server says is lost."""
        self._is_cut = False
        self._routes: list[WebSocketRoute] = []
        context.route_web_socket(SOCKET, self._connect)

    def cut(self) -> None:
        """End the connections. Nobody can connect until `mend`."""
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
    """A server for the tab of a browser, which says what a test tells it to say.

    It answers pings by itself if `answer_pings` is true. `patience` is how long the tab may
    take to say something, in seconds.
    """

    def __init__(self, context: BrowserContext, patience: float = 5) -> None:
        self.answer_pings = False
        self.pings = 0
        self.signals: list[JSON] = []
        """The signals that the tab has sent, each without its type."""
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
        if message["type"] == "ping":
            self.pings += 1
            if self.answer_pings:
                self.says("pong")
        elif message["type"] == "signal":
            del message["type"]
            self.signals.append(message)
        else:
            self._heard.append(message)

    def accept(self, user: JSON = ADA) -> None:
        """Welcome the next connection."""
        self._wait(self._connections)
        self._route = self._connections.pop(0)
        self._heard.clear()
        self.says("welcome", connection="c", user=user, heartbeat=20)

    def hears(self, type: str) -> JSON:  # noqa: A002
        """The next message, except pings and signals. It must be of this type."""
        self._wait(self._heard)
        message = self._heard.pop(0)
        assert message.pop("type") == type, message
        return message

    def hears_nothing(self) -> None:
        """The tab has said nothing that was not heard, except pings and signals."""
        self._page.evaluate("0")
        assert self._heard == []

    def says(self, type: str, **fields: object) -> None:  # noqa: A002
        assert self._route is not None
        self._route.send(json.dumps({"type": type, **fields}))

    def says_joined(
        self, offset: int, *, recovered: bool = False, room: str = "lobby", epoch: str = "e1"
    ) -> None:
        members = [ADA, BOB]
        self.says(
            "joined",
            room=room,
            epoch=epoch,
            offset=offset,
            recovered=recovered,
            count=len(members),
            members=members,
        )

    def says_message(
        self,
        offset: int,
        text: str,
        *,
        sender: JSON | None = BOB,
        id: str | None = None,  # noqa: A002
        room: str = "lobby",
    ) -> None:
        """A chat message. Without a sender, the application has published it."""
        self.says_event(
            offset, "chat.message", {"text": text}, sender=sender, id=id or text, room=room
        )

    def says_event(
        self,
        offset: int,
        event: str,
        data: JSON,
        *,
        sender: JSON | None = BOB,
        id: str | None = None,  # noqa: A002
        room: str = "lobby",
    ) -> None:
        """A message with any event."""
        self.says(
            "message",
            room=room,
            id=id or f"{event}-{offset}",
            offset=offset,
            event=event,
            data=data,
            sent_at="2026-01-01T12:00:00Z",
            **({} if sender is None else {"sender": sender}),
        )

    def says_typing(self, sender: JSON) -> None:
        self.says("signal", room="lobby", event="chat.typing", data={}, sender=sender)

    def says_error(self, code: str, ref: str | None = None, detail: str | None = None) -> None:
        about = {"room": "lobby"} | ({"ref": ref} if ref else {})
        self.says("error", code=code, detail=detail or f"it is {code}", **about)

    def close(self, code: int) -> None:
        assert self._route is not None
        self._route.close(code=code)

    @property
    def _page(self) -> Page:
        return self._context.pages[0]

    def _wait(self, things: list[Any]) -> None:
        wait_until(self._page, lambda: len(things) > 0, self._patience)
