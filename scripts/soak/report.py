"""What a soak found, as Markdown."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from scripts.soak.faults import DESCRIPTIONS
from scripts.soak.history import Fault
from scripts.soak.leftovers import Left
from scripts.soak.memory import MEGABYTE, MOST_GROWTH, SMALL_GROWTH, WARM_UP, Series
from scripts.soak.rules import RULES, Verdict


@dataclass
class Findings:
    """Everything that a run found out."""

    seconds: int
    sockets: int
    seed: int
    history_seconds: int
    counts: dict[str, int]
    """Operations in the history."""
    refused_handshakes: Counter[str]
    faults: Sequence[Fault]
    verdict: Verdict
    memory: Sequence[Series]
    left: Sequence[Left]
    exit_code: int | None
    """Of the application, after SIGTERM."""
    log_failures: list[str] = field(default_factory=list)
    """Lines of the application's log that report a failure."""

    @property
    def problems(self) -> list[str]:
        """Why the soak failed. Empty if it passed."""
        found = [
            f"{rule}: broken {self.verdict.counts[rule]} times, first: {cases[0]}"
            for rule, cases in self.verdict.broken.items()
        ]
        found += [
            f"the memory of {series.name} grows by {megabytes(series.growth())} in ten minutes"
            for series in self.memory
            if not series.is_flat
        ]
        found += [f"left behind: {it.what}: {it.found}" for it in self.left if not it.is_fine]
        if self.exit_code != 0:
            found.append(f"the application ended with {self.exit_code} after SIGTERM")
        if self.log_failures:
            first = self.log_failures[0][:300]
            found.append(f"the log has {len(self.log_failures)} tracebacks, first: {first}")
        return found


def write_report(findings: Findings) -> str:
    """The report as Markdown, with the plot beside it."""
    counts, gaps = findings.counts, findings.verdict.gaps
    verdict = "passed" if not findings.problems else "**failed**"
    lines = [
        "# Soak",
        "",
        "Written by `make soak` ([how](../CONTRIBUTING.md)). A project with accounts and Redis",
        "runs with two workers, in production, with the default limits. Its clients record all",
        "that they do and receive, while processes, Redis and PostgreSQL are killed and paused.",
        "Then a [checker](../scripts/soak/checker.py) compares what was recorded with what is",
        "promised.",
        "",
        f"This run {verdict}: {findings.sockets:,} sockets for {findings.seconds} seconds, seed "
        f"{findings.seed}, on {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores that servers "
        "and clients share.",
        "",
        *(f"- {problem}" for problem in findings.problems),
        *([""] if findings.problems else []),
        "![Memory over time, with the faults](soak.svg)",
        "",
        "| recorded | |",
        "| --- | --- |",
        *(
            f"| {title} | {counts.get(name, 0):,} |"
            for name, title in (
                ("Publish", "publishes sent"),
                ("Acknowledged", "of them acknowledged"),
                ("Refused", "of them answered with an error"),
                ("deliveries", "messages received"),
                ("Connected", "connections"),
                ("closed", "of them closed by the server with a code"),
                ("Joined", "rooms entered"),
                ("recovered", "of them with all that was missed"),
                ("Resync", "told `resync`"),
                ("Page", "pages of history read"),
            )
        ),
        f"| told that messages are lost, by that or by `recovered: false` | {gaps:,} |",
        "",
        "| fault | times |",
        "| --- | --- |",
    ]
    times = Counter(fault.kind for fault in findings.faults)
    lines += [f"| {text} | {times[kind]} |" for kind, text in DESCRIPTIONS.items()]
    lines += ["", "| rule | broken |", "| --- | --- |"]
    lines += [f"| {rule} | {findings.verdict.counts.get(rule, 0)} |" for rule in RULES]
    lines += [
        "",
        f"Memory (PSS) is flat if its trend after the first {WARM_UP:.0%} of the run is at",
        f"most {MOST_GROWTH:.0%} or {megabytes(SMALL_GROWTH)} in ten minutes. The trend is the",
        "median of the slopes between all pairs of samples.",
        "",
        "| memory of | at the beginning | at the end | most | trend in ten minutes |",
        "| --- | --- | --- | --- | --- |",
    ]
    for series in findings.memory:
        growth = series.growth()
        sizes = (series.typical(first=True), series.typical(first=False), max(series.sizes))
        cells = " | ".join(megabytes(size) for size in (*sizes, growth))
        lines.append(f"| {series.name} | {cells} |")
    lines += ["", f"Left behind, {findings.history_seconds} s after the last client:", ""]
    lines += ["| | found |", "| --- | --- |"]
    lines += [f"| {it.what} | {it.found} |" for it in findings.left]
    lines += ["", "| refused handshakes | |", "| --- | --- |"]
    refused = sorted(findings.refused_handshakes.items())
    lines += [f"| {reason} | {count:,} |" for reason, count in refused]
    return "\n".join([*lines, ""])


def megabytes(size: float | None) -> str:
    return "too short to tell" if size is None else f"{size / MEGABYTE:.0f} MB"
