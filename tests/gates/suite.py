"""A rendered project passes its own tests, and all of them run."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from tests.postgres_server import postgres_folders
from tests.servers import servers_folder
from tests.template import DEFAULT, Combination, choices

# What a broker has, and the engine, whoever connects. The project without accounts runs it.
PROVEN_WITHOUT_ACCOUNTS = [
    "tests/engine/broker",
    "tests/engine/workers/test_api.py",
    "tests/engine/workers/test_backend.py",
    "tests/engine/workers/test_outage.py",
    "tests/engine/workers/test_plain_uvicorn.py",
    "tests/engine/workers/test_workers.py",
    "tests/engine/server/test_control_frames.py",
    "tests/engine/server/test_deploy.py",
    "tests/engine/server/test_frames.py",
    "tests/engine/server/test_head.py",
    "tests/engine/server/test_headers.py",
    "tests/engine/server/test_plain_uvicorn.py",
    "tests/engine/server/test_quick_start.py",
    "tests/engine/server/test_requests.py",
    "tests/engine/server/test_asgi.py",
    "tests/engine/server/test_texts.py",
    "tests/engine/test_api.py",
    "tests/engine/test_attacks.py",
    "tests/engine/test_budget.py",
    "tests/engine/test_catch_up.py",
    "tests/engine/test_commands.py",
    "tests/engine/test_events.py",
    "tests/engine/test_fuzz.py",
    "tests/engine/test_handlers.py",
    "tests/engine/test_history_pages.py",
    "tests/engine/test_limits.py",
    "tests/engine/test_manager.py",
    "tests/engine/test_metrics.py",
    "tests/engine/test_model.py",
    "tests/engine/test_new_rooms.py",
    "tests/engine/test_own_application.py",
    "tests/engine/test_permissions.py",
    "tests/engine/test_presence.py",
    "tests/engine/test_publisher.py",
    "tests/engine/test_recipes.py",
    "tests/engine/test_recovery.py",
    "tests/engine/test_replays.py",
    "tests/engine/test_room.py",
    "tests/engine/test_signals.py",
    "tests/engine/test_slow_client.py",
    "tests/engine/test_turns.py",
    "tests/engine/test_visit.py",
]

# What the other styles with accounts have in common with cookie, which runs it.
PROVEN_WITH_COOKIE = [
    "tests/engine/auth/accounts/test_accounts.py",
    "tests/engine/auth/accounts/test_add_user.py",
    "tests/engine/auth/accounts/test_database.py",
    "tests/engine/auth/accounts/test_identity.py",
    "tests/engine/auth/accounts/test_login_watches.py",
    "tests/engine/auth/accounts/test_names.py",
    "tests/engine/auth/accounts/test_passwords.py",
    "tests/engine/auth/accounts/test_registrations.py",
    "tests/engine/auth/accounts/test_settings.py",
    "tests/engine/auth/accounts/test_throttle.py",
    "tests/engine/test_openapi.py",
]

OF_THE_DRIVERS = (
    "tests/engine/auth/accounts/test_database.py::test_a_new_database_has_the_tables_of_the_code"
)
"""Opens a database of each kind."""

# What shows that the parts of a project fit together.
OF_THE_WHOLE = [
    "tests/test_chat.py",
    "tests/engine/test_boundary.py",
    "tests/engine/test_realtime.py",
    "tests/engine/server/test_run.py",
]


# What the engine promises on whichever broker.
OF_THE_BROKER = [
    "tests/engine/broker",
    "tests/engine/workers",
    "tests/engine/test_api.py",
    "tests/engine/test_history_pages.py",
    "tests/engine/test_presence.py",
    "tests/engine/test_publisher.py",
    "tests/engine/test_realtime.py",
    "tests/engine/test_recovery.py",
    "tests/engine/test_signals.py",
]


def prover_of_style(auth: str) -> Combination:
    """The project whose suite proves most of what a style of authentication has.

    It has Redis, since its suite runs with memory:// too.
    """
    return Combination(auth, "redis", "none")


def prover_of_broker(broker: str) -> Combination:
    """The project whose suite proves what a broker has."""
    return Combination("none", broker, "none")


def provers() -> list[Combination]:
    """The projects that prove a style of authentication or a broker."""
    styles = [prover_of_style(auth) for auth in choices("auth")]
    brokers = [prover_of_broker(it) for it in choices("broker") if it not in {"memory", "redis"}]
    return [*styles, *brokers]


def suite_of(combination: Combination) -> list[str]:
    """The arguments for pytest that run what has to be run for a combination.

    `tests/test_matrix.py` shows that the rest is what one of the provers has.
    """
    marks = "not soak and not browser" if combination.client == "html" else "not soak"
    both = ["-m", marks]  # the owner's tests and the engine's
    if combination == prover_of_style(combination.auth):
        elsewhere = [] if combination.auth == "none" else PROVEN_WITHOUT_ACCOUNTS
        if combination.auth not in {"none", "cookie"}:
            elsewhere = [*elsewhere, *PROVEN_WITH_COOKIE]
        return [*both, *(f"--ignore={name}" for name in elsewhere)]
    if combination in provers():
        return [*both, "-k", "not memory", *OF_THE_WHOLE, *OF_THE_BROKER]
    own = ["tests/engine/client"] if combination.client != "none" else []
    if combination == DEFAULT:  # which is installed alone: nothing imports its drivers
        own.append(OF_THE_DRIVERS)
    return [*both, *OF_THE_WHOLE, *own]


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


def collected(project: Path, *selection: str) -> set[str]:
    """The tests that pytest would run, each as `FILE::NAME`, without its parameters."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--quiet"]
    result = subprocess.run(
        [*command, "--collect-only", *selection],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(result.stdout + result.stderr)
    return {line.partition("[")[0] for line in result.stdout.splitlines() if "::" in line}


def environment() -> dict[str, str]:
    """What a person's shell has, with Redis and PostgreSQL and without settings of the app."""
    kept = ("HOME", "LANG", "TMPDIR")
    inherited = {name: os.environ[name] for name in kept if name in os.environ}
    folders = [servers_folder(), *postgres_folders(), os.environ["PATH"]]
    return inherited | {"PATH": os.pathsep.join(map(str, folders))}
