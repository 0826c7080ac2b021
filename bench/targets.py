"""What the generated application is to reach, as ratios within one run."""

from collections.abc import Callable
from dataclasses import dataclass

Medians = dict[tuple[str, str, str], float]
"""Scenario, system and number: `("100w1", "raw", "cpu_us")`."""

Measure = Callable[[Medians], float | None]

ONE_IN_FLIGHT = ("100w1", "1000w1")
EIGHT_IN_FLIGHT = ("100w8", "1000w8")
TENS = ("100x10",)
ALL_LOADS = (*ONE_IN_FLIGHT, *EIGHT_IN_FLIGHT, *TENS)
ROOMS = {
    "100w1": "room of 100, one in flight",
    "1000w1": "room of 1,000, one in flight",
    "100w8": "room of 100, eight in flight",
    "1000w8": "room of 1,000, eight in flight",
    "100x10": "100 rooms of 10",
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
    """What the raw server reaches, where it does the same work and so is the limit.

    It writes each message to each socket. The generated app does so too if only one message
    is in flight; otherwise it joins messages into one write, and can be faster.
    """

    @property
    def limit(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{self.unit}"

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def missed_by_raw(self, medians: Medians) -> float | None:
        """What the raw server reaches, if it misses this target itself: nobody can meet it."""
        reached = self.of_raw(medians) if self.of_raw is not None else None
        return None if reached is None or self.is_met(reached) else reached

    def show(self, value: float) -> str:
        return f"{value:.2f}{self.unit}"


def number(scenario: str, system: str, name: str = "cpu_us") -> Measure:
    return lambda medians: medians.get((scenario, system, name))


def ratio(measured: Measure, other: Measure) -> Measure:
    def measure(medians: Medians) -> float | None:
        value, divisor = measured(medians), other(medians)
        return value / divisor if value is not None and divisor else None

    return measure


def raw_cpu(scenario: str) -> Measure:
    """CPU of the raw server: with frames as long as the app's, if that was measured."""

    def measure(medians: Medians) -> float | None:
        framed = number(scenario, "raw-framed")(medians)
        return framed if framed is not None else number(scenario, "raw")(medians)

    return measure


def beside_raw(scenarios: tuple[str, ...], bound: float) -> list[Target]:
    return [
        Target(
            f"CPU ÷ raw server ({ROOMS[name]})",
            bound,
            ratio(number(name, "app-memory"), raw_cpu(name)),
        )
        for name in scenarios
    ]


def beside_tutorial(name: str, bound: float) -> Target:
    tutorial = number(name, "tutorial")
    return Target(
        f"CPU ÷ tutorial ({ROOMS[name]})",
        bound,
        ratio(number(name, "app-memory"), tutorial),
        of_raw=None if name in EIGHT_IN_FLIGHT else ratio(raw_cpu(name), tutorial),
    )


TARGETS = (
    *beside_raw(ONE_IN_FLIGHT, 1.15),
    *beside_raw(EIGHT_IN_FLIGHT, 0.3),
    *beside_raw(TENS, 1.5),
    beside_tutorial("100w1", 0.7),
    beside_tutorial("1000w1", 0.6),
    beside_tutorial("100w8", 0.2),
    beside_tutorial("1000w8", 0.2),
    beside_tutorial("100x10", 0.75),
    *(
        Target(
            f"CPU with Redis ÷ with memory ({ROOMS[name]})",
            1.4,
            ratio(number(name, "app-redis"), number(name, "app-memory")),
        )
        for name in ALL_LOADS
    ),
    Target(
        "memory of an idle connection, of 5,000",
        16,
        number("idle", "app-memory", "kb_per_connection"),
        unit=" KB",
        of_raw=number("idle", "raw", "kb_per_connection"),
    ),
    Target(
        "handshakes per second ÷ tutorial",
        1,
        ratio(
            number("handshakes", "app-memory", "per_second"),
            number("handshakes", "tutorial", "per_second"),
        ),
        at_least=True,
        of_raw=ratio(
            number("handshakes", "raw", "per_second"),
            number("handshakes", "tutorial", "per_second"),
        ),
    ),
    Target(
        "CPU of 5,000 clients that return after a kill ÷ when they first came, with Redis",
        1.3,
        ratio(
            number("crowd", "app-redis", "return.cpu_us"),
            number("crowd", "app-redis", "first.cpu_us"),
        ),
    ),
    Target(
        "p99 of the others when 1 of 1,000 stops reading ÷ when none does",
        1.1,
        ratio(
            number("stall1000", "app-memory", "with.p99_us"),
            number("stall1000", "app-memory", "without.p99_us"),
        ),
    ),
)
