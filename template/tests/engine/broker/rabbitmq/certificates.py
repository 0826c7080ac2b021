"""Certificates for tests, made by `openssl`."""

import shutil
import subprocess
from pathlib import Path

CONF = """\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
[server]
subjectAltName = IP:127.0.0.1
[client]
subjectAltName = DNS:client
"""


class Certificates:
    """An authority, and what it has signed for a server and a client, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "openssl.conf").write_text(CONF)
        self._make("authority")
        for name in ("server", "client"):
            self._make(name, "-CA", "authority.crt", "-CAkey", "authority.key")

    def _make(self, name: str, *more: str) -> None:
        """Make a key and a certificate."""
        command = ["openssl", "req", "-x509", "-extensions", name, "-newkey", "rsa:2048", "-nodes"]
        command += ["-config", "openssl.conf", "-subj", f"/CN={name}", "-days", "2"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.crt", *more]
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True)

    def path(self, name: str) -> str:
        return str(self._folder / name)

    @property
    def settings(self) -> list[str]:
        """The lines of `rabbitmq.conf` that use them, and want one of each client."""
        return [
            f"ssl_options.cacertfile = {self.path('authority.crt')}",
            f"ssl_options.certfile = {self.path('server.crt')}",
            f"ssl_options.keyfile = {self.path('server.key')}",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = true",
        ]


def make_certificates(folder: Path) -> Certificates | None:
    """Make certificates. Returns None where there is no `openssl`."""
    return Certificates(folder) if shutil.which("openssl") else None
