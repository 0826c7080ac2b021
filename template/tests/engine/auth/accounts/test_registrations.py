"""How many accounts can be registered: from one address, and in sum."""

import pytest
from httpx import AsyncClient

from app.auth.accounts.registrations import Registrations, TooManyRegistrations
from tests.support.auth.accounts import PASSWORD
from tests.support.server import StartServer

ONE, OTHER = "203.0.113.1", "203.0.113.2"


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("app.realtime.limits.time.monotonic", clock)
    return clock


def allowed(registrations: Registrations, address: str | None) -> bool:
    try:
        registrations.count(address)
    except TooManyRegistrations:
        return False
    return True


def test_an_address_may_register_a_few_at_once_and_then_so_many_per_minute(clock: Clock) -> None:
    registrations = Registrations(0, 5)
    assert [allowed(registrations, ONE) for _ in range(12)] == [True] * 10 + [False] * 2
    assert allowed(registrations, OTHER)
    clock.now += 12
    assert [allowed(registrations, ONE) for _ in range(2)] == [True, False]


def test_a_refusal_says_when_to_try_again(clock: Clock) -> None:
    registrations = Registrations(0, 1)
    for _ in range(2):
        registrations.count(ONE)
    clock.now += 15.5
    with pytest.raises(TooManyRegistrations, match="try again in 45 s") as refusal:
        registrations.count(ONE)
    assert refusal.value.headers == {"Retry-After": "45"}


def test_all_addresses_together_are_limited(clock: Clock) -> None:
    registrations = Registrations(2, 0)
    addresses = [f"203.0.113.{number}" for number in range(6)]
    assert [allowed(registrations, address) for address in addresses] == [True] * 4 + [False] * 2
    clock.now += 30
    assert [allowed(registrations, address) for address in addresses[:2]] == [True, False]


def test_what_is_refused_for_its_address_takes_nothing_from_the_others(clock: Clock) -> None:
    registrations = Registrations(3, 1)
    assert sum(allowed(registrations, ONE) for _ in range(100)) == 2
    assert [allowed(registrations, OTHER) for _ in range(3)] == [True, True, False]
    assert clock.now == 1000


@pytest.mark.parametrize(
    ("address", "neighbour"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("fe80::1%eth0", "fe80::2%eth0"),
    ],
)
def test_what_counts_as_one_address_shares_its_limit(
    clock: Clock, address: str, neighbour: str
) -> None:
    registrations = Registrations(0, 1)
    assert [allowed(registrations, name) for name in (address, neighbour)] == [True, True]
    assert not allowed(registrations, address)
    assert not allowed(registrations, neighbour)
    assert allowed(registrations, "2001:db8:1:3::1")
    assert clock.now == 1000


def test_a_unix_socket_has_no_address_to_limit() -> None:
    registrations = Registrations(0, 1)
    assert all(allowed(registrations, None) for _ in range(10))


def test_addresses_are_forgotten_once_they_may_register_as_before(clock: Clock) -> None:
    registrations = Registrations(0, 5)
    for number in range(100):
        registrations.count(f"203.0.113.{number}")
    clock.now += 3600
    registrations.count(ONE)
    assert len(registrations._of_address) == 1


# --- Over HTTP ----------------------------------------------------------------


async def test_a_client_that_registers_too_many_accounts_is_told_when_to_try_again(
    start_server: StartServer,
) -> None:
    server = await start_server(
        REGISTRATIONS_PER_MINUTE="2",
        REGISTRATIONS_PER_MINUTE_PER_ADDRESS="1",
        DATABASE_URL="sqlite+aiosqlite:///registrations.db",
    )
    async with AsyncClient(base_url=server.url) as http:

        async def register(name: str, address: str, password: str = PASSWORD) -> int:
            form = {"username": name, "password": password}
            headers = {"X-Forwarded-For": address}
            answer = await http.post("/auth/register", data=form, headers=headers)
            if answer.status_code == 429:
                assert 0 < int(answer.headers["Retry-After"]) <= 60
                assert answer.json()["detail"].startswith("Too many accounts are being registered")
            return answer.status_code

        for _ in range(5):  # what is invalid costs no hash
            assert await register("Ada", ONE, "short") == 422
        assert await register("Ada", ONE) == 201
        assert await register("Ada", ONE) == 409
        assert await register("Grace", ONE) == 429
        assert await register("Grace", OTHER) == 201
        assert await register("Hedy", OTHER) == 201
        assert await register("Mary", "203.0.113.3") == 429
