"""Metrics for Prometheus. Each worker counts for itself; scraping one covers all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder where workers share what they count.

prometheus_client reads it when it is imported.
"""

CONNECTIONS = Gauge(
    "websocket_connections",
    "Open sockets",
    multiprocess_mode="livesum",
)
ROOMS = Gauge(
    "websocket_rooms",
    "Rooms with members; one that has members on several workers counts on each",
    multiprocess_mode="livesum",
)
REFUSED_HANDSHAKES = Counter(
    "websocket_refused_handshakes",
    "Handshakes refused because too many sockets were open: worker_full, user or address",
    ["reason"],
)
CLOSED = Counter(
    "websocket_closed",
    "Sockets that the server closed, by reason",
    ["reason"],
)
RATE_LIMITED = Counter(
    "websocket_rate_limited",
    "Messages refused because a client sent too many in a short time",
)

PUBLICATIONS = Counter(
    "websocket_publications",
    "Publications that the broker took",
)
PUBLICATIONS_REFUSED = Counter(
    "websocket_publications_refused",
    "Publications that were answered with an error, by reason",
    ["reason"],
)
SIGNALS_LOST = Counter(
    "websocket_signals_lost",
    "Signals that were dropped because the broker was away",
)
HANDLER_FAILURES = Counter(
    "websocket_handler_failures",
    "Handlers and rules of the application that failed with an exception",
)
DELIVERIES = Counter(
    "websocket_deliveries",
    "Publications handed to the sockets of members, one for each member",
)
DELIVERY_SECONDS = Histogram(
    "websocket_delivery_seconds",
    "From publishing to writing to the members' sockets, for each publication and worker",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

BROKER_UP = Gauge(
    "websocket_broker_up",
    "Whether messages travel through the broker, as seen by the worker that is scraped",
    multiprocess_mode="livemostrecent",
)
BROKER_RECONNECTS = Counter(
    "websocket_broker_reconnects",
    "Connections to the broker made after one was lost",
)
POISON = Counter(
    "websocket_broker_poison",
    "Malformed payloads from the broker, which were skipped",
)
RECOVERIES = Counter(
    "websocket_recoveries",
    "Joins with `since`: recovered, or lost where history does not reach back far enough",
    ["result"],
)
GAPS = Counter(
    "websocket_gaps",
    "Gaps in what a worker received of a room: filled from history, or members told to resync",
    ["result"],
)


@contextmanager
def shared_by_workers() -> Iterator[None]:
    """Let the processes that are started during the block count together.

    They have to be spawned, not forked, so that they import prometheus_client again.
    """
    with TemporaryDirectory(prefix="metrics-") as folder:
        os.environ[FOLDER] = folder
        yield


def render() -> bytes:
    """Every metric of every worker, in Prometheus' text format."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
