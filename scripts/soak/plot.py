"""The memory of the servers over time, with the faults, as SVG."""

from collections.abc import Iterable, Sequence
from html import escape

from scripts.soak.history import Fault
from scripts.soak.memory import MEGABYTE, Series

WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 55, 15, 60, 40

TITLES = {"app": "the application, all processes", "redis": "Redis", "postgres": "PostgreSQL"}

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 14px } .small { font-size: 10px; fill: #59636e }
.grid { stroke: #d1d9e0; stroke-width: 1 } .fault { stroke: #d1242f; stroke-width: 1 }
.mark { fill: #d1242f; font-size: 10px } polyline { fill: none; stroke-width: 2 }
.app { stroke: #0969da } .redis { stroke: #bc4c00 } .postgres { stroke: #818b98 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .small { fill: #9198a1 } .grid { stroke: #3d444d }
  .fault { stroke: #f85149 } .mark { fill: #f85149 }
  .app { stroke: #4493f8 } .redis { stroke: #db6d28 } .postgres { stroke: #7d8590 }
}
"""

MARKS = {
    "worker-kill": "W",
    "worker-stop": "w",
    "redis-kill": "R",
    "redis-loss": "L",
    "redis-stop": "r",
    "database-kill": "D",
    "worker-and-database-kill": "B",
    "resets": "x",
}
"""The letter of each kind of fault in the plot."""


def draw(series: Sequence[Series], faults: Iterable[Fault], title: str) -> str:
    """One line for each server, and a mark for each fault."""
    start = min(line.times[0] for line in series if line.times)
    seconds = max(1.0, max(line.times[-1] for line in series if line.times) - start)
    highest = max(max(line.sizes) for line in series if line.sizes) / MEGABYTE
    step = next(it for it in (10, 20, 50, 100, 200, 500, 1000, 2000) if highest / it <= 6)
    top = step * (int(highest / step) + 1)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(at: float) -> float:
        return LEFT + (at - start) / seconds * (right - LEFT)

    def y(megabytes: float) -> float:
        return bottom - megabytes / top * (bottom - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img">',
        f"<style>{STYLE}</style>",
        text(LEFT, 18, title, "title"),
    ]
    for size in range(0, top + 1, step):
        parts.append(line_(LEFT, y(size), right, y(size), "grid"))
        parts.append(text(5, y(size) + 4, f"{size} MB", "small"))
    every = next(it for it in (5, 10, 20, 30, 60, 120, 300, 600) if seconds / it <= 11)
    parts += (
        text(x(start + second) - 8, bottom + 15, f"{second} s", "small")
        for second in range(0, int(seconds) + 1, every)
    )
    for fault in faults:
        at = x(fault.at)
        parts.append(line_(at, TOP, at, bottom, "fault", opacity=0.45))
        parts.append(text(at - 3, TOP - 4, MARKS.get(fault.kind, "?"), "mark"))
    for line in series:
        points = " ".join(
            f"{x(at):.1f},{y(size / MEGABYTE):.1f}"
            for at, size in zip(line.times, line.sizes, strict=True)
        )
        parts.append(f'<polyline class="{line.name}" points="{points}"/>')
    for number, line in enumerate(series):
        left = LEFT + number * 240
        parts.append(line_(left, 34, left + 20, 34, line.name, width=2))
        parts.append(text(left + 26, 38, TITLES.get(line.name, line.name)))
    legend = "W kill of a worker, w its pause, R kill of Redis, L with loss of its data, "
    legend += "r its pause, D kill of the database, B of both it and a worker, x resets"
    parts.append(text(LEFT, HEIGHT - 6, legend, "small"))
    return "\n".join([*parts, "</svg>\n"])


def line_(
    x1: float, y1: float, x2: float, y2: float, kind: str, width: int = 1, opacity: float = 1
) -> str:
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke-width="{width}" opacity="{opacity}"/>'
    )


def text(x: float, y: float, content: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}>{escape(content)}</text>'
