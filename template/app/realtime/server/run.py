"""The production server, with every safe setting in one place."""

import contextlib
import logging
import socket
import sys

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from app.realtime.metrics import shared_by_workers
from app.realtime.server.frames import PrebuiltFramesProtocol
from app.realtime.server.logs import log_config
from app.realtime.server.requests import BoundedRequestsProtocol
from app.realtime.settings import RealtimeSettings

logger = logging.getLogger(__name__)


def serve(application: str, settings: RealtimeSettings) -> None:
    """Serve until SIGTERM or SIGINT, then close sockets with 1012 and return.

    `application` is "module:name". Exits with an error if a worker can't start.
    """
    config = server_config(application, settings)
    listener = config.bind_socket()
    drop_stalled_connections(listener, settings)
    with contextlib.suppress(KeyboardInterrupt):
        if settings.web_concurrency == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            with shared_by_workers():
                workers = Workers(config, sockets=[listener])
                workers.run()
            if any(worker.exitcode == STARTUP_FAILURE for worker in workers.processes):
                sys.exit(STARTUP_FAILURE)


class Workers(Multiprocess):
    """Worker processes. A worker that ended leaves nothing in the gauges of the others.

    uvicorn ends all of them if one can't start. Here that is so only if no other one serves:
    what a replacement lacks, such as the database, may come back.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._pids: set[int | None] = set()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that ended. uvicorn calls it twice a second."""
        if self.should_exit.is_set():
            return
        # A worker may end before the first call, and a signal may replace workers between two.
        known = self._pids | {worker.pid for worker in self.processes}
        super().keep_subprocess_alive()
        if self.should_exit.is_set() and any(worker.is_ready(1) for worker in self.processes):
            self._start_again()
        self._pids = {worker.pid for worker in self.processes}
        for pid in known - self._pids:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]

    def _start_again(self) -> None:
        """Replace the workers that could not start."""
        logger.warning("a worker could not start: it is tried again, because others serve")
        for number, worker in enumerate(self.processes):
            if worker.exitcode == STARTUP_FAILURE:
                self.processes[number] = Process(self.config, self.sockets)
                self.processes[number].start()
        self.should_exit.clear()


def server_config(application: str, settings: RealtimeSettings) -> uvicorn.Config:
    """What uvicorn should do differently from its defaults."""
    return uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        workers=settings.web_concurrency,
        log_config=log_config(settings.environment),
        # Proxies whose X-Forwarded-For and X-Forwarded-Proto headers we trust.
        forwarded_allow_ips=settings.forwarded_allow_ips,
        http=BoundedRequestsProtocol,
        ws=PrebuiltFramesProtocol,
        ws_max_size=settings.max_frame_bytes or sys.maxsize,
        ws_ping_interval=settings.ping_interval or None,
        ws_ping_timeout=settings.ping_timeout or None,
        # Compression costs more CPU than everything else, and 64 KiB a connection.
        ws_per_message_deflate=False,
        # Without a limit, one handler that does not end would keep the process for ever.
        timeout_graceful_shutdown=settings.shutdown_grace or None,
    )


def drop_stalled_connections(listener: socket.socket, settings: RealtimeSettings) -> None:
    """Have the kernel end connections whose client takes no more data.

    uvicorn waits for its write buffer to drain before it closes, and a client that
    acknowledges but never reads would keep it for ever. Accepted sockets inherit the
    option, which only Linux has (`man 7 tcp`).
    """
    milliseconds = int(1000 * (settings.ping_interval + settings.ping_timeout))
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
