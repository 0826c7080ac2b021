"""The benchmark measures what it says, and sees what a server does wrong."""

import json
import re
import runpy
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.app_server import serving
from tests.template import ROOT, Combination, render

BENCH = ROOT / "bench"
FAULTS = ("lost", "doubled", "reordered", "strangers", "given_up", "closed")
PATIENCE = 10.0
"""Seconds that a start may take."""

Delivery = Callable[[int, str], list[str]]
"""What one of the clients is sent for the message of a number."""


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler")
    binary = tmp_path_factory.mktemp("bench") / "load"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", binary, BENCH / "load.c"], check=True)
    return binary


def load(generator: Path, port: int, *options: str) -> dict[str, Any]:
    """What the generator reports of most of a second."""
    command = [str(generator), "--port", str(port), "--path", "/%r", "--settle", "0.2"]
    command += ["--warmup", "0.2", "--seconds", "0.7", "--patience", "0.3", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    report: dict[str, Any] = json.loads(done.stdout)["load"]
    return report


def faults(report: dict[str, Any]) -> dict[str, int]:
    return {name: report[name] for name in FAULTS if report[name]}


@contextmanager
def raw_server() -> Iterator[tuple[int, int]]:
    """The port and the process id of the server that is the limit."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, str(BENCH / "systems" / "raw.py")]
    with subprocess.Popen(command, env={"PORT": str(port)}) as server:
        try:
            wait_until_listening(port)
            yield port, server.pid
        finally:
            server.terminate()


def wait_until_listening(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)


@contextmanager
def faulty_server(deliver: Delivery) -> Iterator[int]:
    """The port of a server of one room that treats its second client so."""
    clients: list[ServerConnection] = []

    def handle(connection: ServerConnection) -> None:
        clients.append(connection)
        try:
            for number, message in enumerate(connection):
                for position, client in enumerate(clients):
                    for text in deliver(number, str(message)) if position == 1 else [message]:
                        client.send(text)
        except ConnectionClosed:
            pass

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def test_raw_server_is_measured_and_loses_nothing(generator: Path) -> None:
    with raw_server() as (port, pid):
        size = ["--rooms", "3", "--clients", "20", "--window", "4"]
        report = load(generator, port, *size, "--pid", str(pid))
    assert faults(report) == {}
    assert report["deliveries"] > 1000
    assert 0 < report["p50_us"] <= report["p99_us"] <= report["max_us"]
    (process,) = report["processes"]
    assert 0 < process["cpu_seconds"] < report["seconds"] + 0.1
    assert process["rss_kb"][1] > 1000


def test_a_stalled_client_does_not_count(generator: Path) -> None:
    with raw_server() as (port, _):
        report = load(generator, port, "--clients", "5", "--stall", "1", "--bytes", "4000")
    assert faults(report) == {}
    assert report["deliveries"] > 1000


def drop(number: int, message: str) -> list[str]:
    return [] if number == 20 else [message]


def double(number: int, message: str) -> list[str]:
    return [message, message] if number == 20 else [message]


def swap() -> Delivery:
    held: list[str] = []

    def deliver(number: int, message: str) -> list[str]:
        if number == 20:
            held.append(message)
            return []
        return [message, *held] if number == 21 else [message]

    return deliver


@pytest.mark.parametrize(
    ("deliver", "found"),
    [
        (lambda _, message: [message], {}),
        (drop, {"lost": 1, "given_up": 1}),
        (double, {"doubled": 1}),
        (swap(), {"reordered": 1}),
    ],
    ids=["no-fault", "drop", "double", "swap"],
)
def test_a_planted_fault_is_reported(
    generator: Path, deliver: Delivery, found: dict[str, int]
) -> None:
    with faulty_server(deliver) as port:
        report = load(generator, port, "--clients", "3", "--window", "4")
    assert faults(report) == found
    assert report["deliveries"] > 100


def test_a_message_to_the_wrong_room_is_reported(generator: Path) -> None:
    with faulty_server(lambda _, message: [message]) as port:  # it knows no rooms
        report = load(generator, port, "--rooms", "2", "--clients", "2")
    assert set(faults(report)) == {"strangers"}


def test_frames_as_long_as_the_apps_are_as_long(tmp_path: Path) -> None:
    catalog = runpy.run_path(str(BENCH / "catalog.py"))

    def filled(template: str) -> str:
        return template.replace("%r", "r0").replace("%s", "1").replace("%p", "x" * 100)

    project = render(tmp_path / "my-chat", Combination("none", "memory", "html"))
    with serving(project) as server, connect(f"ws://127.0.0.1:{server.port}/ws") as socket:
        socket.send(filled(catalog["PROTOCOL"].hello[0]))
        socket.send(filled(catalog["PROTOCOL"].publish))
        frame = next(str(it) for it in socket if '"type":"message"' in str(it))
    assert len(frame) == len(filled(catalog["FRAMED"].publish))


def test_a_system_that_cannot_run_is_a_row_with_the_reason(tmp_path: Path) -> None:
    runs = [
        {"round": 1, "scenario": "100w1", "system": "raw", "cpu_us": 4.0},
        {"round": 1, "scenario": "100w1", "system": "app-memory", "cpu_us": 4.6},
        {"round": 1, "scenario": "100w1", "system": "tutorial", "failed": "it does not start"},
        {"round": 1, "scenario": "stall100", "system": "tutorial", "failed": "no room"},
    ]
    facts = dict.fromkeys(("date", "processor", "cores", "kernel", "rounds", "load_average"), "?")
    facts |= {"pinned": True, "shared_core": False, "peers": {}, "app": {}}  # type: ignore[dict-item]
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"facts": facts, "runs": runs}))
    tables = report_tool(str(results))
    assert re.search(
        r"^\| CPU ÷ raw server .*\| 1\.15. \| \*\*not met\*\* \|$", tables, re.MULTILINE
    )
    assert re.search(r"^\| FastAPI tutorial.* \| failed \|$", tables, re.MULTILINE)
    assert re.search(r"^- FastAPI tutorial.*it does not start", tables, re.MULTILINE)
    assert re.search(r"^\| FastAPI tutorial.* \| failed \| failed \|", tables, re.MULTILINE)
    assert re.search(r"^- FastAPI tutorial.*no room", tables, re.MULTILINE)


@pytest.mark.skipif(not (BENCH / "results.json").exists(), reason="nothing was measured yet")
def test_published_tables_and_plot_are_computed_from_the_results() -> None:
    report_tool("--check")


def report_tool(*arguments: str) -> str:
    command = [sys.executable, str(BENCH / "report.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lock_fits_and_names_public_hosts_only() -> None:
    subprocess.run(["uv", "lock", "--check", "--offline"], cwd=BENCH, check=True)  # noqa: S607
    hosts = re.findall(r"https?://([^/\"]+)", (BENCH / "uv.lock").read_text())
    assert set(hosts) == {"pypi.org", "files.pythonhosted.org"}
