"""When the client connects again, when it does not, and what it says then."""

import asyncio

import pytest

from client import ConnectionEnded, Room, State, Unauthenticated, connect
from client.backoff import CAP, backoff
from tests.engine.client.python.scripted import NoCredentials, Peer, Script, scripted, talking


async def welcome(peer: Peer) -> None:
    await peer.welcome()


def closing(code: int, reason: str = "") -> Script:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.expect("join", room="r")
        await peer.socket.close(code, reason)

    return script


async def joining(peer: Peer) -> None:
    await peer.welcome()
    await peer.expect("join", room="r")
    await peer.joined()


async def begin(url: str, credentials: NoCredentials) -> None:
    """Connect, and end."""
    async with asyncio.timeout(5), connect(url, credentials) as client:
        assert client.user.name == "Ada"


@pytest.mark.parametrize("code", [1001, 1009, 1011, 1012, 1013, 4000, 4399])
async def test_it_connects_again_after(code: int) -> None:
    async with talking(closing(code), joining) as client:
        await client.join("r")


async def test_it_connects_again_after_the_connection_was_cut() -> None:
    async def cut(peer: Peer) -> None:
        await peer.welcome()
        peer.abort()

    async with talking(cut, joining) as client:
        await client.join("r")


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 3000, 4400, 4403, 4499])
async def test_it_does_not_connect_again_after(code: int) -> None:
    async with talking(closing(code, "no more")) as client:
        with pytest.raises(ConnectionEnded, match="no more") as ended:
            await client.join("r")
        assert ended.value.code == code
        assert client.status.state is State.ENDED
        with pytest.raises(ConnectionEnded, match="no more"):
            await client.join("other")


async def test_it_tries_once_with_fresh_credentials() -> None:
    async def expired(peer: Peer) -> None:
        await peer.socket.close(4401, "expired")

    credentials = NoCredentials()
    async with scripted(expired, joining) as url, connect(url, credentials) as client:
        await client.join("r")
    assert credentials.refusals == 1
    async with scripted(expired, expired) as url:
        with pytest.raises(Unauthenticated, match="expired"):
            await begin(url, credentials)
    assert credentials.refusals == 2


async def test_a_refused_handshake_counts_as_its_status_says() -> None:
    credentials = NoCredentials()
    async with scripted(welcome, refuse=[503, 429, 500, 401]) as url:
        await begin(url, credentials)
    assert credentials.refusals == 1
    for status, error in ((403, ConnectionEnded), (404, ConnectionEnded), (401, Unauthenticated)):
        async with scripted(refuse=[status, status]) as url:
            with pytest.raises(error) as ended:
                await begin(url, credentials)
            assert ended.value.code == status


@pytest.mark.parametrize("url", ["http://127.0.0.1/ws", "ws://", "127.0.0.1:8000", ""])
async def test_a_bad_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with ws://"):
        await begin(url, NoCredentials())


async def test_a_silent_server_is_left() -> None:
    async def silent(peer: Peer) -> None:
        await peer.welcome(heartbeat=0.1)
        await peer.expect("join")
        await peer.expect("ping")

    async with talking(silent, joining) as client:
        await client.join("r")


async def test_a_server_that_answers_pings_is_not_left() -> None:
    async def answering(peer: Peer) -> None:
        await peer.welcome(heartbeat=0.05)
        await peer.expect("join")
        for _ in range(5):
            await peer.expect("ping")
            await peer.send("pong")
        await peer.socket.close(4403, "enough")

    async with talking(answering) as client:
        with pytest.raises(ConnectionEnded, match="enough"):
            await client.join("r")


async def test_a_server_without_a_welcome_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.connection.HANDSHAKE_TIMEOUT", 0.1)

    async def mute(peer: Peer) -> None:
        """Says nothing."""

    async with talking(mute, welcome) as client:
        assert client.status.state is State.OPEN


async def test_it_says_in_words_what_it_waits_for() -> None:
    async with connect("ws://127.0.0.1:9/ws", NoCredentials(), wait=False) as client:
        async for _ in client.changes():
            if client.status.state is State.WAITING:
                break
        assert client.status.reason.startswith("The server can't be reached (")
        assert client.status.retry_at is not None


async def test_nothing_is_left_of_a_client() -> None:
    async def fail(url: str) -> None:
        async with connect(url, NoCredentials()) as client:
            waiting.append(asyncio.create_task(client.join("r")))
            await asyncio.sleep(0)
            raise LookupError

    waiting: list[asyncio.Task[Room]] = []
    before = asyncio.all_tasks()
    async with scripted(welcome) as url:
        with pytest.raises(LookupError):
            await fail(url)
        with pytest.raises(ConnectionEnded, match="was closed"):
            await waiting[0]
    assert asyncio.all_tasks() == before


async def test_it_sends_no_faster_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    arrived: list[float] = []

    async def count(peer: Peer) -> None:
        await peer.welcome()
        for _ in range(15):
            await peer.expect("join")
            arrived.append(asyncio.get_running_loop().time())

    monkeypatch.undo()
    async with (
        asyncio.timeout(5),
        scripted(count) as url,
        connect(url, NoCredentials(), messages_per_second=10) as client,
        asyncio.TaskGroup() as tasks,
    ):
        joins = [tasks.create_task(client.join(f"r{number}")) for number in range(15)]
        while len(arrived) < 15:
            await asyncio.sleep(0.01)
        for join in joins:
            join.cancel()
    assert arrived[9] - arrived[0] < 0.2, "a burst goes at once"
    assert arrived[14] - arrived[9] > 0.4


def test_the_backoff_is_random_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert all(0 <= backoff(0) <= 1 for _ in range(100))
    waits = [backoff(1_000_000) for _ in range(100)]
    assert max(waits) <= CAP
    assert max(waits) > CAP / 2 > min(waits)
