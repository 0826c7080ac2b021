"""The headless Chromium that the browser tests drive."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser: that of the system, else the one that Playwright installed.

    Raises playwright's Error when there is none.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=next(filter(None, map(installed, NAMES)), None),
            args=[
                "--no-sandbox",  # containers have no user namespaces, and root no sandbox
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--no-first-run",
            ],
        )
        try:
            yield browser
        finally:
            browser.close()


def installed(name: str) -> str | None:
    """Where a browser is; one that comes as a snap can't be driven, so it does not count."""
    path = shutil.which(name)
    return path if path and "snap" not in Path(path).resolve().parts else None


if __name__ == "__main__":
    try:
        with chromium() as found:
            sys.stdout.write(f"Chromium {found.version}\n")
    except Error as error:
        sys.exit(f"no usable Chromium: {error.message.splitlines()[0]}")
