"""A certificate for tests, made by `openssl`."""

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificate(folder: Path) -> Path:
    """A file with a certificate for 127.0.0.1, which signs itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl on PATH, to make a certificate")
    file = folder / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command, "-keyout", str(file), "-out", str(folder / "public.pem")],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + (folder / "public.pem").read_text())
    return file
