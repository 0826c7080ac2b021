"""Certificates for a Redis with TLS, made for one test."""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest

CONF = """\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1
[client]
authorityKeyIdentifier = keyid
subjectAltName = DNS:client
"""


class Certificates:
    """An authority, and what it has signed for a server and a client, in one folder."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("needs openssl on PATH, to make certificates")
        self._folder = folder
        (folder / "openssl.conf").write_text(CONF)
        self._make("authority", "-x509", "-extensions", "authority")
        for name in ("server", "client"):
            signed_by = ("-CA", "authority.crt", "-CAkey", "authority.key")
            self._make(name, "-x509", "-extensions", name, *signed_by)

    def _make(self, name: str, *more: str) -> None:
        """Make a key and a certificate."""
        command = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-config", "openssl.conf", "-subj", f"/CN={name}"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.crt", *more]
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True)

    def path(self, name: str) -> str:
        return str(self._folder / name)

    @property
    def server(self) -> dict[str, str]:
        """The options of a Redis that takes TLS only, and wants a certificate of its clients."""
        return {
            "tls-cert-file": self.path("server.crt"),
            "tls-key-file": self.path("server.key"),
            "tls-ca-cert-file": self.path("authority.crt"),
        }

    @property
    def query(self) -> str:
        """The end of a URL, with what a client needs."""
        return "?" + urlencode(
            {
                "ssl_ca_certs": self.path("authority.crt"),
                "ssl_certfile": self.path("client.crt"),
                "ssl_keyfile": self.path("client.key"),
            }
        )
