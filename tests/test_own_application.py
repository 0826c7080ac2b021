"""An owner who writes an application of their own has a sound project: engine, tests and all."""

from pathlib import Path

import pytest

from tests.gates import expect_none
from tests.gates.suite import failing_tests
from tests.gates.tools import lint_errors, type_errors, unformatted
from tests.owner import follow_the_readme
from tests.template import Combination, render

MEMORY, COOKIE = (Combination(style, "memory", "none") for style in ("none", "cookie"))

EDITS = {
    "app/settings.py": [
        ("from app.auth", "from pydantic import SecretStr\n\nfrom app.auth"),
        (
            '"""Add your own here: `stripe_key: SecretStr` is read from STRIPE_KEY."""',
            "stripe_key: SecretStr",
        ),
    ],
    "app/permissions.py": [
        ("    room: str,  # noqa: ARG001\n", "    room: str,\n"),
        ("    return True\n", '    return room == "orders"\n'),
    ],
    "tests/conftest.py": [('{"API_KEYS": API_KEY}', '{"API_KEYS": API_KEY, "STRIPE_KEY": "sk"}')],
}
"""A setting without a default, and a rule: what to replace in a file, by what."""


@pytest.mark.parametrize(
    ("combination", "suites"),
    [
        (MEMORY, []),
        # What accounts add: commands, which read the owner's settings, and a database.
        (
            COOKIE,
            [
                "tests/engine/auth/accounts/test_add_user.py",
                "tests/engine/auth/accounts/test_database.py",
                "tests/engine/server/test_run.py",
                "tests/engine/test_boundary.py",
                "tests/engine/test_own_application.py",
                "tests/engine/test_recipes.py",
                "tests/engine/test_settings.py",
            ],
        ),
    ],
    ids=["engine", "accounts"],
)
def test_an_application_of_ones_own_leaves_the_project_sound(
    tmp_path: Path, combination: Combination, suites: list[str]
) -> None:
    project = render(tmp_path / "my-shop", combination)
    follow_the_readme(project)
    for name, edits in EDITS.items():
        text = (project / name).read_text()
        for old, new in edits:
            assert old in text, name
            text = text.replace(old, new)
        (project / name).write_text(text)
    expect_none([*type_errors(project), *lint_errors(project), *unformatted(project)])
    expect_none(failing_tests(project))  # the owner's
    expect_none(failing_tests(project, ["-m", "engine", *suites]))
