"""One measurement: start one system, put one scenario on it, end it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog import SYSTEMS_FOLDER, Framing, Scenario, System
from processes import (
    Cores,
    RunError,
    free_port,
    memory_kilobytes,
    redis_server,
    repeated_segments,
    serving,
)

Result = dict[str, Any]

NO_LIMITS = {
    "MESSAGES_PER_SECOND": "0",
    "MAX_CONNECTIONS": "0",
    "MAX_CONNECTIONS_PER_ADDRESS": "0",
    "MAX_CONNECTIONS_PER_USER": "0",
}
"""The generated app's settings that would refuse a load from a single address."""

SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Bench:
    """What all measurements have in common."""

    generator: Path
    app: Path
    """The rendered project."""
    app_python: Path
    cores: Cores
    pace: float = 1.0
    """How long to measure, as a share of what the scenario says; a stall takes its time."""


@dataclass(frozen=True)
class Target:
    """A running server."""

    port: int
    pids: list[int]
    redis_pids: list[int]


@contextmanager
def running(bench: Bench, system: System) -> Iterator[Target]:
    """Start a system with what it needs."""
    with ExitStack() as stack:
        url, redis_pids = "memory://", []
        if system.broker == "redis":
            url, pid = stack.enter_context(redis_server(bench.cores.redis))
            redis_pids.append(pid)
        port = free_port()
        environment = {"PORT": str(port), "BROKER_URL": url, **NO_LIMITS, **system.environment}
        if system.script is None:
            command, folder = [bench.app_python, "-m", "app"], bench.app
        else:
            command, folder = [sys.executable, SYSTEMS_FOLDER / system.script], SYSTEMS_FOLDER
        pids = stack.enter_context(
            serving([str(part) for part in command], port, bench.cores.server, folder, environment)
        )
        yield Target(port, pids, redis_pids)


def measure(bench: Bench, system: System, scenario: Scenario) -> Result:
    """Raises RunError."""
    if scenario.kind == "idle":
        return measure_idle(bench, system, scenario)
    if scenario.kind == "handshakes":
        return measure_handshakes(bench, system, scenario)
    if scenario.kind == "stall":
        return {
            "without": measure_load(bench, system, scenario, stalled=0),
            "with": measure_load(bench, system, scenario, stalled=1),
        }
    return measure_load(bench, system, scenario, stalled=0)


def measure_load(bench: Bench, system: System, scenario: Scenario, stalled: int) -> Result:
    # How soon buffers are full is not ours to choose.
    seconds = round(scenario.seconds * (1 if scenario.kind == "stall" else bench.pace))
    with running(bench, system) as target:
        repeated = repeated_segments()
        output = generate(
            bench,
            target,
            *framing_options(system.framing),
            *size_options(scenario),
            *("--window", scenario.window),
            *("--bytes", scenario.bytes),
            *("--settle", SETTLE_SECONDS),
            *("--warmup", 0.5 if scenario.kind == "stall" else 1),
            *("--seconds", seconds),
            *("--stall", stalled),
        )
        load = output["load"]
        repeated = repeated_segments() - repeated
    servers = load["processes"][: len(target.pids)]
    redis = load["processes"][len(target.pids) :]
    server_cpu = sum(process["cpu_seconds"] for process in servers)
    redis_cpu = sum(process["cpu_seconds"] for process in redis)
    deliveries = load["deliveries"]
    half = load["per_second"][len(load["per_second"]) // 2 :]
    return {
        "deliveries": deliveries,
        "per_second": round(deliveries / load["seconds"]),
        "late_per_second": round(sum(half) / len(half)),
        "cpu_us": round(1e6 * server_cpu / deliveries, 3) if deliveries else None,
        "redis_cpu_us": round(1e6 * redis_cpu / deliveries, 3) if redis and deliveries else None,
        "server_busy": round(server_cpu / load["seconds"], 3),
        "generator_busy": load["generator_cpu"],
        **core_shares(load, redis_cpu if bench.cores.redis == bench.cores.generator else 0),
        "p50_us": load["p50_us"],
        "p99_us": load["p99_us"],
        "p999_us": load["p999_us"],
        "growth_kb": sum(process["rss_kb"][1] - process["rss_kb"][0] for process in servers),
        "repeated": repeated,
        **{
            fault: load[fault]
            for fault in ("lost", "doubled", "reordered", "strangers", "closed", "close_code")
        },
    }


def core_shares(load: Result, redis_cpu: float) -> Result:
    """How long the generator's core was idle, and how long others than ours used it."""
    if "core_idle" not in load:
        return {}
    others = 1 - load["core_idle"] - load["generator_cpu"] - redis_cpu / load["seconds"]
    return {"generator_core_idle": load["core_idle"], "disturbed": round(max(0, others), 3)}


def measure_idle(bench: Bench, system: System, scenario: Scenario) -> Result:
    """Connections that have joined their rooms, and then are silent."""
    with running(bench, system) as target:
        time.sleep(SETTLE_SECONDS)
        before = memory_kilobytes(target.pids)
        options = [*framing_options(system.framing), *size_options(scenario), "--seconds", 0]
        with holding(bench, target, *options) as output:
            time.sleep(2 * SETTLE_SECONDS)
            after = memory_kilobytes(target.pids)
    return {
        "clients": output["clients"],
        "before_kb": before,
        "kb_per_connection": round((after - before) / output["clients"], 2),
    }


def measure_handshakes(bench: Bench, system: System, scenario: Scenario) -> Result:
    """Up to the 101, and the first frame of a system that greets; without joining."""
    framing = system.framing
    options: list[object] = ["--path", framing.path, *size_options(scenario), "--seconds", 0]
    if framing.greets:
        options += ["--ready", ""]
    with running(bench, system) as target:
        output = generate(bench, target, *options)
    connect = output["connect"]
    servers = connect["processes"][: len(target.pids)]
    return {
        "per_second": round(output["clients"] / connect["seconds"]),
        "cpu_us": round(
            1e6 * sum(process["cpu_seconds"] for process in servers) / output["clients"], 1
        ),
        "generator_busy": connect["generator_cpu"],
    }


def framing_options(framing: Framing) -> list[object]:
    options: list[object] = ["--path", framing.path, "--publish", framing.publish]
    for message in framing.hello:
        options += ["--hello", message]
    if framing.ready is not None:
        options += ["--ready", framing.ready]
    if framing.answer is not None:
        options += ["--answer", framing.answer]
    return options


def size_options(scenario: Scenario) -> list[object]:
    return ["--rooms", scenario.rooms, "--clients", scenario.clients]


def generator_command(bench: Bench, target: Target, *options: object) -> list[str]:
    command = [bench.generator, "--port", target.port, *options]
    if bench.cores.generator is not None:
        command += ["--core", bench.cores.generator]
    for pid in target.pids + target.redis_pids:
        command += ["--pid", pid]
    return [str(part) for part in command]


def generate(bench: Bench, target: Target, *options: object) -> Result:
    command = generator_command(bench, target, *options)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    except subprocess.TimeoutExpired:
        raise RunError("the load did not end") from None
    if done.returncode:
        raise RunError(done.stderr.strip())
    output: Result = json.loads(done.stdout)
    return output


@contextmanager
def holding(bench: Bench, target: Target, *options: object) -> Iterator[Result]:
    """Keep the connections open. The generator gives up by itself when it cannot connect."""
    command = generator_command(bench, target, *options, "--hold")
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as generator:
        assert generator.stdin is not None
        assert generator.stdout is not None
        assert generator.stderr is not None
        line = generator.stdout.readline()
        if not line:
            raise RunError(generator.stderr.read().strip())
        try:
            yield json.loads(line)
        finally:
            generator.stdin.close()
