"""The project's weekly workflow proposes an update, or says why a person has to make it."""

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.template import ROOT, commit, git, run_copier

WORKFLOW = ".github/workflows/update.yml"

FAKE_GH = """#!/bin/sh
# Answers like an account without pull requests and issues, but for those in $GH_KNOWN.
echo "$*" >> "$GH_CALLS"
case "$1 $2" in
    "pr list") grep -c "^$4\\$" "$GH_KNOWN" || true ;;
    "issue list") cat "$GH_KNOWN" ;;
esac
"""

FAKE_UVX = """#!/bin/sh
shift
exec {copier} "$@"
"""

FAKE_UV = """#!/bin/sh
echo "uv $*" >> "$GH_CALLS"
echo "locked anew" > uv.lock
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small template. After v1.0.0 come a line, a change of a workflow, a migration."""
    template = tmp_path_factory.mktemp("workflow") / "template"
    for name, text in {
        "copier.yml": "_subdirectory: template\n",
        "template/{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers | to_nice_yaml }}",
        "template/app/main.py": "print()\n",
        f"template/{WORKFLOW}": (ROOT / "template" / WORKFLOW).read_text(),
    }.items():
        (template / name).parent.mkdir(parents=True, exist_ok=True)
        (template / name).write_text(text)
    git(template, "init", "--quiet")
    commit(template, "v1.0.0")
    for tag, name, text in (
        ("v1.0.1", "template/app/main.py", "# A newer line.\n"),
        ("v1.0.2", f"template/{WORKFLOW}", "# A newer line.\n"),
        ("v1.1.0", "copier.yml", "_migrations: [{version: v1.1.0, command: [never, 'run']}]\n"),
    ):
        path = template / name
        path.write_text(text + path.read_text())
        commit(template, tag)
    return template


class Runner:
    """A checkout of a project, in which the workflow's steps run as they would there."""

    def __init__(self, folder: Path, template: Path, newest: str) -> None:
        self.folder = folder
        own = folder / "template"
        git(folder, "clone", "--quiet", str(template), str(own))
        for tag in git(own, "tag").split():
            if tag > newest:
                git(own, "tag", "--delete", tag)
        project = folder / "my-chat"
        result = run_copier("copy", "--quiet", "--vcs-ref=v1.0.0", own, project)
        assert result.returncode == 0, result.stderr
        git(project, "init", "--quiet")
        commit(project)
        self.origin = folder / "origin.git"
        git(folder, "clone", "--quiet", "--bare", str(project), str(self.origin))
        self.checkout = folder / "checkout"
        git(folder, "clone", "--quiet", str(self.origin), str(self.checkout))
        self.calls, self.known = folder / "calls", folder / "known"
        self.calls.touch()
        self.known.touch()
        self._tools(copier=Path(sys.executable).with_name("copier"))

    def _tools(self, copier: Path) -> None:
        bin_ = self.folder / "bin"
        bin_.mkdir()
        for name, text in {
            "gh": FAKE_GH,
            "uvx": FAKE_UVX.format(copier=shlex.quote(str(copier))),
            "uv": FAKE_UV,
        }.items():
            (bin_ / name).write_text(text)
            (bin_ / name).chmod(stat.S_IRWXU)

    def run(self) -> dict[str, Any]:
        """Run the job. The answers are the outputs of its steps."""
        job = yaml.safe_load((self.checkout / WORKFLOW).read_text())["jobs"]["update"]
        outputs: dict[str, dict[str, str]] = {}
        for step in job["steps"]:
            if "run" not in step or not self._is_due(step.get("if"), outputs):
                continue
            outputs[step.get("id", step["name"])] = self._run_step(step, outputs)
        return {name: value for found in outputs.values() for name, value in found.items()}

    def _is_due(self, condition: str | None, outputs: dict[str, dict[str, str]]) -> bool:
        if condition is None:
            return True
        reference, operator, empty = condition.split()
        assert (operator, empty) == ("!=", "''")
        return value_of(reference, outputs) != ""

    def _run_step(self, step: dict[str, Any], outputs: dict[str, dict[str, str]]) -> dict[str, str]:
        written = self.folder / "output"
        written.write_text("")
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "GITHUB_OUTPUT": str(written),
            "RUNNER_TEMP": str(self.folder),
            "GH_CALLS": str(self.calls),
            "GH_KNOWN": str(self.known),
        }
        for name, value in step.get("env", {}).items():
            reference = value.removeprefix("${{").removesuffix("}}").strip()
            token = reference == "github.token"
            environment[name] = "a-token" if token else value_of(reference, outputs)
        result = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],  # noqa: S607
            cwd=self.checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return dict(line.split("=", 1) for line in written.read_text().splitlines())

    @property
    def branches(self) -> list[str]:
        """Those that were pushed."""
        return git(self.origin, "branch", "--list", "update*").split()

    @property
    def body(self) -> str:
        return (self.folder / "body.md").read_text()


def value_of(reference: str, outputs: dict[str, dict[str, str]]) -> str:
    """What an expression such as steps.update.outputs.branch stands for."""
    steps, step, word, name = reference.split(".")
    assert (steps, word) == ("steps", "outputs")
    return outputs.get(step, {}).get(name, "")


def test_an_update_becomes_a_pull_request(tmp_path: Path, template: Path) -> None:
    runner = Runner(tmp_path, template, "v1.0.1")
    assert runner.run()["branch"] == "update-1.0.1"
    listing, set_up, create = runner.calls.read_text().splitlines()
    assert listing.startswith("pr list --head update-1.0.1 --state all")
    assert set_up == "auth setup-git"
    assert create.startswith("pr create --head update-1.0.1 --title Update to 1.0.1 --body-file")
    changed = git(runner.origin, "diff", "--name-only", "HEAD", "update-1.0.1").split()
    assert changed == [".copier-answers.yml", "app/main.py"]
    assert "conflict" not in runner.body


def test_a_pull_request_is_opened_once(tmp_path: Path, template: Path) -> None:
    runner = Runner(tmp_path, template, "v1.0.1")
    runner.known.write_text("update-1.0.1\n")
    runner.run()
    assert "pr create" not in runner.calls.read_text()
    assert runner.branches == []


def test_without_a_release_nothing_happens(tmp_path: Path, template: Path) -> None:
    runner = Runner(tmp_path, template, "v1.0.0")
    assert runner.run() == {}
    assert runner.calls.read_text() == ""


def test_a_lock_is_brought_up_to_date(tmp_path: Path, template: Path) -> None:
    runner = Runner(tmp_path, template, "v1.0.1")
    (runner.checkout / "uv.lock").write_text("locked\n")
    commit(runner.checkout)
    runner.run()
    assert git(runner.origin, "show", "update-1.0.1:uv.lock") == "locked anew\n"


def test_a_conflict_is_said_in_the_pull_request(tmp_path: Path, template: Path) -> None:
    runner = Runner(tmp_path, template, "v1.0.1")
    main = runner.checkout / "app" / "main.py"
    main.write_text("# The owner's own.\n" + main.read_text())
    commit(runner.checkout)
    assert runner.run()["conflicts"] == "app/main.py "
    assert "conflict markers, to be resolved here: app/main.py" in runner.body


def test_a_migration_is_never_trusted_but_left_to_a_person(tmp_path: Path, template: Path) -> None:
    runner = Runner(tmp_path, template, "v1.1.0")
    assert "migration" in runner.run()["by_hand"]
    assert runner.branches == []
    _, create = runner.calls.read_text().splitlines()
    assert create.startswith("issue create --title Update to 1.1.0 by hand --body-file")
    assert "\nuvx copier update --trust\n" in runner.body


def test_a_change_of_a_workflow_is_left_to_a_person(tmp_path: Path, template: Path) -> None:
    """The platform refuses to let its token push one."""
    runner = Runner(tmp_path, template, "v1.0.2")
    assert "workflow" in runner.run()["by_hand"]
    assert runner.branches == []
    assert "\nuvx copier update\n" in runner.body


def test_an_issue_is_opened_once(tmp_path: Path, template: Path) -> None:
    runner = Runner(tmp_path, template, "v1.1.0")
    runner.known.write_text("Update to 1.1.0 by hand\n")
    runner.run()
    assert "issue create" not in runner.calls.read_text()


def test_the_workflow_is_valid_and_safe() -> None:
    for command in (
        ["check-jsonschema", "--builtin-schema=vendor.github-workflows"],
        ["zizmor", "--offline", "--no-progress"],
    ):
        tool, *options = command
        result = subprocess.run(
            [
                str(Path(sys.executable).with_name(tool)),
                *options,
                str(ROOT / "template" / WORKFLOW),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_token_is_given_only_to_what_runs_no_code_of_a_release() -> None:
    job = yaml.safe_load((ROOT / "template" / WORKFLOW).read_text())["jobs"]["update"]
    for step in job["steps"]:
        if "GH_TOKEN" in step.get("env", {}):
            assert not re.search(r"^\s*uvx? ", step["run"], re.MULTILINE)
        assert step.get("with", {}).get("persist-credentials", False) is False
