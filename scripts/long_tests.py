"""Run the long tests of generated projects, one project for each broker.

Arguments go on to pytest. What was measured stands at the end of each project's run.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.gates.suite import environment
from tests.postgres_server import FOLDER_VARIABLE, copy_postgres
from tests.template import Combination, choices, render, take_snapshot


def main() -> None:
    """Ends with an error when a test fails, or is skipped, or no project has any."""
    verdicts = {}
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user than root
        take_snapshot(folder / "template")
        copy_postgres(folder / "postgres")
        os.environ[FOLDER_VARIABLE] = str(folder / "postgres")
        for broker in reversed(choices("broker")):  # what needs no server comes first
            combination = Combination("none", broker, "none")
            say(f"{combination}:")
            project = render(folder / broker / "my-chat", combination, template=folder / "template")
            verdicts[combination] = soak(project, broker, folder / f"{broker}.xml")
    for combination, (verdict, _, _) in verdicts.items():
        say(f"{combination}: {verdict}")
    # What `-k` chooses may be in one of them only.
    some = any(count for _, count, _ in verdicts.values())
    if not some or not all(is_good for _, _, is_good in verdicts.values()):
        sys.exit("The soak failed.")


def soak(project: Path, broker: str, report: Path) -> tuple[str, int, bool]:
    """Run the soak of a project: a verdict in words, how many tests ran, and if all is good."""
    command = [sys.executable, "-m", "pytest", "-m", "soak", "--verbose"]
    command += ["-p", "no:cacheprovider", f"--basetemp={report.with_suffix('.files')}"]
    command += [f"--junitxml={report}"]
    if broker != "memory":  # every project has that broker too, and once is enough
        command += ["-k", "not memory"]
    status = subprocess.run(
        [*command, *sys.argv[1:]], cwd=project, env=environment(), check=False
    ).returncode
    if not report.exists():
        return f"pytest ended with exit code {status}", 0, False
    # The report is pytest's own.
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314
    bad = sum(any(problem.tag != "properties" for problem in case) for case in cases)
    minutes = sum(float(case.get("time", 0)) for case in cases) / 60
    verdict = f"{len(cases) - bad} of {len(cases)} passed in {minutes:.1f} minutes"
    expected = 0 if cases else pytest.ExitCode.NO_TESTS_COLLECTED
    return verdict, len(cases), not bad and status == expected


def say(sentence: str) -> None:
    print(f"\n{sentence}", flush=True)


if __name__ == "__main__":
    main()
