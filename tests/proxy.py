"""A reverse proxy in front of a server, which may hide from it by what name it is called."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer

CHUNK = 65536


class Proxy(ThreadingTCPServer):
    """Carries HTTP and WebSockets to a server at `port`."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hands_on_host = True
        """Whether the server gets the Host header as the browser sent it."""
        self.names = (host_line(self.port), host_line(port))
        self.upstream = ("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self.port}/"

    @property
    def port(self) -> int:
        return int(self.server_address[1])


def host_line(port: int) -> bytes:
    return f"Host: 127.0.0.1:{port}\r\n".encode()


class Handler(BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        with socket.create_connection(self.server.upstream) as upstream:
            downward = threading.Thread(target=carry, args=(upstream, self.request))
            downward.start()
            carry(self.request, upstream, self.server)
            downward.join()


def carry(source: socket.socket, target: socket.socket, proxy: Proxy | None = None) -> None:
    """Hand on what comes until it ends, and then end the other half."""
    try:
        while data := source.recv(CHUNK):
            if proxy is not None and not proxy.hands_on_host:
                target.sendall(data.replace(*proxy.names))
            else:
                target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # one side is gone, and the other one will notice


@contextmanager
def proxying(port: int) -> Iterator[Proxy]:
    with Proxy(port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
