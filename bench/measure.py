"""One measurement: start one system, put one scenario on it, end it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog import SYSTEMS_FOLDER, Framing, Scenario, System
from processes import (
    Cores,
    RunError,
    free_port,
    kill,
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
GENERATOR_SECONDS = 150
"""The longest that a program may run for one measurement."""

CROWD_SEEN = 3
"""Messages in each room that a client of the crowd has received before the server is killed…"""
CROWD_MISSED = 3
"""…and that are published while the server is away."""

PRESENCE_LINGER = 2.0
"""Seconds to wait for presence messages, which may be sent late and together."""
CHURN_CLIENTS = 300
"""In the room that one client enters and leaves again and again."""
CHURN_PACE = 20
"""Messages a second that this client sends: what the generated app allows by default."""


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
    port = free_port()
    with (
        broker(bench, system) as (url, redis_pids),
        started(bench, system, port, url) as pids,
    ):
        yield Target(port, pids, redis_pids)


@contextmanager
def broker(bench: Bench, system: System) -> Iterator[tuple[str, list[int]]]:
    """The URL of the system's broker, and the ids of its processes."""
    if system.broker == "memory":
        yield "memory://", []
        return
    with redis_server(bench.cores.redis) as (url, pid):
        yield url, [pid]


@contextmanager
def started(bench: Bench, system: System, port: int, url: str) -> Iterator[list[int]]:
    """Start a system on a port, with a broker. Gives the ids of its processes."""
    environment = {"PORT": str(port), "BROKER_URL": url, **NO_LIMITS, **system.environment}
    if system.script is None:
        command, folder = [bench.app_python, "-m", "app"], bench.app
    else:
        command, folder = [sys.executable, SYSTEMS_FOLDER / system.script], SYSTEMS_FOLDER
    with serving(
        [str(part) for part in command], port, bench.cores.server, folder, environment
    ) as pids:
        yield pids


def measure(bench: Bench, system: System, scenario: Scenario) -> Result:
    """Raises RunError."""
    if scenario.kind == "idle":
        return measure_idle(bench, system, scenario)
    if scenario.kind == "handshakes":
        return measure_handshakes(bench, system, scenario)
    if scenario.kind == "crowd":
        return measure_crowd(bench, system, scenario)
    if scenario.kind == "presence":
        return {
            "guests": measure_guests(bench, system, scenario),
            "churn": measure_churn(bench, system, scenario),
        }
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
    return connecting(output["connect"], output["clients"], target.pids)


def connecting(usage: Result, clients: int, server_pids: list[int]) -> Result:
    """What it took to connect so many clients. The server's processes are the first listed."""
    servers = usage["processes"][: len(server_pids)]
    cpu = sum(process["cpu_seconds"] for process in servers)
    return {
        "seconds": round(usage["seconds"], 3),
        "per_second": round(clients / usage["seconds"]),
        "cpu_us": round(1e6 * cpu / clients, 1),
        "generator_busy": usage["generator_cpu"],
    }


def measure_crowd(bench: Bench, system: System, scenario: Scenario) -> Result:
    """All clients enter their rooms; the server is killed and started; all return at once."""
    framing = system.framing
    assert framing.back is not None
    assert framing.recovered is not None
    options = [
        *framing_options(framing),
        *size_options(scenario),
        *("--bytes", scenario.bytes),
        *("--messages", CROWD_SEEN),
        *("--return", framing.back),
        *("--recovered", framing.recovered),
    ]
    port = free_port()
    with broker(bench, system) as (url, redis_pids), ExitStack() as stack:
        with started(bench, system, port, url) as pids:
            target = Target(port, pids, redis_pids)
            generator = stack.enter_context(conversation(bench, target, *options))
            before = read_answer(generator)
            first = connecting(before["connect"], before["clients"], pids)
            kill(pids)
        missed = 0
        if system.broker != "memory":  # which another process can't publish to
            missed = CROWD_MISSED
            publish_missed(bench, scenario, url, before["run"])
        with started(bench, system, port, url) as pids:
            assert generator.stdin is not None
            print(missed, *pids, *redis_pids, file=generator.stdin, flush=True)
            after = read_answer(generator)
    return {
        "first": first,
        "return": connecting(after["return"], before["clients"], pids),
        "clients": before["clients"],
        "missed": missed,
        **{
            name: after[name]
            for name in ("recovered", "lost", "doubled", "reordered", "strangers", "closed")
        },
    }


def publish_missed(bench: Bench, scenario: Scenario, url: str, run: int) -> None:
    """Publish to every room while there is no server. Raises RunError."""
    command = [bench.app_python, "-P", Path(__file__).with_name("publish_missed.py")]
    numbers = [run, scenario.rooms, CROWD_SEEN, CROWD_MISSED, scenario.bytes]
    done = subprocess.run(
        [str(part) for part in (*command, *numbers)],
        cwd=bench.app,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(bench.app), "BROKER_URL": url},
        capture_output=True,
        text=True,
        timeout=GENERATOR_SECONDS,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip() or "it did not say why").splitlines()[-1]
        raise RunError(f"nothing could be published while the server was away: {reason}")


def measure_guests(bench: Bench, system: System, scenario: Scenario) -> Result:
    """All clients enter one room. What they are sent for it, and what that costs."""
    options = [*framing_options(system.framing), *size_options(scenario)]
    with running(bench, system) as target:
        output = generate(bench, target, *options, "--linger", PRESENCE_LINGER, "--seconds", 0)
    usage = output["connect"]
    return {
        **connecting(usage, output["clients"], target.pids),
        "kb_per_client": round(usage["bytes_received"] / output["clients"] / 1024, 2),
    }


def measure_churn(bench: Bench, system: System, scenario: Scenario) -> Result:
    """One client leaves a room and enters it again, at the pace that the app allows."""
    framing = system.framing
    assert framing.leave is not None
    options = [
        *framing_options(framing),
        *("--rooms", 1, "--clients", CHURN_CLIENTS),
        *("--settle", 2 * SETTLE_SECONDS),
        *("--seconds", scenario.seconds * bench.pace),
        *("--linger", PRESENCE_LINGER),
        *("--leave", framing.leave, "--pace", CHURN_PACE),
    ]
    with running(bench, system) as target:
        churn = generate(bench, target, *options)["churn"]
    return {
        "messages": churn["messages"],
        "bytes_out_per_byte_in": round(churn["bytes_received"] / churn["bytes_sent"], 2),
        "closed": churn["closed"],
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
    size: list[object] = ["--rooms", scenario.rooms, "--clients", scenario.clients]
    return [*size, "--concurrency", scenario.concurrency]


def generator_command(bench: Bench, target: Target, *options: object) -> list[str]:
    command = [bench.generator, "--port", target.port, *options]
    if bench.cores.generator is not None:
        command += ["--core", bench.cores.generator]
    for pid in target.pids + target.redis_pids:
        command += ["--pid", pid]
    return [str(part) for part in command]


def generate(bench: Bench, target: Target, *options: object) -> Result:
    """Run the generator to its end, and return its report. Raises RunError."""
    command = generator_command(bench, target, *options)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GENERATOR_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise RunError("the load did not end") from None
    if done.returncode:
        raise RunError(done.stderr.strip())
    output: Result = json.loads(done.stdout)
    return output


@contextmanager
def conversation(bench: Bench, target: Target, *options: object) -> Iterator[subprocess.Popen[str]]:
    """Run a generator that reads from stdin. It ends by itself when that is closed."""
    with subprocess.Popen(
        generator_command(bench, target, *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as generator:
        assert generator.stdin is not None
        try:
            yield generator
        finally:
            with suppress(BrokenPipeError):
                generator.stdin.close()


def read_answer(generator: subprocess.Popen[str]) -> Result:
    """The next report of a generator, which gives up by itself. Raises RunError."""
    assert generator.stdout is not None
    assert generator.stderr is not None
    line = generator.stdout.readline()
    if not line.endswith("\n"):  # it gave up, perhaps in the middle of its report
        raise RunError(generator.stderr.read().strip())
    answer: Result = json.loads(line)
    return answer


@contextmanager
def holding(bench: Bench, target: Target, *options: object) -> Iterator[Result]:
    """Keep the connections open. Gives the generator's report. Raises RunError."""
    with conversation(bench, target, *options, "--hold") as generator:
        yield read_answer(generator)
