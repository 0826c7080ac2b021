"""Take docs/chat.png: two people in two tabs of a project with default answers."""

import base64
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize

from tests.app_server import serving
from tests.chromium import chromium
from tests.tab import Tab
from tests.template import ROOT, render, take_snapshot

PICTURE = ROOT / "docs" / "chat.png"
SIZE: ViewportSize = {"width": 800, "height": 600}
SCALE = 1.5

CONVERSATION = [
    (0, "Morning! Is the new release out?"),
    (1, "Since eight. Both workers restarted, and nobody noticed."),
    (0, "My tab did: it said “Reconnecting…” for a second, then went on."),
    (1, "That is the backoff. Rooms and members come back by themselves."),
    (0, "<b>And markup?</b>"),
    (1, "Stays text, as it should."),
]


def main() -> None:
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        folder = Path(name)
        take_snapshot(folder / "template")
        project = render(folder / "my-chat", template=folder / "template")
        with serving(project) as server:
            pictures = converse(browser, server.url)
        put_together(browser, pictures)


def converse(browser: Browser, url: str) -> list[bytes]:
    """A picture of each tab when everything is said: one in light, one in dark."""
    light = browser.new_context(viewport=SIZE, device_scale_factor=SCALE, color_scheme="light")
    dark = browser.new_context(viewport=SIZE, device_scale_factor=SCALE, color_scheme="dark")
    tabs = [Tab(context, url) for context in (light, dark)]
    for tab, user in zip(tabs, ("Ada", "Grace"), strict=True):
        tab.enter(user)
    said = []
    for speaker, text in CONVERSATION:
        tabs[speaker].send(text)
        said.append(text)
        for tab in tabs:
            tab.expect_messages(*said)
    return [tab.page.screenshot() for tab in tabs]


def put_together(browser: Browser, pictures: list[bytes]) -> None:
    """Both pictures side by side."""
    images = "".join(
        f'<img width="{SIZE["width"]}" src="data:image/png;base64,{base64.b64encode(it).decode()}">'
        for it in pictures
    )
    page = browser.new_page(device_scale_factor=SCALE)
    page.set_viewport_size({"width": 2 * SIZE["width"] + 16, "height": SIZE["height"]})
    page.set_content(f'<body style="margin:0;display:flex;gap:16px;background:#888">{images}')
    PICTURE.parent.mkdir(exist_ok=True)
    page.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()
