"""A page that something else serves, on another origin than the application's."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.app_server import AppServer, serving
from tests.chromium import chromium
from tests.tab import PASSWORD
from tests.template import Combination, choices, render

MAIN = """\
import * as auth from "./auth/index.js";
import { setServer } from "./auth/server.js";
import { Client } from "./realtime/index.js";

const server = new URLSearchParams(location.search).get("server");
setServer(server);
const say = (text) => document.querySelector("output").append(`${text}; `);
const client = new Client(auth.credentials, { url: new URL("ws", server) });
try {
  if (auth.register) {
    await auth.register("ada", "PASSWORD");
    await auth.login("ada", "PASSWORD");
    say(`logged in as ${(await auth.whoAmI()).name}`);
  }
  const room = client.enter("lobby");
  client.subscribe(() => say(`${client.status.state} ${client.status.reason}`));
  room.subscribe(() => {
    for (const { state, data } of room.entries) say(`${state} ${data.text}`);
  });
  await client.connect();
  room.publish("chat.message", { text: "hello from elsewhere" });
} catch (error) {
  say(`failed: ${error.message}`);
}
"""
"""What somebody would write who has the client's modules and a page of their own."""

PAGE = "<!doctype html><title>Elsewhere</title><output></output>\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing about requests."""


@contextmanager
def page_server(project: Path, folder: Path) -> Iterator[str]:
    """What `python -m http.server` does, with a page in a folder of its own. Gives the origin."""
    folder.mkdir()
    for name in ("auth", "realtime"):
        (folder / name).symlink_to(project / "web" / name)
    (folder / "main.js").write_text(MAIN.replace("PASSWORD", PASSWORD))
    (folder / "index.html").write_text(PAGE + '<script type="module" src="main.js"></script>\n')
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def open_page(browser: Browser, origin: str, server: AppServer) -> Page:
    page = browser.new_context().new_page()
    page.goto(f"{origin}/?server={server.url}")
    return page


@pytest.mark.parametrize("auth", choices("auth"))
def test_a_page_of_a_listed_origin_logs_in_and_chats(
    browser: Browser, tmp_path: Path, auth: str
) -> None:
    project = render(tmp_path / "my-chat", Combination(auth, "memory", "html"))
    with (
        page_server(project, tmp_path / "elsewhere") as origin,
        serving(project, {"ALLOWED_ORIGINS": origin}) as server,
    ):
        page = open_page(browser, origin, server)
        expect(page.locator("output")).to_contain_text("sent hello from elsewhere")
        page.context.close()


@pytest.mark.parametrize("auth", ["none", "cookie", "jwt"])
def test_a_page_of_an_origin_that_is_not_listed_does_nothing(
    browser: Browser, tmp_path: Path, auth: str
) -> None:
    project = render(tmp_path / "my-chat", Combination(auth, "memory", "html"))
    with page_server(project, tmp_path / "elsewhere") as origin, serving(project) as server:
        page = open_page(browser, origin, server)
        words = "waiting" if auth == "none" else "failed"
        expect(page.locator("output")).to_contain_text(words)
        expect(page.locator("output")).not_to_contain_text("sent")
        page.context.close()


@pytest.mark.parametrize(("auth", "works"), [("cookie", False), ("ticket", False), ("jwt", True)])
def test_a_page_of_another_site_gets_no_cookie_so_it_needs_tokens(
    browser: Browser, tmp_path: Path, auth: str, works: bool
) -> None:
    project = render(tmp_path / "my-chat", Combination(auth, "memory", "html"))
    with page_server(project, tmp_path / "elsewhere") as origin:
        other_site = origin.replace("127.0.0.1", "localhost")
        with serving(project, {"ALLOWED_ORIGINS": other_site}) as server:
            page = open_page(browser, other_site, server)
            said = "sent hello from elsewhere" if works else "failed"
            expect(page.locator("output")).to_contain_text(said)
            page.context.close()
