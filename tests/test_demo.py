"""`make demo` serves a project with default answers, and leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.template import snapshot


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_takes_the_next_free_port_and_cleans_up(
    tmp_path: Path, busy_port: int, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, snapshot() / "scripts" / "demo.py", str(busy_port)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        output = ""
        for line in demo.stdout:
            output += line
            if address := re.search(r"Open (http://127\.0\.0\.1:(\d+)) ", line):
                break
        else:
            pytest.fail(output)
        assert int(address[2]) > busy_port
        with urllib.request.urlopen(address[1]) as page:  # noqa: S310
            assert b"<!doctype html>" in page.read()
        demo.send_signal(number)
        demo.communicate()
    assert demo.returncode == 0
    assert not list(tmp_path.glob("demo-*"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address[2])))
