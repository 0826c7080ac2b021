"""`python -m scripts.soak`: run a soak, and write docs/soak.md and docs/soak.svg."""

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from scripts.soak.plot import draw
from scripts.soak.report import Findings, write_report
from scripts.soak.run import Options, run, say
from tests.template import ROOT


def main() -> None:
    """Exits with 1 if the soak fails. Its files remain then."""
    parser = argparse.ArgumentParser(prog="python -m scripts.soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="how long the load lasts")
    parser.add_argument("--sockets", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument(
        "--pause", type=float, default=1.0, help="seconds between two messages of a publisher"
    )
    parser.add_argument("--template", type=Path, help="a snapshot of the template")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="where to write")
    arguments = parser.parse_args()
    options = Options(
        arguments.seconds, arguments.sockets, arguments.seed, arguments.pause, arguments.template
    )
    say(f"seed {options.seed}")
    signal.signal(signal.SIGTERM, end)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    findings: Findings | None = None
    try:
        findings = run(options, folder)
    finally:
        if findings is None or findings.problems:
            say(f"the logs and the history are in {folder}: remove it")
        else:
            shutil.rmtree(folder)
    publish(findings, arguments.output)
    for rule, cases in findings.verdict.broken.items():
        say(f"{rule}: broken {findings.verdict.counts[rule]} times:")
        for case in cases[:5]:
            say(f"    {case}")
    if findings.problems:
        sys.exit("The soak failed:\n" + "\n".join(f"- {it}" for it in findings.problems))
    say("passed")


def publish(findings: Findings, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    title = f"Memory of {findings.sockets:,} sockets under faults"
    (folder / "soak.svg").write_text(draw(findings.memory, findings.faults, title))
    (folder / "soak.md").write_text(write_report(findings))
    say(f"wrote {folder / 'soak.md'}")


def end(_number: int, _frame: FrameType | None) -> None:
    """End as with Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
