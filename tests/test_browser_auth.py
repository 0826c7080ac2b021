"""Logins, and sessions that end: each style of authentication in a real browser."""

import json
import re
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from secrets import token_hex
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    WebSocket,
    WebSocketRoute,
    expect,
)

from tests.app_server import AppServer, serving
from tests.chromium import chromium
from tests.proxy import proxying
from tests.tab import Tab
from tests.template import Combination, choices, render
from tests.wire import JSON, plant, wait_until

STYLES = [style for style in choices("auth") if style != "none"]
WITH_TOKENS = ["jwt", "first_message"]

ENDED = "Your session has ended. Log in again."
ENDED_ELSEWHERE = (
    "You have been logged out: in another tab, on another device, or by the server. Log in again."
)
WRONG = "The user name or the password is wrong."
FOREIGN = "This origin is not listed in ALLOWED_ORIGINS."

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"

SOCKET = re.compile(r"/ws($|\?)")

ACCESS_SECONDS = 15 * 60
"""How long the server's access tokens are valid."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module", params=STYLES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AppServer]:
    """A server for each style of authentication that has accounts."""
    folder = tmp_path_factory.mktemp(request.param)
    with serving(render(folder / "my-chat", Combination(request.param, "memory", "html"))) as app:
        yield app


for_styles = partial(pytest.mark.parametrize, "server", indirect=True)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


class Opened:
    """A socket that a tab opened, and the messages that went over it."""

    def __init__(self, socket: WebSocket) -> None:
        self.url = socket.url
        self.sent: list[JSON] = []
        self.received: list[JSON] = []
        socket.on("framesent", lambda frame: self.sent.append(json.loads(frame)))
        socket.on("framereceived", lambda frame: self.received.append(json.loads(frame)))

    def has_sent(self, type: str) -> list[JSON]:  # noqa: A002
        return [message for message in self.sent if message["type"] == type]

    def has_renewed(self, times: int) -> bool:
        """Whether so many fresh tokens were sent, and every ping was answered."""
        pongs = sum(message["type"] == "pong" for message in self.received)
        return len(self.has_sent("refresh")) == times and len(self.has_sent("ping")) == pongs

    @property
    def is_welcome(self) -> bool:
        return any(message["type"] == "welcome" for message in self.received)


def sockets_of(context: BrowserContext) -> list[Opened]:
    """The sockets that the tabs of a browser will open, in order."""
    sockets: list[Opened] = []

    def watch(page: Page) -> None:
        page.on("websocket", lambda socket: sockets.append(Opened(socket)))

    context.on("page", watch)
    return sockets


def forget_logins(server: AppServer) -> None:
    """Delete every login from the database. The server does not know of it."""
    with closing(sqlite3.connect(server.project / "app.db")) as database, database:
        database.execute("DELETE FROM logins")


def come_back(tab: Tab, meanwhile: Callable[[], None] | None = None) -> None:
    """Go offline, and then online again."""
    tab.page.context.set_offline(True)
    tab.expect_connection("waiting")
    if meanwhile is not None:
        meanwhile()
    tab.page.context.set_offline(False)
    tab.wake()


@contextmanager
def offline(tab: Tab) -> Iterator[None]:
    """Disconnect only this tab from the network."""
    session = tab.page.context.new_cdp_session(tab.page)
    conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    session.send("Network.emulateNetworkConditions", conditions | {"offline": True})
    yield
    session.send("Network.emulateNetworkConditions", conditions | {"offline": False})


# --- Logging in and out ---------------------------------------------------------------


def leave_and_return(context: BrowserContext, server: AppServer, patience: float = 15) -> None:
    name = f"ada-{token_hex(4)}"
    one, other = (Tab(context, server.url, token_hex(4), patience) for _ in range(2))
    one.enter(name)
    other.page.reload()
    other.expect_connection("open")
    one.page.locator("#logout").click()
    one.expect_login_form("You have logged out.")
    other.expect_login_form(ENDED_ELSEWHERE)
    one.fill_in(name, "not the password")
    one.expect_problem(WRONG)
    one.fill_in(name)
    one.expect_connection("open")
    expect(one.page.locator("#user")).to_have_text(name)
    one.page.reload()
    one.expect_connection("open")


def test_every_tab_says_that_the_user_has_logged_out(
    context: BrowserContext, server: AppServer
) -> None:
    leave_and_return(context, server)


def test_nothing_that_was_typed_is_lost_when_a_session_has_ended(
    context: BrowserContext, server: AppServer
) -> None:
    tab = Tab(context, server.url, token_hex(4))
    name = tab.enter(f"ada-{token_hex(4)}")

    def write() -> None:
        forget_logins(server)
        tab.send("written meanwhile")
        tab.page.locator("#text").fill("a draft")

    come_back(tab, write)
    tab.expect_login_form(ENDED)
    expect(tab.page.locator("#username")).to_have_value(name)
    tab.fill_in(name)
    tab.expect_messages("written meanwhile")
    expect(tab.page.locator("#text")).to_have_value("a draft")


def take_over(context: BrowserContext, server: AppServer, patience: float = 15) -> None:
    """Edge logs in where Ada had, and Ada's page still has something to send."""
    room, names = token_hex(4), [f"{name}-{token_hex(4)}" for name in ("ada", "edge")]
    ada, edge = (Tab(context, server.url, room, patience) for _ in names)
    for tab in (ada, edge):
        tab.expect_login_form("")
    ada.enter(names[0])
    sockets: list[Opened] = []
    with offline(ada):
        ada.expect_connection("waiting")
        ada.send("for Ada's eyes and name only")
        ada.page.locator("#text").fill("a draft")
        edge.enter(names[1])
        ada.page.on("websocket", lambda socket: sockets.append(Opened(socket)))
    expect(ada.page.locator("#user")).to_have_text(names[1], timeout=2000 * patience)
    ada.expect_connection("open")
    edge.send("and now")
    for tab in (ada, edge):
        tab.expect_messages("and now")
    expect(ada.page.locator("#messages .message")).to_have_count(1)
    expect(ada.page.locator("#text")).to_have_value("")
    refused, welcome = (socket for socket in sockets if socket.is_welcome)
    assert {message["type"] for message in refused.sent} <= {"auth"}
    assert not welcome.has_sent("publish")


def test_nothing_is_sent_in_the_name_of_a_user_who_logged_in_in_another_tab(
    context: BrowserContext, server: AppServer
) -> None:
    take_over(context, server)


@for_styles(["cookie"])
def test_another_user_who_logs_in_gets_a_new_page(
    context: BrowserContext, server: AppServer
) -> None:
    tab = Tab(context, server.url, token_hex(4))
    tab.enter(f"ada-{token_hex(4)}")

    def write() -> None:
        forget_logins(server)
        tab.send("written meanwhile")

    come_back(tab, write)
    tab.expect_login_form(ENDED)
    tab.page.locator("#account-mode").click()
    edge = f"edge-{token_hex(4)}"
    tab.fill_in(edge)
    expect(tab.page.locator("#user")).to_have_text(edge)
    expect(tab.page.locator("#empty")).to_be_visible()


def ask_about_unsent_messages(
    context: BrowserContext, server: AppServer, patience: float = 15
) -> None:
    tab = Tab(context, server.url, token_hex(4), patience)
    tab.enter(f"ada-{token_hex(4)}")
    dialog = tab.page.get_by_role("dialog", name="Log out?")
    come_back(tab, lambda: tab.send("written meanwhile"))
    tab.expect_messages("written meanwhile")
    context.route_web_socket(SOCKET, lambda route: route.close(code=1006))
    tab.page.reload()
    for text, question in (
        ("one", "The server has not confirmed 1 message. It would be lost."),
        ("two", "The server has not confirmed 2 messages. They would be lost."),
    ):
        tab.send(text)
        tab.page.locator("#logout").click()
        expect(dialog).to_be_visible(timeout=1000 * patience)
        expect(dialog).to_have_accessible_description(question)
        if text == "one":
            tab.page.keyboard.press("Escape")
        else:
            dialog.get_by_role("button", name="Stay logged in").click()
        expect(dialog).to_be_hidden()
        tab.expect_state(text, "pending")
        expect(tab.page.locator("#chat")).to_be_visible()
    tab.page.locator("#logout").click()
    dialog.get_by_role("button", name="Log out anyway").click()
    tab.expect_login_form("You have logged out.")
    assert not [problem for problem in tab.problems if problem.startswith("dialog")]


@for_styles(["cookie", "jwt"])
def test_a_logout_asks_about_messages_that_would_be_lost(
    context: BrowserContext, server: AppServer
) -> None:
    ask_about_unsent_messages(context, server)


@for_styles(["cookie"])
def test_messages_that_arrive_while_the_page_asks_are_not_counted(
    context: BrowserContext, server: AppServer
) -> None:
    tab = Tab(context, server.url, token_hex(4))
    tab.enter(f"ada-{token_hex(4)}")
    context.set_offline(True)
    tab.expect_connection("waiting")
    tab.send("late")
    tab.page.locator("#logout").click()
    dialog = tab.page.get_by_role("dialog", name="Log out?")
    expect(dialog).to_contain_text("has not confirmed 1 message.")
    context.set_offline(False)
    tab.wake()
    expect(dialog).to_contain_text("The server has all of your messages now.")
    dialog.get_by_role("button", name="Stay logged in").click()
    tab.expect_messages("late")


@for_styles(["cookie"])
@pytest.mark.parametrize("width", [320, 360])
def test_a_narrow_window_shows_the_name_of_the_user(
    context: BrowserContext, server: AppServer, width: int
) -> None:
    tab = Tab(context, server.url, token_hex(32))
    tab.page.set_viewport_size({"width": width, "height": 600})
    name = tab.enter(f"ada-{token_hex(4)}")
    user, connection = tab.page.locator("#user"), tab.page.locator("#connection")
    assert user.inner_text() == name
    assert user.evaluate("node => node.scrollWidth <= node.clientWidth")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    # Screen readers find the words, which are not visible.
    expect(tab.page.get_by_role("status").and_(connection)).to_have_text("Connected")
    assert connection.evaluate("node => node.clientWidth") < 16
    context.set_offline(True)
    tab.expect_connection("waiting")
    assert connection.evaluate("node => node.scrollWidth <= node.clientWidth")


@for_styles(["cookie"])
def test_too_many_attempts_are_refused_in_words(context: BrowserContext, server: AppServer) -> None:
    name = f"ada-{token_hex(4)}"
    fields = urllib.parse.urlencode({"username": name, "password": "a guess"}).encode()
    for _ in range(10):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{server.url}auth/login", fields)  # noqa: S310
    tab = Tab(context, server.url)
    tab.fill_in(name)
    tab.expect_problem("Too many wrong passwords: try again in a quarter of an hour.")


# --- Refused pages --------------------------------------------------------------------


def test_a_page_of_a_foreign_origin_is_told_so(context: BrowserContext, server: AppServer) -> None:
    with proxying(server.port) as proxy:
        tab = Tab(context, proxy.url)
        name = tab.enter(f"ada-{token_hex(4)}")
        # From here on the page seems to come from elsewhere.
        proxy.hands_on_host = False
        tab.page.reload()
        tab.expect_trouble(f"The server refuses this page. {FOREIGN}")
        tab.expect_connection("closed")
        proxy.hands_on_host = True
        tab.page.locator("#reconnect").click()
        tab.expect_connection("open")
        context.clear_cookies()
        tab.page.evaluate("indexedDB.deleteDatabase('tokens')")
        proxy.hands_on_host = False
        tab.page.reload()
        tab.fill_in(name)
        tab.expect_problem(FOREIGN)


@for_styles(["none"])
def test_a_guest_is_told_what_may_be_wrong(context: BrowserContext, server: AppServer) -> None:
    with proxying(server.port) as proxy:
        proxy.hands_on_host = False
        tab = Tab(context, proxy.url)
        tab.expect_trouble("or its ALLOWED_ORIGINS do not name this address.")


# --- The credentials of a socket ------------------------------------------------------


def use_each_ticket_once(context: BrowserContext, server: AppServer, patience: float = 15) -> None:
    sockets = sockets_of(context)
    tab = Tab(context, server.url, token_hex(4), patience)
    tab.enter(f"ada-{token_hex(4)}")
    for _ in range(2):
        come_back(tab)
        tab.expect_connection("open")
    tickets = [parse_qs(urlsplit(socket.url).query)["ticket"][0] for socket in sockets]
    assert len(set(tickets)) == len(tickets) >= 3


@for_styles(["ticket"])
def test_a_ticket_is_used_once(context: BrowserContext, server: AppServer) -> None:
    use_each_ticket_once(context, server)


def send_the_token_first(context: BrowserContext, server: AppServer, patience: float = 15) -> None:
    sockets = sockets_of(context)
    tab = Tab(context, server.url, token_hex(4), patience)
    tab.enter(f"ada-{token_hex(4)}")
    come_back(tab, lambda: tab.send("written meanwhile"))
    tab.expect_messages("written meanwhile")
    for socket in sockets:
        assert urlsplit(socket.url).query == ""
        assert [message["type"] for message in socket.sent[:2]] == ["auth", "join"]
        assert len(socket.has_sent("auth")) == 1


@for_styles(["first_message"])
def test_the_first_message_is_the_token(context: BrowserContext, server: AppServer) -> None:
    send_the_token_first(context, server)


# --- Tokens that expire ---------------------------------------------------------------


def stay(context: BrowserContext, server: AppServer, patience: float = 15) -> None:
    """Two tabs keep their sockets for three quarters of an hour."""
    context.clock.install()
    sockets = sockets_of(context)
    renewals: list[str] = []
    context.on("request", lambda request: renewals.append(request.url))
    room = token_hex(4)
    tabs = [Tab(context, server.url, room, patience) for _ in range(2)]
    tabs[0].enter(f"ada-{room}")
    tabs[1].page.reload()
    tabs[1].expect_connection("open")
    one, other = (socket for socket in sockets if socket.is_welcome)
    for times in (1, 2, 3):
        context.clock.fast_forward(ACCESS_SECONDS * 950)
        for tab, socket in zip(tabs, (one, other), strict=True):
            wait_until(tab.page, partial(socket.has_renewed, times), patience)
    tabs[0].send("still here")
    for tab in tabs:
        tab.expect_messages("still here")
    # The second tab used the tokens that the first one had received.
    assert sum(url.endswith("auth/refresh") for url in renewals) == 3
    tokens = [message["token"] for message in one.has_sent("refresh")]
    assert tokens == [message["token"] for message in other.has_sent("refresh")]
    assert len(set(tokens)) == 3
    for socket in (one, other):
        assert urlsplit(socket.url).query == ""
        assert not [message for message in socket.received if message["type"] == "error"]
    assert len([socket for socket in sockets if socket.is_welcome]) == 2


@for_styles(WITH_TOKENS)
def test_a_live_socket_gets_a_fresh_token_in_time(
    context: BrowserContext, server: AppServer
) -> None:
    stay(context, server)


@pytest.fixture(scope="module", params=WITH_TOKENS)
def short_lived(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AppServer]:
    """A server whose access tokens are valid for two seconds."""
    folder = tmp_path_factory.mktemp(request.param)
    project = render(folder / "my-chat", Combination(request.param, "memory", "html"))
    module = project / "app/auth/tokens.py"
    text = module.read_text()
    assert text.count("ACCESS_SECONDS = 15 * 60") == 1
    module.write_text(text.replace("ACCESS_SECONDS = 15 * 60", "ACCESS_SECONDS = 2"))
    with serving(project) as app:
        yield app


def come_back_after_expiry(
    context: BrowserContext, server: AppServer, patience: float = 15
) -> None:
    """A page that did not renew its token in time."""
    plant(context, server.url, "static/auth/tokens.js", "  schedule(tokens);\n", "")
    sockets = sockets_of(context)
    tab = Tab(context, server.url, token_hex(4), patience)
    tab.enter(f"ada-{token_hex(4)}")
    tab.send("before")
    tab.expect_messages("before")
    wait_until(tab.page, lambda: sum(each.is_welcome for each in sockets) == 3, patience)
    tab.expect_connection("open")
    tab.send("after")
    tab.expect_messages("before", "after")
    expect(tab.notices).to_have_count(0)


def test_a_socket_whose_token_expired_is_followed_by_another(
    context: BrowserContext, short_lived: AppServer
) -> None:
    come_back_after_expiry(context, short_lived)


def be_refused_twice(context: BrowserContext, server: AppServer, patience: float = 15) -> None:
    """A server that refuses every socket, although the session is valid."""
    connections: list[WebSocketRoute] = []

    def refuse(route: WebSocketRoute) -> None:
        connections.append(route)
        route.close(code=4401, reason="no")

    context.route_web_socket(SOCKET, refuse)
    tab = Tab(context, server.url, token_hex(4), patience)
    tab.page.locator("#account-mode").click()
    tab.fill_in(f"ada-{token_hex(4)}")
    tab.expect_login_form(ENDED)
    assert len(connections) == 2


@for_styles(["cookie", "first_message"])
def test_fresh_credentials_get_one_chance(context: BrowserContext, server: AppServer) -> None:
    be_refused_twice(context, server)


# --- Names, rooms and texts with markup -----------------------------------------------


def show_markup(context: BrowserContext, server: AppServer, patience: float = 15) -> None:
    name, room = f"{MARKUP}{token_hex(4)}", token_hex(4)
    tab = Tab(context, server.url, room, patience)
    tab.enter(name)
    expect(tab.page.locator("#user")).to_have_text(name)
    expect(tab.page.locator("#members li")).to_have_text(f"{name} (you)")
    tab.page.evaluate("name => { location.hash = name; }", MARKUP)
    expect(tab.page.locator("#room-title")).to_have_text(room)
    expect(tab.notices).to_contain_text(f"There is no room “{MARKUP}”.")
    tab.send(MARKUP)
    tab.expect_messages(MARKUP)
    expect(tab.messages.locator(".sender")).to_have_text(name)
    tab.page.locator("#room-name").fill(MARKUP)
    tab.page.locator("#room-name").press("Enter")
    expect(tab.page.locator("#room-error")).to_contain_text("A room's name is")
    tab.page.reload()
    tab.expect_messages(MARKUP)
    expect(tab.page.locator("img, script:not([src])")).to_have_count(0)
    assert not tab.problems


@for_styles(["cookie"])
def test_markup_in_a_name_a_room_and_a_text_is_shown_as_text(
    context: BrowserContext, server: AppServer
) -> None:
    show_markup(context, server)


# --- Faults that are planted break these promises -------------------------------------

FAULTS = [
    (
        "cookie",
        leave_and_return,
        "chat/auth/accounts/login.js",
        "ENDED_BECAUSE[reason] ?? ENDED",
        "ENDED",
    ),
    (
        "cookie",
        take_over,
        "chat/auth/accounts/login.js",
        "return this.user.id === user.id;",
        "return true;",
    ),
    ("cookie", be_refused_twice, "realtime/connection.js", "this.#rejections === 1", "true"),
    (
        "cookie",
        show_markup,
        "page/dom.js",
        "created.textContent = text",
        "created.innerHTML = text",
    ),
    (
        "ticket",
        use_each_ticket_once,
        "auth/ticket.js",
        'await post("auth/ticket", {}, WITH_COOKIE)',
        '(window.kept ??= await post("auth/ticket", {}, WITH_COOKIE))',
    ),
    (
        "first_message",
        send_the_token_first,
        "realtime/connection.js",
        "if (firstFrame) socket.send(",
        'if (firstFrame) socket.send(\'{"type": "join"}\') ?? socket.send(',
    ),
    ("jwt", stay, "auth/tokens.js", 'send({ type: "refresh", token: fresh.access_token });', ""),
    (
        "cookie",
        ask_about_unsent_messages,
        "page/auth/accounts/form.js",
        "await mayLose(countUnsent)",
        "true",
    ),
    ("jwt", stay, "auth/tokens.js", "navigator.locks.request(TOKENS, task)", "task()"),
]


@pytest.mark.parametrize(
    ("server", "promise", "path", "old", "new"),
    [pytest.param(*fault, id=f"{fault[0]}-{number}") for number, fault in enumerate(FAULTS)],
    indirect=["server"],
)
def test_a_fault_of_the_page_is_found(
    context: BrowserContext,
    server: AppServer,
    promise: Callable[..., None],
    path: str,
    old: str,
    new: str,
) -> None:
    plant(context, server.url, f"static/{path}", old, new)
    with pytest.raises(AssertionError):
        promise(context, server, patience=1.5)
