"""What users may have replayed: a burst, then so many bytes a second, on all connections."""

from types import SimpleNamespace

import pytest

from app.realtime.connection import Connection
from app.realtime.frames import Frames, frame
from app.realtime.replays import BURST, RESERVED, Replays
from tests.engine.doubles import TransportSocket, connection
from tests.engine.test_limits import Clock

PER_SECOND = 1024 * 1024


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that budgets look at."""
    clock = Clock()
    monkeypatch.setattr("app.realtime.limits.time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def replays(clock: Clock) -> Replays:  # noqa: ARG001
    return Replays(PER_SECOND)


def client(name: str = "alice", takes: int = 1000) -> tuple[Connection, TransportSocket]:
    """A connection of a user, and its socket, which takes so many writes."""
    opened, socket = connection(name), TransportSocket(takes)
    opened.start(socket)
    return opened, socket


def replay(replays: Replays, opened: Connection, size: int) -> bool:
    """Ask for a replay of so many bytes. Returns whether it is granted."""
    if not replays.reserve(opened, "room"):
        return False
    replays.settle(opened, size)
    return True


def test_after_a_burst_a_user_gets_so_many_bytes_a_second(replays: Replays, clock: Clock) -> None:
    alice, socket = client()
    size = BURST // 4 + 1
    assert [replay(replays, alice, size) for _ in range(6)] == [True] * 4 + [False] * 2
    start, granted = clock.now, 0
    while clock.now < start + 60:
        clock.now += 0.05
        granted += replay(replays, alice, size)
    assert granted == pytest.approx(60 * PER_SECOND / size, abs=2)
    error = socket.given[0]
    assert (error["code"], error["room"]) == ("rate_limited", "room")


def test_the_answer_says_when_to_try_again(replays: Replays, clock: Clock) -> None:
    alice, socket = client()
    replay(replays, alice, BURST + 3 * PER_SECOND)
    assert not replay(replays, alice, 0)
    assert "in 3 s" in socket.given[0]["detail"]
    clock.now += 3.01
    assert replay(replays, alice, 0)


def test_the_connections_of_a_user_share_one_budget_and_users_do_not(replays: Replays) -> None:
    (first, _), (second, _), (bob, _) = client(), client(), client("bob")
    assert replay(replays, first, BURST + 1)
    assert not replay(replays, second, 1)
    replays.forget(first)
    assert not replay(replays, second, 1)
    assert replay(replays, bob, BURST + 1)
    assert not replay(replays, first, 1)


def test_requests_without_an_answer_count_as_well(replays: Replays) -> None:
    opened = [client()[0] for _ in range(2 * BURST // RESERVED)]
    granted = [it for it in opened if replays.reserve(it, "room")]
    assert BURST / RESERVED <= len(granted) <= BURST / RESERVED + 1
    for it in granted:
        replays.settle(it, 0)  # nothing was missed
    assert all(replay(replays, it, 0) for it in opened)


def test_a_thousand_who_come_back_get_the_little_that_they_missed(replays: Replays) -> None:
    assert all(replay(replays, client(f"user {n}")[0], 20_000) for n in range(1000))
    assert all(replay(replays, client("alice")[0], 20_000) for _ in range(50))


def test_without_a_limit_everything_is_granted(clock: Clock) -> None:  # noqa: ARG001
    unlimited, (alice, _) = Replays(0), client()
    assert all(replay(unlimited, alice, BURST) for _ in range(100))
    assert not unlimited._budgets


def test_users_who_have_not_asked_for_a_while_are_forgotten(replays: Replays, clock: Clock) -> None:
    alice, _ = client()
    for number in range(1000):
        clock.now += 0.1
        replay(replays, alice, PER_SECOND)  # who asks all the time
        replay(replays, client(f"user {number}")[0], PER_SECOND)
    assert len(replays._budgets) <= 12


def test_a_user_who_is_forgotten_before_the_answer_pays_for_it(
    replays: Replays, clock: Clock
) -> None:
    alice, _ = client()
    assert replays.reserve(alice, "room")
    clock.now += 10  # the broker is slow, and others ask in the meantime
    assert replay(replays, client("bob")[0], 0)
    replays.settle(alice, BURST + PER_SECOND)
    assert not replay(replays, alice, 0)


def waiting(size: int) -> list[Frames]:
    return [frame(b'"' + b"x" * (size - 2) + b'"')]


def test_what_waits_for_all_clients_is_bounded_and_the_largest_goes(
    replays: Replays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.realtime.replays.MAX_WAITING", 10_000)
    stalled = [client(f"user {number}", takes=0)[0] for number in range(4)]
    for opened, size in zip(stalled, (2000, 4000, 3000, 500), strict=True):
        assert replays.reserve(opened, "room")
        opened.replay(waiting(size))
        replays.settle(opened, size)
    assert not any(opened.is_closing for opened in stalled)
    stalled[0].replay(waiting(1000))
    replays.settle(stalled[0], 1000)
    assert [opened.is_closing for opened in stalled] == [False, True, False, False]


def test_clients_that_took_their_replay_or_are_gone_do_not_count(
    replays: Replays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.realtime.replays.MAX_WAITING", 10_000)
    (first, socket), (second, _), (third, _) = client(takes=0), client(takes=0), client(takes=0)
    for opened in (first, second):
        opened.replay(waiting(4900))
        replays.settle(opened, 4900)
    socket.drain()
    replays.forget(second)
    third.replay(waiting(5200))
    replays.settle(third, 5200)
    assert replays._waiting == {third}
    assert not any(opened.is_closing for opened in (first, second, third))
