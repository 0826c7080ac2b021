"""The results as a person reads them: the tables of README.md and its plot.

`python report.py` writes them again from results.json, and `--check` says whether they
are what results.json holds. Given another file of results, it prints their tables.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from catalog import SCENARIOS, SYSTEMS, Kind, Scenario
from plot import draw
from targets import TARGETS, Medians

HERE = Path(__file__).parent
README = HERE / "README.md"
RESULTS = HERE / "results.json"
PLOT = HERE / "plot.svg"
SECTION = re.compile(r"(?<=<!-- results -->\n).*(?=<!-- end of results -->)", re.DOTALL)

BUSY = 0.8
"""Above this share of its core the generator may be what limits a run…"""
SATURATED = 0.95
"""…unless the server has used up its own core."""

DISTURBED = 0.15
"""Above this share of the generator's core for other processes, a run is doubtful."""

PARTS = ("without", "with", "first", "return", "guests", "churn")
"""What runs of a stall, of a crowd and of presence consist of."""

FAULTS = {
    "lost": "deliveries lost",
    "doubled": "doubled",
    "reordered": "out of order",
    "strangers": "to the wrong room",
    "closed": "clients closed",
    "repeated": "TCP segments dropped and sent again",
}


def publish(results: dict[str, Any]) -> None:
    """Write results.json, the plot, and the section of the README."""
    runs = ",\n".join(json.dumps(run) for run in results["runs"])
    facts = json.dumps(results["facts"], indent=1)
    RESULTS.write_text(f'{{"facts": {facts},\n"runs": [\n{runs}\n]}}\n')
    write(results)


def write(results: dict[str, Any]) -> None:
    PLOT.write_text(draw(find_medians(results)))
    README.write_text(with_section(README.read_text(), results))


def with_section(readme: str, results: dict[str, Any]) -> str:
    section = f"\n{describe(results)}\n"
    return SECTION.sub(lambda _: section, readme)


def is_current() -> bool:
    """Whether the README and the plot are what results.json holds."""
    results = json.loads(RESULTS.read_text())
    readme = README.read_text()
    return (
        with_section(readme, results) == readme and draw(find_medians(results)) == PLOT.read_text()
    )


def find_medians(results: dict[str, Any]) -> Medians:
    """The median over the rounds of each number of each system in each scenario.

    Where a system failed in every round, there is only a number `failed`.
    """
    values: dict[tuple[str, str, str], list[float]] = {}
    for run in results["runs"]:
        for name, value in flat(run):
            values.setdefault((run["scenario"], run["system"], name), []).append(value)
    return {key: median(numbers) for key, numbers in values.items()}


def flat(run: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in run.items():
        if name == "failed":
            yield name, 1
        elif isinstance(value, dict):
            yield from ((f"{name}.{inner}", number) for inner, number in flat(value))
        elif isinstance(value, int | float):
            yield name, value


def describe(results: dict[str, Any]) -> str:
    """All tables that the results have numbers for, as Markdown."""
    medians = find_medians(results)
    measured = [scenario for scenario in SCENARIOS if rows_of(results, scenario)]
    loads = [scenario for scenario in measured if scenario.kind == "load"]
    parts = [describe_facts(results["facts"]), describe_targets(medians)]
    if loads:
        parts += [describe_cpu(medians, loads, results), describe_ratios(medians, loads)]
    parts += [describe_load(medians, scenario, results) for scenario in loads]
    if any(scenario.kind in ("idle", "handshakes") for scenario in measured):
        parts.append(describe_connections(medians))
    parts += [DETAILS[s.kind](medians, s) for s in measured if s.kind in DETAILS]
    parts.append(describe_remarks(results))
    return "\n\n".join(part for part in parts if part)


def rows_of(results: dict[str, Any], scenario: Scenario) -> list[dict[str, Any]]:
    return [run for run in results["runs"] if run["scenario"] == scenario.name]


# --- The parts ------------------------------------------------------------------------


def describe_facts(facts: dict[str, Any]) -> str:
    listing = ", ".join(f"{name} {version}" for name, version in facts["peers"].items())
    own = ", ".join(f"{name} {version}" for name, version in facts["app"].items())
    pinned = "The server has a core of its own" if facts["pinned"] else "There is one core for all"
    if facts["pinned"] and facts["shared_core"]:
        pinned += "; Redis shares that of the generator"
    return (
        f"Measured on {facts['date']}: {facts['processor']}, {facts['cores']} cores, "
        f"Linux {facts['kernel']}, load average {facts['load_average']} before. {pinned}. "
        f"Numbers that a target depends on are medians of {facts['rounds']} interleaved rounds; "
        "the others are of one round or more.\n\n"
        f"The generated app ran with {own or 'an unknown environment'}; "
        f"the others with {listing}."
    )


def describe_targets(medians: Medians) -> str:
    rows = []
    for target in TARGETS:
        if target.missed_by_raw(medians) is not None:
            continue
        value = target.measure(medians)
        limit = target.of_raw(medians) if target.of_raw is not None else None
        raw = target.show(limit) if limit is not None else ""
        if value is None:
            rows.append([target.title, target.limit, raw, "not measured", ""])
        else:
            verdict = "met" if target.is_met(value) else "**not met**"
            rows.append([target.title, target.limit, raw, target.show(value), verdict])
    heading = (
        '### Targets\n\nThe app has the memory broker unless Redis is named. "÷ raw server" is '
        "measured against the raw server that sends frames as long as the app's, which wraps a "
        'text of 100 bytes in JSON. The column "raw server" has what that server would reach '
        "in the place of the app.\n\n"
    )
    parts = [heading + table(["", "target", "raw server", "measured", ""], rows)]
    return "\n\n".join(parts + describe_left_out(medians))


def describe_left_out(medians: Medians) -> list[str]:
    """A sentence about the targets that nobody can reach, if there are any."""
    left_out = []
    for target in TARGETS:
        reached = target.missed_by_raw(medians)
        if reached is not None:
            left_out.append(f"{target.title} {target.limit}, it reached {target.show(reached)}")
    if not left_out:
        return []
    return [f"Left out, because the raw server itself misses them: {'; '.join(left_out)}."]


def describe_cpu(medians: Medians, loads: list[Scenario], results: dict[str, Any]) -> str:
    rows = []
    for system in systems_of(results):
        cells = [cell(medians, s.name, system, "cpu_us", "{:.1f}") for s in loads]
        rows.append([title(system), *cells])
    heading = "### CPU of the server per delivery\n\nMicroseconds; less is better.\n\n"
    return heading + table(["", *(scenario.title for scenario in loads)], rows)


def describe_ratios(medians: Medians, loads: list[Scenario]) -> str:
    """The generated app with the memory broker, as a share of each of the others."""
    rows = []
    for system in SYSTEMS:
        cells = []
        for scenario in loads:
            own = medians.get((scenario.name, "app-memory", "cpu_us"))
            other = medians.get((scenario.name, system.name, "cpu_us"))
            cells.append(f"{own / other:.2f}×" if own and other else "–")
        if system.name != "app-memory" and set(cells) != {"–"}:
            rows.append([system.title, *cells])
    if not rows:
        return ""
    heading = "The generated app (memory) needs so much of the CPU of:\n\n"
    return heading + table(["", *(scenario.title for scenario in loads)], rows)


def describe_load(medians: Medians, scenario: Scenario, results: dict[str, Any]) -> str:
    header = [
        "",
        "deliveries/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "server busy",
        "generator busy",
        "its core idle",
    ]
    rows = []
    for system in systems_of(results):
        cells = [
            cell(medians, scenario.name, system, "per_second", "{:,.0f}"),
            *(
                cell(medians, scenario.name, system, name, "{:.2f}", 1e-3)
                for name in ("p50_us", "p99_us", "p999_us")
            ),
            *(
                cell(medians, scenario.name, system, name, "{:.0%}")
                for name in ("server_busy", "generator_busy", "generator_core_idle")
            ),
        ]
        if set(cells) != {"–"}:
            rows.append([title(system), *cells])
    return details(scenario.title, table(header, rows))


def describe_connections(medians: Medians) -> str:
    rows = []
    for system in SYSTEMS:
        cells = [
            cell(medians, "idle", system.name, "kb_per_connection", "{:.1f}"),
            cell(medians, "handshakes", system.name, "per_second", "{:,.0f}"),
            cell(medians, "handshakes", system.name, "cpu_us", "{:.0f}"),
        ]
        if set(cells) != {"–"}:
            rows.append([system.title, *cells])
    header = ["", "KB per idle connection", "handshakes/s", "CPU µs per handshake"]
    return "### Connections\n\n" + table(header, rows)


def describe_stall(medians: Medians, scenario: Scenario) -> str:
    rows = []
    for system in SYSTEMS:
        rate, p99, growth = (
            [
                cell(medians, scenario.name, system.name, f"{run}.{name}", form, factor)
                for run in ("without", "with")
            ]
            for name, form, factor in (
                ("late_per_second", "{:,.0f}", 1),
                ("p99_us", "{:.1f}", 1e-3),
                ("growth_kb", "{:.1f}", 1 / 1024),
            )
        )
        free = medians.get((scenario.name, system.name, "without.late_per_second"))
        stalled = medians.get((scenario.name, system.name, "with.late_per_second"))
        if free and stalled is not None:
            share = stalled / free
            rate[1] = f"{share:.0%}" if share > 0.01 else "**they stop**"
        unread = cell(
            medians,
            scenario.name,
            system.name,
            "with.deliveries",
            "{:.1f}",
            scenario.bytes / (scenario.clients - 1) / 1e6,
        )
        if {*rate, *p99, *growth} != {"–"}:
            rows.append([system.title, *rate, *p99, *growth, unread])
    header = ["", "deliveries/s to the others", "with a stalled client", "p99 ms", "with"]
    header += ["server's memory grows, MB", "with", "what the client left unread, MB"]
    return f"### {scenario.title}\n\n" + table(header, rows)


def describe_crowd(medians: Medians, scenario: Scenario) -> str:
    rows = []
    for system in SYSTEMS:
        cells = [
            cell(medians, scenario.name, system.name, f"{part}.{name}", form)
            for part in ("first", "return")
            for name, form in (("seconds", "{:.1f}"), ("cpu_us", "{:.0f}"))
        ]
        if set(cells) == {"–"}:
            continue
        first, back, recovered, clients = (
            medians.get((scenario.name, system.name, name))
            for name in ("first.cpu_us", "return.cpu_us", "recovered", "clients")
        )
        cells.append(f"{back / first:.2f}×" if first and back else "–")
        cells.append(f"{recovered / clients:.0%}" if clients and recovered is not None else "–")
        rows.append([system.title, *cells])
    header = ["", "seconds for all to enter", "CPU µs per client", "seconds for all to return"]
    header += ["CPU µs per client", "CPU to return ÷ to enter", "clients that recovered all"]
    return f"### {scenario.title}\n\n" + table(header, rows)


def describe_presence(medians: Medians, scenario: Scenario) -> str:
    rows = []
    for system in SYSTEMS:
        cells = [
            cell(medians, scenario.name, system.name, name, form)
            for name, form in (
                ("guests.kb_per_client", "{:.1f}"),
                ("guests.cpu_us", "{:.0f}"),
                ("churn.bytes_out_per_byte_in", "{:.0f}"),
            )
        ]
        if set(cells) != {"–"}:
            rows.append([system.title, *cells])
    header = ["", "KB that each guest is sent", "CPU µs per guest"]
    header += ["bytes out for each byte in, when one of 300 leaves and enters again and again"]
    return f"### {scenario.title}\n\n" + table(header, rows)


DETAILS: dict[Kind, Callable[[Medians, Scenario], str]] = {
    "stall": describe_stall,
    "crowd": describe_crowd,
    "presence": describe_presence,
}
"""The scenarios that have a table of their own."""


def describe_remarks(results: dict[str, Any]) -> str:
    """What went wrong or is doubtful, run by run."""
    remarks: dict[str, None] = {}  # without those that every round repeats
    for run in results["runs"]:
        where = f"{title(run['system'])}, {scenario_title(run['scenario'])}"
        if "failed" in run:
            remarks[f"{where}: **failed**: {run['failed']}"] = None
        for name, part in (("", run), *((f" ({name})", run.get(name, {})) for name in PARTS)):
            for doubt in doubts(part):
                remarks[f"{where}{name}, round {run['round']}: {doubt}"] = None
    if not remarks:
        return "No message was lost, doubled or out of order, no run was disturbed, none failed."
    return "### Remarks\n\n" + "\n".join(f"- {remark}" for remark in remarks)


def doubts(run: dict[str, Any]) -> Iterator[str]:
    yield from (f"{run[name]} {text}" for name, text in FAULTS.items() if run.get(name))
    if run.get("missed") and run["recovered"] < run["clients"]:
        yield f"{run['clients'] - run['recovered']} clients could not recover what they missed"
    if "deliveries" not in run:
        return
    if run["generator_busy"] > BUSY and run["server_busy"] < SATURATED:
        yield (
            f"the generator was {run['generator_busy']:.0%} busy and the server "
            f"{run['server_busy']:.0%}: its rate may be higher"
        )
    if run.get("disturbed", 0) > DISTURBED:
        yield f"other processes used {run['disturbed']:.0%} of the generator's core"


# --- Markdown -------------------------------------------------------------------------


def systems_of(results: dict[str, Any]) -> list[str]:
    measured = {run["system"] for run in results["runs"]}
    return [system.name for system in SYSTEMS if system.name in measured]


def title(system: str) -> str:
    return next(item.title for item in SYSTEMS if item.name == system)


def scenario_title(scenario: str) -> str:
    return next(item.title for item in SCENARIOS if item.name == scenario)


def cell(
    medians: Medians, scenario: str, system: str, name: str, form: str, factor: float = 1
) -> str:
    value = medians.get((scenario, system, name))
    if value is not None:
        return form.format(value * factor)
    return "failed" if (scenario, system, "failed") in medians else "–"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def details(summary: str, text: str) -> str:
    heading = f"<summary>{summary}: rate, latency, and what was busy</summary>"
    return f"<details>{heading}\n\n{text}\n\n</details>"


def main(arguments: list[str]) -> str | None:
    """An error, if any."""
    if arguments == ["--check"]:
        return None if is_current() else "README.md or plot.svg is not what results.json holds"
    if arguments:
        print(describe(json.loads(Path(arguments[0]).read_text())))
    else:
        write(json.loads(RESULTS.read_text()))
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
