"""How many passwords are hashed at once, and how many wait."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI
from pwdlib import PasswordHash
from sqlalchemy import select

import tests.support.auth.accounts.quick_hashes  # noqa: F401 - in this process too
from app.auth.accounts import passwords
from app.auth.accounts.database import Database, get_database
from app.auth.accounts.passwords import HASHES_AT_ONCE, PasswordHasher, TooManyHashes
from app.auth.accounts.store import Accounts, get_accounts
from app.auth.accounts.throttle import FailedLogin, LoggedIn
from tests.support.auth.accounts import PASSWORD

pytest_plugins = ["tests.engine.auth.accounts.database"]


class SlowHashes:
    """Hashes that take until they are released. They are of no password."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()
        self._released = threading.Event()

    def compute(self) -> None:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            self.threads.add(threading.get_ident())
        assert self._released.wait(20)
        with self._lock:
            self._running -= 1

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(20):
            while self._running < count:
                await asyncio.sleep(0.01)

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowHashes]:
    slow = SlowHashes()
    real_hash = PasswordHash.hash

    def hash_slowly(self: PasswordHash, password: bytes) -> str:
        if threading.current_thread() is not threading.main_thread():
            slow.compute()
        return real_hash(self, password)

    def verify_slowly(*_: object) -> tuple[bool, str | None]:
        slow.compute()
        return False, None

    monkeypatch.setattr(PasswordHash, "hash", hash_slowly)
    monkeypatch.setattr(PasswordHash, "verify_and_update", verify_slowly)
    yield slow
    slow.release()


def work(hasher: PasswordHasher, number: int) -> asyncio.Task[object]:
    """A registration or a login, in turn."""
    if number % 2:
        return asyncio.create_task(hasher.hash(b"password"))
    return asyncio.create_task(hasher.verify(b"password", None))


async def test_passwords_are_hashed_in_threads_and_a_few_at_a_time(slow: SlowHashes) -> None:
    hasher = PasswordHasher()
    tasks = [work(hasher, number) for number in range(3 * HASHES_AT_ONCE)]
    await slow.wait_for(HASHES_AT_ONCE)
    await asyncio.sleep(0.1)  # one too many would start now
    slow.release()
    await asyncio.gather(*tasks)

    assert slow.most == HASHES_AT_ONCE
    assert threading.get_ident() not in slow.threads


async def test_a_hash_is_refused_when_too_many_wait_and_served_afterwards(
    slow: SlowHashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING", 6)
    hasher = PasswordHasher()
    tasks = [work(hasher, number) for number in range(HASHES_AT_ONCE + 6)]
    await slow.wait_for(HASHES_AT_ONCE)
    for number in range(2):
        with pytest.raises(TooManyHashes) as refusal:
            await work(hasher, number)
        assert refusal.value.headers == {"Retry-After": "5"}

    tasks[-1].cancel()  # and its place is free again
    await asyncio.wait(tasks[-1:])
    tasks[-1] = work(hasher, 0)
    slow.release()
    await asyncio.gather(*tasks)
    await hasher.verify(b"password", None)


async def test_a_login_that_is_refused_because_too_many_wait_is_no_wrong_password(
    database: Database, slow: SlowHashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING", 0)
    accounts = Accounts(database)
    app = FastAPI()
    app.dependency_overrides = {get_database: giving(database), get_accounts: giving(accounts)}

    @app.post("/login")
    async def login(account: LoggedIn) -> str:
        return account.name

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answer = await http.post("/login", data={"username": "Ada", "password": PASSWORD})

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json() == {
        "detail": "Too many people log in or register at the moment: try again."
    }
    async with database.transaction() as session:
        assert (await session.scalars(select(FailedLogin))).all() == []
    assert not slow.threads


def giving(value: object) -> Callable[[], object]:
    return lambda: value
