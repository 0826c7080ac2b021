"""What the repository itself promises to those who clone it."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.template import (
    COMBINATIONS,
    DEFAULT,
    QUESTIONNAIRE,
    ROOT,
    Combination,
    Rendered,
    choices,
    git,
)

WORKFLOW = ".github/workflows/ci.yml"
JINJA = re.compile(r"\{%|\{\{|\{#")


def tracked() -> list[str]:
    listing = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def test_environment_has_what_every_project_declares(rendered: Rendered) -> None:
    declared: set[str] = set()
    for combination in COMBINATIONS:
        project = tomllib.loads((rendered(combination) / "pyproject.toml").read_text())
        declared.update(project["project"]["dependencies"], *project["dependency-groups"].values())
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(own["dependency-groups"]["generated"]) == declared


def test_lock_fits_and_names_public_hosts_only() -> None:
    subprocess.run(["uv", "lock", "--check", "--offline"], cwd=ROOT, check=True)  # noqa: S607
    hosts = re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text())
    assert set(hosts) == {"pypi.org", "files.pythonhosted.org"}


def test_python_is_declared_alike(rendered: Rendered) -> None:
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())
    generated = tomllib.loads((rendered(DEFAULT) / "pyproject.toml").read_text())
    lower, _, _ = own["project"]["requires-python"].partition(",")
    assert generated["project"]["requires-python"] == lower
    assert own["tool"]["ruff"]["lint"]["select"] == generated["tool"]["ruff"]["lint"]["select"]


def test_options_are_plain_files() -> None:
    """Editors, linters and type checkers read them in place."""
    sources = [*(ROOT / "template").rglob("*.py"), *(ROOT / "template").rglob("*.js")]
    assert sources
    assert not [path for path in sources if JINJA.search(path.read_text())]


def test_the_engines_tests_run_what_the_owner_has_at_first() -> None:
    """The example of the engine's tests, but for what the docstrings say."""
    template = ROOT / "template"
    example = template / "tests" / "engine" / "example"
    copies = [
        path for path in example.rglob("*.py") if path.parent != example or path.stem[0] != "_"
    ]
    assert {path.relative_to(example).as_posix() for path in copies} == {
        *("main.py", "settings.py", "events.py", "handlers.py", "permissions.py"),
        *("routes/__init__.py", "routes/echo.py"),
    }
    for copy in copies:
        owners = template / "app" / copy.relative_to(example)
        assert statements(copy) == statements(owners), f"{copy} differs from {owners}"


def statements(path: Path) -> list[str]:
    """The code of a module without docstrings, with the example's modules named as the owner's."""
    tree = ast.parse(path.read_text().replace("tests.engine.example", "app"))
    WithoutDocstrings().visit(tree)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    lines = [f"from {it.module} import {alias.name}" for it in imports for alias in it.names]
    rest = [ast.unparse(node) for node in tree.body if node not in imports]
    return [*sorted(lines), *rest]


class WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node


def test_only_what_interpolates_is_rendered() -> None:
    rendered = [path for path in (ROOT / "template").rglob("*.jinja") if path.is_file()]
    assert rendered
    assert not [path for path in rendered if not JINJA.search(path.read_text())]


@pytest.mark.parametrize("combination", [DEFAULT, COMBINATIONS[-1]], ids=str)
def test_workflows_are_valid_and_safe(rendered: Rendered, combination: Combination) -> None:
    for workflow in (ROOT / WORKFLOW, rendered(combination) / WORKFLOW):
        check("check-jsonschema", "--builtin-schema=vendor.github-workflows", workflow)
        check("zizmor", "--offline", "--no-progress", workflow)


def test_compose_file_is_valid(rendered: Rendered) -> None:
    check(
        "check-jsonschema",
        "--builtin-schema=vendor.compose-spec",
        rendered(DEFAULT) / "compose.yaml",
    )


def check(tool: str, *arguments: str | Path) -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name(tool), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_workflow_runs_every_combination() -> None:
    jobs: dict[str, Any] = yaml.safe_load((ROOT / WORKFLOW).read_text())["jobs"]
    matrix = jobs["combinations"]["strategy"]["matrix"]
    for question in ("auth", "broker"):  # each with every client
        assert set(matrix[question]) == set(choices(question))


def test_continuous_integration_runs_what_the_readme_names() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "\nexec make test\n" in script.read_text()


def test_readme_names_every_question_and_choice() -> None:
    readme = (ROOT / "README.md").read_text()
    for question, details in QUESTIONNAIRE.items():
        if not question.startswith("_"):
            for word in (question, *details.get("choices", {}).values()):
                assert f"`{word}`" in readme, word


def test_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(
        rf"^## \[?{re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_a_migration_is_a_script_of_its_version() -> None:
    declared = {str(entry["version"]) for entry in QUESTIONNAIRE.get("_migrations", [])}
    scripts = {path.stem.replace("_", ".") for path in (ROOT / "hooks").glob("*.py")}
    assert scripts == declared


def test_nothing_tells_where_it_was_written() -> None:
    """Paths of somebody's machine, and registries that others can't reach."""
    private = re.compile(r"/(root|home/\w+|Users/\w+)/|https?://[\w.-]+\.(internal|corp|lan)\b")
    texts = {name: (ROOT / name).read_bytes().decode(errors="replace") for name in tracked()}
    assert not {name for name, text in texts.items() if private.search(text)}
