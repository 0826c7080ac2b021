"""What the generated application is to reach, as ratios within one run."""

from collections.abc import Callable
from dataclasses import dataclass

Medians = dict[tuple[str, str, str], float]
"""Scenario, system and number: `("100w1", "raw", "cpu_us")`."""

Measure = Callable[[Medians], float | None]

ONE_IN_FLIGHT = ("100w1", "1000w1")
EIGHT_IN_FLIGHT = ("100w8", "1000w8")
ROOM = {
    "100w1": "100, one in flight",
    "1000w1": "1,000, one in flight",
    "100w8": "100, eight in flight",
    "1000w8": "1,000, eight in flight",
}


@dataclass(frozen=True)
class Target:
    title: str
    bound: float
    measure: Measure
    """None where it was not measured."""
    unit: str = "×"
    at_least: bool = False
    of_raw: Measure | None = None
    """What the raw server reaches, where one write for each message and socket is the limit.

    Against itself: when its frames are as long as the app's.
    """

    @property
    def limit(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{self.unit}"

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def show(self, value: float) -> str:
        return f"{value:.2f}{self.unit}"


def ratio(scenario: str, system: str, other: str, number: str = "cpu_us") -> Measure:
    def measure(medians: Medians) -> float | None:
        own = medians.get((scenario, system, number))
        limit = medians.get((scenario, other, number))
        return own / limit if own is not None and limit else None

    return measure


def stall_ratio(medians: Medians) -> float | None:
    stalled = medians.get(("stall1000", "app-memory", "with.p99_us"))
    free = medians.get(("stall1000", "app-memory", "without.p99_us"))
    return stalled / free if stalled is not None and free else None


def cpu(
    text: str, bound: float, other: str, scenarios: tuple[str, ...], system: str = "app-memory"
) -> list[Target]:
    return [
        Target(
            f"CPU {text} (room of {ROOM[name]})",
            bound,
            ratio(name, system, other),
            of_raw=raw_beside(other, name),
        )
        for name in scenarios
    ]


def raw_beside(other: str, scenario: str) -> Measure | None:
    if other == "app-memory" or scenario not in ONE_IN_FLIGHT:
        return None
    return ratio(scenario, "raw-framed" if other == "raw" else "raw", other)


TARGETS = (
    *cpu("÷ raw server", 1.1, "raw", ONE_IN_FLIGHT),
    *cpu("÷ raw server", 0.5, "raw", EIGHT_IN_FLIGHT),
    *cpu("÷ tutorial", 0.55, "tutorial", ONE_IN_FLIGHT),
    *cpu("÷ Litestar, memory", 0.4, "litestar-memory", ONE_IN_FLIGHT),
    *cpu("÷ broadcaster per connection", 0.3, "broadcaster-memory", ONE_IN_FLIGHT),
    *cpu("with Redis ÷ with memory", 1.4, "app-memory", ONE_IN_FLIGHT, "app-redis"),
    *cpu("with Redis ÷ with memory", 1.4, "app-memory", EIGHT_IN_FLIGHT, "app-redis"),
    *(
        Target(
            f"CPU of broadcaster ÷ ours, both with Redis (room of {ROOM[name]})",
            5,
            ratio(name, "broadcaster-redis", "app-redis"),
            at_least=True,
            of_raw=ratio(name, "broadcaster-redis", "raw") if name in ONE_IN_FLIGHT else None,
        )
        for name in (*ONE_IN_FLIGHT, *EIGHT_IN_FLIGHT)
    ),
    Target(
        "CPU ÷ raw server (100 rooms of 10)",
        1.4,
        ratio("100x10", "app-memory", "raw"),
        of_raw=ratio("100x10", "raw-framed", "raw"),
    ),
    Target(
        "memory of an idle connection, of 5,000",
        24,
        lambda medians: medians.get(("idle", "app-memory", "kb_per_connection")),
        unit=" KB",
    ),
    Target(
        "handshakes per second ÷ tutorial",
        1,
        ratio("handshakes", "app-memory", "tutorial", "per_second"),
        at_least=True,
    ),
    Target("p99 of the others when 1 of 1,000 stops reading ÷ when none does", 1.1, stall_ratio),
)
