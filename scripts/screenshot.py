"""Take the pictures in docs/: each client in light, in dark, and on a phone.

Without an argument, all of them; otherwise those of the named clients.
"""

import base64
import os
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize

from tests.app_server import AppServer
from tests.chromium import chromium
from tests.people import serving_page
from tests.tab import Tab
from tests.template import DEFAULT, ROOT, SNAPSHOT_VARIABLE, Combination, take_snapshot
from tests.test_pages import CLIENTS

DOCS = ROOT / "docs"
PICTURE = DOCS / "chat.png"
FOLDER = DOCS / "screenshots"
SIZE: ViewportSize = {"width": 784, "height": 500}
PHONE: ViewportSize = {"width": 390, "height": 700}
SCALE = 1.5

CONVERSATION = [
    (0, "Morning! Is the new release out?"),
    (1, "Since eight. Both workers restarted, and nobody noticed."),
    (0, "My tab did: it said “Reconnecting…” for a second, then went on."),
    (1, "That is the backoff. Rooms and members come back by themselves."),
    (0, "<b>And markup?</b>"),
    (1, "Stays text, as it should. Links work: https://fastapi.tiangolo.com/"),
]

UNREAD = [
    "While you were in the other room:",
    "this mark shows where you stopped reading.",
]


def main() -> None:
    clients = sys.argv[1:] or CLIENTS
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        folder = Path(name)
        take_snapshot(folder / "template")
        os.environ[SNAPSHOT_VARIABLE] = str(folder / "template")
        for client in clients:
            combination = Combination(DEFAULT.auth, "memory", client)
            with serving_page(folder / client, combination) as server:
                pictures = take(browser, server, client)
            if client == DEFAULT.client:
                put_together(browser, pictures)


def take(browser: Browser, server: AppServer, client: str) -> list[bytes]:
    """Take the pictures of a client when everything is said. Returns two that are sharper."""
    light = browser.new_context(viewport=SIZE, device_scale_factor=SCALE, color_scheme="light")
    dark = browser.new_context(viewport=SIZE, device_scale_factor=SCALE, color_scheme="dark")
    phone = browser.new_context(viewport=PHONE, is_mobile=True, has_touch=True)
    tabs = {
        "light": Tab(light, server.url),
        "dark": Tab(dark, server.url),
        "phone": Tab(phone, server.url),
    }
    for tab, user in zip(tabs.values(), ("Ada", "Grace", "Mary"), strict=True):
        tab.enter(user)
    converse(*tabs.values())
    FOLDER.mkdir(exist_ok=True)
    for name, tab in tabs.items():
        tab.page.screenshot(
            path=FOLDER / f"{client}-{name}.png", scale="css", animations="disabled"
        )
    pictures = [tabs[name].page.screenshot() for name in ("light", "dark")]
    for context in (light, dark, phone):
        context.close()
    return pictures


def converse(ada: Tab, grace: Tab, mary: Tab) -> None:
    said = []
    for speaker, text in CONVERSATION:
        (ada, grace)[speaker].send(text)
        said.append(text)
        for tab in (ada, grace, mary):
            tab.expect_messages(*said)
    ada.page.evaluate("location.hash = 'releases'")
    ada.expect_messages()
    for text in UNREAD:
        grace.send(text)
        said.append(text)
        mary.expect_messages(*said)
    ada.page.locator(".badge:visible").wait_for()
    ada.page.locator('[data-room="lobby"] a').click()
    ada.expect_messages(*said)


def put_together(browser: Browser, pictures: list[bytes]) -> None:
    """Two pictures side by side."""
    images = "".join(
        f'<img width="{SIZE["width"]}" src="data:image/png;base64,{base64.b64encode(it).decode()}">'
        for it in pictures
    )
    page = browser.new_page(device_scale_factor=SCALE)
    page.set_viewport_size({"width": 2 * SIZE["width"] + 16, "height": SIZE["height"]})
    page.set_content(f'<body style="margin:0;display:flex;gap:16px;background:#888">{images}')
    page.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()
