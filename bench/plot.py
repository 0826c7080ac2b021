"""The plot of README.md: an SVG that follows the reader's light or dark theme."""

from html import escape

from catalog import SCENARIOS, SYSTEMS
from targets import Medians

PANELS = ("1000w1", "1000w8")
LABELS, WIDTH, GAP, ROW, BAR = 275, 240, 40, 24, 14

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.small { font-size: 11px; fill: #59636e }
.own { fill: #0969da } .limit { fill: #818b98 } .peer { fill: #c8d1da }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .small { fill: #9198a1 }
  .own { fill: #4493f8 } .limit { fill: #7d8590 } .peer { fill: #3d444d }
}
"""


def draw(medians: Medians) -> str:
    """Deliveries that a second of the server's CPU pays for: a bar for each system."""
    rates = {
        (scenario, system.name): 1e6 / medians[scenario, system.name, "cpu_us"]
        for scenario in PANELS
        for system in SYSTEMS
        if medians.get((scenario, system.name, "cpu_us"))
    }
    longest = max(rates.values(), default=1)
    # Room for the number behind the longest bar.
    scale = (WIDTH - 50) / longest
    width = LABELS + len(PANELS) * (WIDTH + GAP)
    height = 70 + ROW * len(SYSTEMS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        f"<style>{STYLE}</style>",
        text(0, 18, "Deliveries per second of the server's CPU, in thousands: more is better"),
    ]
    for column, scenario in enumerate(PANELS):
        title = next(item.title for item in SCENARIOS if item.name == scenario)
        parts.append(text(LABELS + column * (WIDTH + GAP), 46, title, "small"))
    for number, system in enumerate(SYSTEMS):
        top = 58 + ROW * number
        parts.append(text(0, top + 12, system.title.replace("*", "").replace("`", "")))
        kind = "limit" if system.script == "raw.py" else "own" if system.script is None else "peer"
        for column, scenario in enumerate(PANELS):
            left = LABELS + column * (WIDTH + GAP)
            rate = rates.get((scenario, system.name))
            if rate is None:
                parts.append(text(left, top + 12, "not measured", "small"))
                continue
            bar = rate * scale
            parts.append(
                f'<rect class="{kind}" x="{left}" y="{top}" width="{bar:.1f}" height="{BAR}"/>'
            )
            parts.append(text(left + bar + 6, top + 12, f"{rate / 1000:.0f}", "small"))
    return "\n".join([*parts, "</svg>\n"])


def text(x: float, y: float, content: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y}"{style}>{escape(content)}</text>'
