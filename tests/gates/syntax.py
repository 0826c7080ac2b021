"""Every file of a rendered project parses."""

import ast
import json
import shutil
import subprocess
import tomllib
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import html5lib
import yaml

from tests.gates.files import files_in

COMPILED = "web/src/app/"
"""Where HTML is a template of a compiler, which parses it."""


def unparsable(project: Path) -> list[str]:
    """The files that are not what their names say, and why."""
    findings = []
    for name in files_in(project):
        suffix = Path(name).suffix
        if suffix in PARSERS and not name.startswith(COMPILED):
            error = parse_error(suffix, (project / name).read_text())
            findings += [f"{name}: {error}"] if error else []
    return findings


@cache
def parse_error(suffix: str, text: str) -> str:
    """What is wrong with a file, or nothing. Most files are in many projects."""
    try:
        PARSERS[suffix](text)
    except (ValueError, SyntaxError, yaml.YAMLError, html5lib.html5parser.ParseError) as error:
        return str(error) or repr(error)
    return ""


def parse_python(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a SyntaxWarning is a finding, too
        ast.parse(text)


def parse_html(text: str) -> None:
    html5lib.HTMLParser(strict=True).parse(text)


def parse_javascript(text: str) -> None:
    """With Node.js where it is installed; the browser tests load every module anyway."""
    node = shutil.which("node")
    if node is not None:
        command = [node, "--input-type=module", "--check"]
        result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SyntaxError(result.stderr)


PARSERS: dict[str, Callable[[str], object]] = {
    ".html": parse_html,
    ".js": parse_javascript,
    ".json": json.loads,
    ".py": parse_python,
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
}
