"""Measure the generated application beside its peers, and beside the limit.

A round measures the scenarios on the systems, one after the other, each on a fresh server.
The first round measures everything, later ones what a target names. The report has the medians
of the rounds. `make bench` calls this.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple, TypeVar

from catalog import SCENARIOS, SYSTEMS, Kind, Scenario, System
from facts import collect_facts
from measure import Bench, Result, measure
from processes import RunError, choose_cores
from report import describe, publish

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
LAST = CACHE / "last.json"
"""What the last run has measured so far."""

ROUNDS = 5

Named = TypeVar("Named", System, Scenario)


class Measurement(NamedTuple):
    """One entry of the plan."""

    round: int
    scenario: Scenario
    system: System

    @property
    def key(self) -> tuple[int, str, str]:
        return self.round, self.scenario.name, self.system.name


def main() -> None:
    options = parse_options()
    resource.setrlimit(resource.RLIMIT_NOFILE, 2 * resource.getrlimit(resource.RLIMIT_NOFILE)[1:])
    CACHE.mkdir(exist_ok=True)
    load_average = os.getloadavg()[0]
    bench = prepare(options)
    plan = make_plan(options.only, options.scenarios, options.rounds)
    if options.resume:
        results = read_last(options)
        say(f"{len(results['runs'])} of {len(plan)} measurements are there already.")
    else:
        facts = collect_facts(bench, options.rounds, load_average)
        results = {"facts": facts, "options": in_words(options), "runs": []}
    measure_all(bench, plan, results)
    print(describe(results))
    if options.is_complete or options.publish:
        publish(results)
        say("README.md, plot.svg and results.json have the new numbers.")
    else:
        say("README.md and results.json keep their numbers: this was not a complete run.")


def in_words(options: argparse.Namespace) -> dict[str, str]:
    """The options that decide what is measured, and how."""
    names = ("quick", "only", "scenarios", "rounds", "app", "python")
    return {name: str(getattr(options, name)) for name in names}


def read_last(options: argparse.Namespace) -> Result:
    """The results so far of the run that is to be resumed. Raises SystemExit."""
    if not LAST.exists():
        raise SystemExit("There is no run to resume.")
    results: Result = json.loads(LAST.read_text())
    if results["options"] != in_words(options):
        raise SystemExit("The last run had other options: give the same ones to resume it.")
    return results


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, usage="make bench ARGS=…")
    parser.add_argument("--quick", action="store_true", help="one round of short measurements")
    parser.add_argument("--only", metavar="A,B", help=", ".join(s.name for s in SYSTEMS))
    parser.add_argument("--scenarios", metavar="A,B", help=", ".join(s.name for s in SCENARIOS))
    parser.add_argument("--rounds", type=int, metavar="N", help=f"{ROUNDS}, or 1 with --quick")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the last run, if it was interrupted; give the same options again",
    )
    parser.add_argument("--app", type=Path, help="a rendered project (auth none, broker redis)")
    parser.add_argument("--python", type=Path, help="the interpreter that runs it")
    parser.add_argument(
        "--publish", action="store_true", help="write README.md even if this is not a complete run"
    )
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else ROUNDS)
    options.is_complete = options.rounds >= ROUNDS and not (
        options.quick or options.only or options.scenarios or options.app
    )
    try:
        options.only = chosen(options.only, SYSTEMS)
        options.scenarios = chosen(options.scenarios, SCENARIOS)
    except KeyError as error:
        parser.error(f"there is no {error}")
    return options


def chosen(names: str | None, known: tuple[Named, ...]) -> tuple[Named, ...]:
    """Those that a list names, in its order. Raises KeyError."""
    if names is None:
        return known
    by_name = {item.name: item for item in known}
    return tuple(by_name[name] for name in names.split(","))


def prepare(options: argparse.Namespace) -> Bench:
    """Compile the generator, and render the application if it is not given.

    A run that is resumed goes on with the application that it began with.
    """
    generator = CACHE / "load"
    compile_generator(generator)
    app = options.app
    is_needed = any(system.script is None for system in options.only)
    if app is None and is_needed and not options.resume:
        app = render_app(CACHE / "app")
    app = (app or CACHE / "app").resolve()
    return Bench(
        generator,
        app,
        (options.python or app / ".venv/bin/python").absolute(),
        choose_cores(),
        pace=0.5 if options.quick else 1,
    )


def compile_generator(binary: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("There is no C compiler: install gcc, then run this again.")
    flags = ["-O2", "-Wall", "-Wextra"]
    subprocess.run([compiler, *flags, "-o", binary, HERE / "load.c"], check=True)


def render_app(project: Path, broker: str = "redis", *, with_tests: bool = False) -> Path:
    """The template as it stands in the working tree, with an environment of its own.

    `with_tests`: what its tests need is installed too.
    """
    import copier  # noqa: PLC0415

    say("Rendering the application.")
    shutil.rmtree(project, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="bench-template-") as folder:
        template = Path(folder)
        shutil.copy(HERE.parent / "copier.yml", template)
        shutil.copytree(HERE.parent / "template", template / "template")
        answers = {"auth": "none", "broker": broker, "client": "none"}
        copier.run_copy(str(template), project, data=answers, defaults=True, quiet=True)
    sync = ["uv", "sync", "--quiet", "--python", sys.executable]
    sync += [] if with_tests else ["--no-dev"]
    subprocess.run(sync, cwd=project, check=True)
    return project


def make_plan(
    systems: tuple[System, ...], scenarios: tuple[Scenario, ...], rounds: int
) -> list[Measurement]:
    """What is measured, in its order. Later rounds are for what a target names."""
    return [
        Measurement(number, scenario, system)
        for number in range(1, rounds + 1)
        for scenario, system in in_order(systems, scenarios)
        if number == 1 or scenario.is_repeated_for(system)
    ]


def measure_all(bench: Bench, plan: list[Measurement], results: Result) -> None:
    """Measure what the results lack. The file of the last run has them after each step.

    A system that fails is tried again in the next round, and its reason is kept.
    """
    runs = results["runs"]
    there = Counter((run["round"], run["scenario"], run["system"]) for run in runs)
    began = time.monotonic()
    for position, measurement in enumerate(plan, 1):
        if there[measurement.key]:
            there[measurement.key] -= 1
            continue
        number, scenario, system = measurement.key
        run: Result = {"round": number, "scenario": scenario, "system": system}
        try:
            run |= measure(bench, measurement.system, measurement.scenario)
        except RunError as failure:
            run["failed"] = str(failure)
        runs.append(run)
        LAST.write_text(json.dumps(results))
        minutes = (time.monotonic() - began) / 60
        progress = f"{position}/{len(plan)}, {minutes:.0f} min, round {number}"
        say(f"{progress}  {scenario:10} {system:18} {summary(run)}")


def in_order(
    systems: tuple[System, ...], scenarios: tuple[Scenario, ...]
) -> Iterator[tuple[Scenario, System]]:
    """What a round measures: all systems side by side, as often as the scenario says."""
    for scenario in scenarios:
        for _ in range(scenario.times):
            for system in systems:
                if scenario.kind in system.kinds:
                    yield scenario, system


def summary(run: Result) -> str:
    """What a run has found, in a few words for whoever watches."""
    if "failed" in run:
        return f"failed: {run['failed']}"
    kind = next(scenario.kind for scenario in SCENARIOS if scenario.name == run["scenario"])
    return SUMMARIES[kind](run)


def load_summary(run: Result) -> str:
    return (
        f"{run['cpu_us'] or 0:.2f} µs, {run['per_second']} deliveries/s, "
        f"p50 {run['p50_us'] / 1e3:.2f} p99 {run['p99_us'] / 1e3:.2f} ms, "
        f"busy: server {run['server_busy']:.0%}, generator {run['generator_busy']:.0%} "
        f"{faults_of(run) or ''}"
    )


def stall_summary(run: Result) -> str:
    stalled, free = run["with"], run["without"]
    return (
        f"{free['late_per_second']} → {stalled['late_per_second']} deliveries/s, "
        f"p99 {free['p99_us'] / 1e3:.1f} → {stalled['p99_us'] / 1e3:.1f} ms, "
        f"{free['growth_kb']:+} → {stalled['growth_kb']:+} KB"
    )


def idle_summary(run: Result) -> str:
    return f"{run['kb_per_connection']} KB a connection"


def handshakes_summary(run: Result) -> str:
    return f"{run['per_second']} handshakes/s, {run['cpu_us']} µs each"


def crowd_summary(run: Result) -> str:
    first, back = run["first"], run["return"]
    return (
        f"all current after {back['seconds']:.2f} s, {back['cpu_us']} µs each; "
        f"the first time {first['seconds']:.2f} s, {first['cpu_us']} µs; "
        f"{run['recovered']} of {run['clients']} recovered {faults_of(run) or ''}"
    )


def presence_summary(run: Result) -> str:
    guests, churn = run["guests"], run["churn"]
    return (
        f"{guests['kb_per_client']} KB and {guests['cpu_us']} µs for each guest, "
        f"{churn['bytes_out_per_byte_in']} bytes out for each byte in"
    )


SUMMARIES: dict[Kind, Callable[[Result], str]] = {
    "load": load_summary,
    "stall": stall_summary,
    "idle": idle_summary,
    "handshakes": handshakes_summary,
    "crowd": crowd_summary,
    "presence": presence_summary,
}


def faults_of(run: Result) -> Result:
    return {name: run[name] for name in ("lost", "doubled", "reordered", "closed") if run[name]}


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
