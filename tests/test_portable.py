"""Every path is legal on Windows and macOS, those of the template included."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import PurePosixPath

import pytest

from tests.gates import expect_none
from tests.gates.files import files_in
from tests.template import COMBINATIONS, ROOT, Combination, Rendered, git

RESERVED = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?", re.IGNORECASE
)
"""What Windows takes for a device, with any extension."""

FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]')

LONGEST = 259
"""Characters of a path that Windows takes without having been told otherwise."""

FOLDER = r"C:\Users\Bartholomew.Featherstonehaugh\source\repos\real-time-chat" + "\\"
CLONE = (
    r"C:\Users\Bartholomew.Featherstonehaugh\AppData\Local\Temp\copier._vcs.clone.x1y2z3w4" + "\\"
)


def illegal(names: Iterable[str], folder: str) -> Iterator[str]:
    """What is wrong with these paths, when they are below such a folder."""
    paths = [PurePosixPath(name) for name in sorted(names)]
    for path in paths:
        if len(folder) + len(str(path)) > LONGEST:
            yield f"{path}: too long by {len(folder) + len(str(path)) - LONGEST}"
        if unicodedata.normalize("NFC", str(path)) != str(path):
            yield f"{path}: not in the form NFC"
        for part in path.parts:
            if RESERVED.fullmatch(part):
                yield f"{path}: {part} is a device"
            if FORBIDDEN.search(part):
                yield f"{path}: {part} has a character that is forbidden"
            if part.endswith((".", " ")):
                yield f"{path}: {part} ends with a dot or a space"
    spelled: dict[str, str] = {}
    for path in paths:
        for prefix in accumulate(path.parts, "{}/{}".format):
            known = spelled.setdefault(unicodedata.normalize("NFC", prefix).casefold(), prefix)
            if known != prefix:
                yield f"{path}: differs from {known} in case only"


@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_every_path_of_a_project_is_legal_everywhere(
    rendered: Rendered, combination: Combination
) -> None:
    expect_none([*illegal(files_in(rendered(combination)), FOLDER)])


def test_every_path_of_this_repository_is_legal_everywhere() -> None:
    """Copier clones it to where it copies from."""
    listing = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    expect_none([*illegal(filter(None, listing.split("\0")), CLONE)])


def test_no_path_of_a_project_is_a_link(rendered: Rendered) -> None:
    """Windows makes links only for those who may."""
    for combination in COMBINATIONS:
        project = rendered(combination)
        assert not [name for name in files_in(project) if (project / name).is_symlink()]


@pytest.mark.parametrize(
    ("names", "finding"),
    [
        (["app/CON"], "app/CON: CON is a device"),
        (["aux.py"], "aux.py: aux.py is a device"),
        (["nul.tar.gz/x"], "nul.tar.gz/x: nul.tar.gz is a device"),
        (["a?"], "a?: a? has a character that is forbidden"),
        (['say "x"'], 'say "x": say "x" has a character that is forbidden'),
        (["a./b"], "a./b: a. ends with a dot or a space"),
        (["a "], "a : a  ends with a dot or a space"),
        (["App/x", "app/y"], "app/y: differs from App in case only"),
        (["README.md", "readme.md"], "readme.md: differs from README.md in case only"),
        (["e\u0301"], "e\u0301: not in the form NFC"),
        (["x" * 200], f"{'x' * 200}: too long by {len(FOLDER) + 200 - LONGEST}"),
    ],
)
def test_what_is_illegal_somewhere_is_found(names: list[str], finding: str) -> None:
    assert list(illegal(names, FOLDER)) == [finding]


@pytest.mark.parametrize("name", ["app/console.py", "null", "common.py", ".gitignore", "a.b.c"])
def test_what_only_looks_illegal_is_not(name: str) -> None:
    assert list(illegal([name], FOLDER)) == []
