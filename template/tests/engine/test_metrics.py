"""The metrics that Prometheus reads from `/metrics`."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from app.realtime import metrics
from tests.engine.example_server import ExampleServer
from tests.support.auth import sign_in
from tests.support.client import PATIENCE, open_client, refused_with
from tests.support.server import AppServer, StartServer

TOKEN = secrets.token_urlsafe(32)


@pytest_asyncio.fixture(scope="module")
async def guarded(folder: Path) -> AsyncIterator[AppServer]:
    """A server with a token. The spaces around it are none of its own."""
    async with ExampleServer(folder, {"METRICS_TOKEN": f" {TOKEN} "}).running() as server:
        yield server


async def scrape(server: AppServer) -> dict[str, float]:
    """Every sample, over a new connection: any worker may answer."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = [f" {name}={value}" for name, value in sorted(sample.labels.items())]
            samples["".join([sample.name, *labels])] = sample.value
    return samples


async def scrape_until(server: AppServer, **expected: float) -> None:
    """Scrape until these samples have these values."""
    seen: dict[str, float | None] = {}
    try:
        async with asyncio.timeout(PATIENCE):
            while seen != expected:
                samples = await scrape(server)
                seen = {name: samples.get(name) for name in expected}
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{seen}, not {expected}") from None


def test_every_metric_has_a_help_text_and_the_prefix_websocket() -> None:
    kinds = (Counter, Gauge, Histogram)
    found = [value for value in vars(metrics).values() if isinstance(value, kinds)]
    families = [family for metric in found for family in metric.collect()]
    assert families
    assert all(family.name.startswith("websocket_") for family in families)
    assert all(family.documentation for family in families)


async def test_one_scrape_covers_every_worker(
    start_server: StartServer, broker_url: str, tmp_path: Path
) -> None:
    workers = 1 if broker_url == "memory://" else 2
    server = await start_server(BROKER_URL=broker_url, WEB_CONCURRENCY=workers, TMPDIR=tmp_path)
    credentials = await sign_in(server.url, "alice")
    async with AsyncExitStack() as stack:
        for number in range(8):
            path = ("/ws", "/ws/echo")[number % 2]
            client = open_client(server.ws_url, credentials, path)
            await (await stack.enter_async_context(client)).expect("welcome")
        for _ in range(10):
            assert (await scrape(server))["websocket_connections"] == 8
    await scrape_until(server, websocket_connections=0)
    await server.stop()
    assert is_empty(tmp_path), "the files that the workers shared are still there"


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"bearer {TOKEN}"}, 200),
    ],
    ids=["none", "empty", "wrong", "shorter", "longer", "basic", "right", "lower case"],
)
async def test_with_a_token_only_who_knows_it_is_answered(
    guarded: AppServer, headers: dict[str, str], status: int
) -> None:
    async with httpx.AsyncClient(base_url=guarded.url, headers=headers) as http:
        answers = [await http.get("/metrics"), await http.head("/metrics")]
        assert (await http.get("/healthz")).status_code == 200
    for answer in answers:
        assert answer.status_code == status
        assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
    assert ("websocket_connections" in answers[0].text) == (status == 200)
    assert TOKEN not in guarded.read_log()


async def test_a_broker_that_answers_is_reported_as_up(server: AppServer) -> None:
    await server.wait_for_status("/readyz", 200)
    assert (await scrape(server))["websocket_broker_up"] == 1


async def test_refused_handshakes_are_counted_by_reason(start_server: StartServer) -> None:
    server = await start_server(MAX_CONNECTIONS=1)
    credentials = await sign_in(server.url, "alice")
    async with open_client(server.ws_url, credentials, "/ws/echo") as client:
        await client.expect("welcome")
        assert await refused_with(server.ws_url, credentials, "/ws/echo") in {503, 1013}
        await scrape_until(
            server,
            **{
                "websocket_connections": 1,
                "websocket_refused_handshakes_total reason=worker_full": 1,
            },
        )


@pytest.mark.parametrize("path", ["/ws", "/ws/echo"])
async def test_abuse_is_counted(start_server: StartServer, path: str) -> None:
    server = await start_server(MESSAGES_PER_SECOND=10)
    async with open_client(server.ws_url, await sign_in(server.url, "alice"), path) as client:
        for _ in range(200):
            await client.send(type="ping")
        async with asyncio.timeout(PATIENCE):
            await client.socket.wait_closed()
    await scrape_until(server, **{"websocket_closed_total reason=abuse": 1})
    assert (await scrape(server))["websocket_rate_limited_total"] >= 20


async def test_publications_and_deliveries_are_counted_and_timed(
    start_server: StartServer,
) -> None:
    server = await start_server()
    credentials = await sign_in(server.url, "alice")
    async with (
        open_client(server.ws_url, credentials) as alice,
        open_client(server.ws_url, credentials) as bob,
    ):
        for client in (alice, bob):
            await client.join("counted")
        for number in range(5):
            await alice.publish("counted", "hello", id=str(number))
        for client in (alice, bob):
            await client.expect("message", id="4")
        await scrape_until(
            server,
            websocket_rooms=1,
            websocket_publications_total=5,
            websocket_deliveries_total=10,
            websocket_delivery_seconds_count=5,
        )
        assert (await scrape(server))["websocket_delivery_seconds_sum"] < PATIENCE
    await scrape_until(server, websocket_rooms=0)


async def test_a_binary_frame_is_counted_as_unsupported(start_server: StartServer) -> None:
    server = await start_server()
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.socket.send(b"\x00")
        async with asyncio.timeout(PATIENCE):
            await alice.socket.wait_closed()
    await scrape_until(server, **{"websocket_closed_total reason=unsupported": 1})


async def test_recoveries_are_counted_by_result(start_server: StartServer) -> None:
    server = await start_server()
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        joined = await alice.join("recovered")
        since = {"epoch": joined["epoch"], "offset": joined["offset"]}
        for position in (since, since | {"epoch": "another"}):
            await alice.send(type="leave", room="recovered")
            await alice.send(type="join", room="recovered", since=position)
            await alice.expect("joined")
    await scrape_until(
        server,
        **{
            "websocket_recoveries_total result=recovered": 1,
            "websocket_recoveries_total result=lost": 1,
        },
    )
