"""What one client may use: messages a second, and sockets at a time."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from itertools import pairwise

import pytest
from fastapi import HTTPException
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.realtime.limits import ConnectionLimits, RateLimit, Verdict
from tests.engine.example.settings import Settings
from tests.support.auth import sign_in
from tests.support.client import PATIENCE, Client, open_client
from tests.support.server import AppServer, StartServer

PATHS = ["/ws", "/ws/echo"]


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def verdicts(rate: RateLimit, count: int) -> Counter[Verdict]:
    return Counter(rate.take() for _ in range(count))


# --- Messages a second ----------------------------------------------------------


def test_messages_over_a_burst_of_twice_the_rate_are_refused_and_then_abuse() -> None:
    rate = RateLimit(10, Clock())
    assert verdicts(rate, 20) == {Verdict.FINE: 20}
    assert verdicts(rate, 20) == {Verdict.REFUSE: 20}
    assert verdicts(rate, 5) == {Verdict.ABUSE: 5}


def test_a_client_may_send_at_the_rate_for_ever() -> None:
    clock = Clock()
    rate = RateLimit(8, clock)
    for _ in range(10_000):
        clock.now += 1 / 8
        assert rate.take() is Verdict.FINE


def test_a_client_that_slows_down_is_served_again() -> None:
    clock = Clock()
    rate = RateLimit(10, clock)
    verdicts(rate, 40)
    clock.now += 2
    assert rate.take() is Verdict.REFUSE
    clock.now += 0.2
    assert rate.take() is Verdict.FINE


def test_a_client_that_goes_on_at_twice_the_rate_is_abusive() -> None:
    clock = Clock()
    rate = RateLimit(10, clock)
    seen = []
    for _ in range(200):
        clock.now += 1 / 20
        seen.append(rate.take())
    changes = [after for before, after in pairwise(seen) if after is not before]
    assert changes == [Verdict.REFUSE, Verdict.ABUSE]


def test_a_client_that_was_quiet_for_an_hour_may_send_one_burst() -> None:
    clock = Clock()
    rate = RateLimit(10, clock)
    clock.now += 3600
    assert verdicts(rate, 21) == {Verdict.FINE: 20, Verdict.REFUSE: 1}


def test_a_rate_of_zero_means_no_limit() -> None:
    assert verdicts(RateLimit(0, Clock()), 1000) == {Verdict.FINE: 1000}


async def closed_with(client: Client) -> int | None:
    """Read until the server closes the socket. Returns the close code."""
    with pytest.raises(ConnectionClosed):
        await client.expect("never")
    return client.socket.close_code


async def test_echo_refuses_messages_over_the_rate_and_serves_the_client_again_later(
    start_server: StartServer,
) -> None:
    server = await start_server(MESSAGES_PER_SECOND=20)
    credentials = await sign_in(server.url, "alice")
    async with open_client(server.ws_url, credentials, "/ws/echo") as alice:
        for number in range(50):
            await alice.send(type="mine", number=number)
        for number in range(40):
            await alice.expect("mine", number=number)
        await alice.expect("error", code="rate_limited")
        await asyncio.sleep(1)
        await alice.send(type="later")
        await alice.expect("later")


async def test_a_publish_over_the_rate_is_refused_by_id_and_later_ones_are_taken(
    start_server: StartServer,
) -> None:
    server = await start_server(MESSAGES_PER_SECOND=20)
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.join("limits")
        ids = [str(number) for number in range(50)]
        for name in ids:
            await alice.publish("limits", "hello", id=name)
        delivered: list[str] = []
        refused: list[str] = []
        while len(delivered) + len(refused) < len(ids):
            answer = await alice.receive()
            if answer["type"] == "message":
                delivered.append(answer["id"])
            elif answer["type"] == "error":
                assert (answer["code"], answer["room"]) == ("rate_limited", "limits")
                refused.append(answer["ref"])
        assert refused
        assert sorted(delivered + refused, key=int) == ids
        await asyncio.sleep(1)
        await alice.publish("limits", "hello", id="later")
        await alice.expect("message", id="later")


async def test_signals_and_calls_count_against_the_rate(start_server: StartServer) -> None:
    server = await start_server(MESSAGES_PER_SECOND=10)
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.join("limits")
        for _ in range(25):
            await alice.signal("limits", "chat.typing")
        await alice.expect("error", code="rate_limited", room="limits")
        await alice.send(type="call", id="1", event="no.such", data={})
        await alice.expect("error", code="rate_limited", ref="1")


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_does_not_slow_down_is_closed_alone_with_1008(
    start_server: StartServer, path: str
) -> None:
    server = await start_server(MESSAGES_PER_SECOND=10)
    credentials = await sign_in(server.url, "alice")
    async with (
        open_client(server.ws_url, credentials, path) as abusive,
        open_client(server.ws_url, credentials, path) as witness,
    ):
        for _ in range(200):
            await abusive.send(type="ping")
        assert await closed_with(abusive) == 1008
        await witness.send(type="ping")
        await witness.expect("pong" if path == "/ws" else "ping")


async def test_invalid_messages_count_against_the_rate(start_server: StartServer) -> None:
    server = await start_server(MESSAGES_PER_SECOND=10)
    async with open_client(server.ws_url, await sign_in(server.url, "mallory")) as mallory:
        for _ in range(200):
            await mallory.socket.send("{")
        assert await closed_with(mallory) == 1008


# --- Sockets at a time ----------------------------------------------------------


async def is_refused(server: AppServer, path: str, status: int, **headers: str) -> bool:
    """Whether one more socket is refused with this status and a time to try again.

    Where clients authenticate with their first message, the socket is closed with 1013 after it.
    """
    credentials = await sign_in(server.url, "alice")
    credentials.headers.update(headers)
    try:
        async with open_client(server.ws_url, credentials, path) as client:
            return await closed_with(client) == 1013 and credentials.first_frame is not None
    except InvalidStatus as refused:
        response = refused.response
        assert b"detail" in response.body
        return (response.status_code, response.headers["Retry-After"]) == (status, "10")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("setting", "status"), [("MAX_CONNECTIONS", 503), ("MAX_CONNECTIONS_PER_ADDRESS", 429)]
)
async def test_a_socket_over_the_limit_is_refused_until_another_one_closes(
    start_server: StartServer, path: str, setting: str, status: int
) -> None:
    server = await start_server(**{setting: 2})
    credentials = await sign_in(server.url, "alice")
    async with open_client(server.ws_url, credentials):
        async with open_client(server.ws_url, credentials, "/ws/echo") as second:
            await second.expect("welcome")
            for _ in range(3):
                assert await is_refused(server, path, status)
            second.socket.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with open_client(server.ws_url, credentials, path) as third:
                        await third.expect("welcome")
                        break
                except (InvalidStatus, ConnectionClosed):
                    await asyncio.sleep(0.05)


@pytest.mark.parametrize("path", PATHS)
async def test_a_user_cannot_open_more_sockets_than_allowed(
    start_server: StartServer, path: str
) -> None:
    server = await start_server(MAX_CONNECTIONS_PER_USER=2)
    credentials = await sign_in(server.url, "alice")
    sockets: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        for _ in range(3):
            if 2 in sockets.values():
                assert await is_refused(server, path, 429)
            else:
                client = open_client(server.ws_url, credentials, path)
                welcome = await (await stack.enter_async_context(client)).expect("welcome")
                sockets[welcome["user"]["id"]] += 1


async def test_behind_a_proxy_the_limit_is_that_of_the_clients_address(
    start_server: StartServer,
) -> None:
    server = await start_server(MAX_CONNECTIONS_PER_ADDRESS=1)  # and 127.0.0.1 is listed
    async with AsyncExitStack() as stack:
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
            credentials = await sign_in(server.url, "alice")
            credentials.headers["X-Forwarded-For"] = address
            client = await stack.enter_async_context(open_client(server.ws_url, credentials))
            await client.expect("welcome")
        for address in ("192.0.2.1", "2001:db8::2", "192.0.2.9, 192.0.2.1"):
            assert await is_refused(server, "/ws", 429, **{"X-Forwarded-For": address})


async def test_a_client_that_is_not_a_listed_proxy_cannot_claim_another_address(
    start_server: StartServer,
) -> None:
    server = await start_server(
        MAX_CONNECTIONS_PER_ADDRESS=1, FORWARDED_ALLOW_IPS="127.0.0.2, 10.0.0.0/8"
    )
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as first:
        await first.expect("welcome")
        for address in ("192.0.2.1", "10.0.0.1", "127.0.0.2"):
            assert await is_refused(server, "/ws", 429, **{"X-Forwarded-For": address})
        credentials = await sign_in(server.url, "alice")
        credentials.headers["X-Forwarded-For"] = "192.0.2.1"
        listed = ("127.0.0.2", 0)
        async with open_client(server.ws_url, credentials, local_addr=listed) as second:
            await second.expect("welcome")


def limits(**settings: int) -> ConnectionLimits:
    return ConnectionLimits(Settings.model_validate(settings))


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("a-name", "a-name", True),
        (None, None, False),
    ],
)
def test_what_counts_as_one_address(first: str | None, second: str | None, is_one: bool) -> None:
    counted = limits(max_connections_per_address=1)
    with counted.admit(first, "alice"):
        try:
            with counted.admit(second, "bob"):
                refused = False
        except HTTPException:
            refused = True
    assert refused is is_one


def test_nothing_is_kept_of_a_socket_that_closed_or_was_refused() -> None:
    counted = limits(max_connections=3, max_connections_per_user=2)
    for number in range(100):
        with (
            counted.admit(f"192.0.2.{number}", f"user-{number}"),
            counted.admit(f"192.0.2.{number}", f"user-{number}"),
            pytest.raises(HTTPException, match="429"),
            counted.admit(f"2001:db8:{number}::", f"user-{number}"),
        ):
            pass
    # As text, since a Counter equals one that has zeros besides.
    assert str(vars(counted)) == str(vars(limits(max_connections=3, max_connections_per_user=2)))


def test_a_maximum_of_zero_connections_means_no_limit() -> None:
    counted = limits(max_connections=0, max_connections_per_user=0, max_connections_per_address=0)
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(counted.admit("192.0.2.1", "alice"))


async def test_the_settings_limit_the_size_of_frames_and_the_number_of_rooms(
    start_server: StartServer,
) -> None:
    server = await start_server(MAX_FRAME_BYTES=1000, MAX_ROOMS_PER_CONNECTION=2)
    credentials = await sign_in(server.url, "alice")
    async with open_client(server.ws_url, credentials) as alice:
        for name in ("one", "two"):
            await alice.join(name)
        await alice.send(type="join", room="three")
        await alice.expect("error", code="too_many_rooms", room="three")
        await alice.socket.send("x" * 1000)
        await alice.expect("error", code="invalid")
        await alice.socket.send("x" * 1001)
        assert await closed_with(alice) == 1009
