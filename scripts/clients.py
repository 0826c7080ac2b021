"""Measure the pages of the clients, side by side: what is loaded, and when a message is shown.

Every round opens each page once, with an empty cache, without a login, over loopback. README.md
has the medians. `make bench-clients` calls this.
"""

import argparse
import gzip
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from statistics import median

from playwright.sync_api import Browser, Response

from tests.chromium import chromium
from tests.people import publish, serving_page
from tests.template import SNAPSHOT_VARIABLE, Combination, choices, take_snapshot

PAGES = [client for client in choices("client") if client not in {"python", "none"}]

FIRST_MESSAGE = """() => new Promise((resolve) => {
  const look = () => {
    if (document.querySelector('#messages [data-state="sent"]')) resolve(performance.now());
    else requestAnimationFrame(look);
  };
  look();
})"""
"""Milliseconds from the start of the navigation to the frame that shows a message."""


@dataclass
class Loaded:
    """What the openings of a page took."""

    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each script and style sheet, with gzip."""
    times: list[float] = field(default_factory=list)
    """Milliseconds."""


def open_page(browser: Browser, address: str, loaded: Loaded) -> None:
    """Open a page in a new browser, and wait for a message of the room's history."""

    def weigh(response: Response) -> None:
        if response.request.resource_type in {"script", "stylesheet"}:
            loaded.sizes[response.url] = len(gzip.compress(response.body(), 9))

    with browser.new_context() as context:
        page = context.new_page()
        if not loaded.sizes:
            page.on("response", weigh)
        page.goto(address)
        loaded.times.append(page.evaluate(FIRST_MESSAGE))


def measure(folder: Path, rounds: int) -> dict[str, Loaded]:
    """Open all pages, one after the other, `rounds` times. The first round warms up."""
    found = {client: Loaded() for client in PAGES}
    with ExitStack() as stack:
        browser = stack.enter_context(chromium())
        addresses = {}
        for client in PAGES:
            combination = Combination("none", "memory", client)
            server = stack.enter_context(serving_page(folder / client, combination))
            room = token_hex(4)
            publish(server, room, "hello")
            addresses[client] = f"{server.url}#{room}"
        for _ in range(rounds + 1):
            for client, loaded in found.items():
                open_page(browser, addresses[client], loaded)
    return found


def report(found: dict[str, Loaded]) -> str:
    """A Markdown table."""
    lines = ["| | " + " | ".join(f"`{client}`" for client in found) + " |"]
    lines.append("| --- |" + " --- |" * len(found))
    rows = {
        "JavaScript, gzip": [f"{size_of(it, '.js') / 1000:.1f} KB" for it in found.values()],
        "CSS, gzip": [f"{size_of(it, '.css') / 1000:.1f} KB" for it in found.values()],
        "requests for them": [str(len(it.sizes)) for it in found.values()],
        "until the first message is shown": [
            f"{median(it.times[1:]):.0f} ms" for it in found.values()
        ],
    }
    lines += [f"| {title} | " + " | ".join(cells) + " |" for title, cells in rows.items()]
    return "\n".join(lines)


def size_of(loaded: Loaded, suffix: str) -> int:
    return sum(size for url, size in loaded.sizes.items() if url.endswith(suffix))


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-clients", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "template"
        take_snapshot(template)
        os.environ[SNAPSHOT_VARIABLE] = str(template)
        sys.stdout.write(f"{report(measure(Path(folder), rounds))}\n")


if __name__ == "__main__":
    main()
