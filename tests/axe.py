"""What axe-core finds on a page: https://github.com/dequelabs/axe-core"""

from functools import cache

from playwright.sync_api import Page

from tests.node import TOOLS

SERIOUS = {"serious", "critical"}


@cache
def script() -> str:
    return (TOOLS / "node_modules/axe-core/axe.min.js").read_text()


def barriers(page: Page) -> list[str]:
    """What keeps people from using the page: each rule, its impact, and where it is broken."""
    page.evaluate(script())
    return [
        f"{found['id']} ({found['impact']}): {[node['html'][:200] for node in found['nodes']]}"
        for found in page.evaluate("axe.run()")["violations"]
        if found["impact"] in SERIOUS
    ]
