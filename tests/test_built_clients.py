"""The clients that are built pass their own linter and tests, as their owner would run them.

`test_pages.py` builds and uses them with each style of authentication, and `test_web.py` checks
what they share, the credentials of all styles among it.
"""

from pathlib import Path

import pytest

from tests.matrix import IS_FULL
from tests.node import npm
from tests.template import Combination, choices, render
from tests.web_build import install

BUILT = ("react", "vue", "angular")

STYLES = choices("auth") if IS_FULL else ("none", "cookie")
"""Without accounts, and with them: the same files of a page for all styles that have some."""


@pytest.mark.parametrize("auth", STYLES)
@pytest.mark.parametrize("client", BUILT)
def test_a_client_passes_its_linter_and_its_tests(tmp_path: Path, client: str, auth: str) -> None:
    project = render(tmp_path / "my-chat", Combination(auth, "memory", client))
    install(project / "web")
    npm("run", "lint", cwd=project / "web")
    npm("test", cwd=project / "web")


@pytest.mark.parametrize("client", BUILT)
def test_what_a_file_of_a_page_contains_depends_on_accounts_alone(
    tmp_path: Path, client: str
) -> None:
    """Beside `src/auth/`, which has the credentials of the style."""

    def files(auth: str) -> dict[str, bytes]:
        web = render(tmp_path / auth / "my-chat", Combination(auth, "memory", client)) / "web"
        names = {path.relative_to(web).as_posix(): path for path in web.rglob("*")}
        return {
            name: path.read_bytes()
            for name, path in names.items()
            if path.is_file() and not name.startswith("src/auth/")
        }

    with_accounts = [files(auth) for auth in choices("auth") if auth != "none"]
    assert all(found == with_accounts[0] for found in with_accounts)


@pytest.mark.parametrize("client", BUILT)
def test_a_fault_of_a_page_is_found(tmp_path: Path, client: str) -> None:
    project = render(tmp_path / "my-chat", Combination("none", "memory", client))
    install(project / "web")
    path = project / "web/src/chat/rooms.ts"
    path.write_text(path.read_text() + "\nexport const unused: any = eval(name);\n")
    with pytest.raises(AssertionError, match=r"rooms\.ts"):
        npm("run", "lint", cwd=project / "web")
