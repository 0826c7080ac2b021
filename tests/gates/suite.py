"""A rendered project passes its own tests, and all of them run."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from tests.redis_server import redis_folder
from tests.template import Combination

# What these prove does not depend on who logs in and which client is shipped, and with
# accounts it takes twice as long: each server hashes the passwords of its users.
OF_THE_BROKER_ALONE = [
    "tests/test_deploy.py",
    "tests/test_history.py",
    "tests/test_model.py",
    "tests/test_plain_uvicorn.py",
    "tests/test_prebuilt_frames.py",
    "tests/test_recovery.py",
    "tests/test_redis_backend.py",
    "tests/test_redis_model.py",
    "tests/test_redis_outage.py",
]


def suite_of(combination: Combination) -> list[str]:
    """The arguments for pytest that run what has to be run for a combination."""
    if combination.auth == "none":
        return []
    return [f"--ignore={name}" for name in OF_THE_BROKER_ALONE]


def failing_tests(
    project: Path, selection: Sequence[str] = (), *, python: str | Path = sys.executable
) -> list[str]:
    """The tests that failed or did not run, with what they said.

    `selection` are arguments for pytest; without any, the whole suite runs.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            *(str(python), "-m", "pytest", "-p", "no:cacheprovider", "--quiet"),
            *(
                "--tb=short",
                f"--junitxml={report}",
                f"--basetemp={report.with_name('files')}",
                *selection,
            ),
        ]
        result = subprocess.run(
            command, cwd=project, env=environment(), capture_output=True, text=True, check=False
        )
        output = result.stdout + result.stderr
        if not report.exists():
            return [output]
        # The report is pytest's own.
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314
    findings = [
        f"{case.get('classname')}::{case.get('name')} {problem.tag}: {problem.get('message')}"
        for case in cases
        for problem in case
        if problem.tag in {"failure", "error", "skipped"}
    ]
    if not cases:
        findings.append("no test ran")
    if result.returncode and not findings:
        findings.append(f"pytest ended with exit code {result.returncode}")
    return [*findings, output] if findings else []


def environment() -> dict[str, str]:
    """What a person's shell has, with a Redis server and without settings of the app."""
    kept = ("HOME", "LANG", "TMPDIR")
    inherited = {name: os.environ[name] for name in kept if name in os.environ}
    return inherited | {"PATH": f"{redis_folder()}{os.pathsep}{os.environ['PATH']}"}
