"""Every file of a rendered project parses."""

import ast
import json
import shutil
import subprocess
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path

import html5lib
import yaml

from tests.gates.files import files_in


def unparsable(project: Path) -> list[str]:
    """The files that are not what their names say, and why."""
    findings = []
    for name in files_in(project):
        parse = PARSERS.get(Path(name).suffix)
        if parse is None:
            continue
        try:
            parse(project / name)
        except (ValueError, SyntaxError, yaml.YAMLError, html5lib.html5parser.ParseError) as error:
            findings.append(f"{name}: {error}")
    return findings


def parse_python(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a SyntaxWarning is a finding, too
        ast.parse(path.read_text(), str(path))


def parse_toml(path: Path) -> None:
    tomllib.loads(path.read_text())


def parse_yaml(path: Path) -> None:
    yaml.safe_load(path.read_text())


def parse_json(path: Path) -> None:
    json.loads(path.read_text())


def parse_html(path: Path) -> None:
    html5lib.HTMLParser(strict=True).parse(path.read_text())


def parse_javascript(path: Path) -> None:
    """With Node.js where it is installed; the browser tests load every module anyway."""
    node = shutil.which("node")
    if node is not None:
        command = [node, "--input-type=module", "--check"]
        result = subprocess.run(
            command, input=path.read_text(), capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise SyntaxError(result.stderr)


PARSERS: dict[str, Callable[[Path], None]] = {
    ".html": parse_html,
    ".js": parse_javascript,
    ".json": parse_json,
    ".py": parse_python,
    ".toml": parse_toml,
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
}
