"""How a worker learns that a login has ended, and that its watches are called then."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from broadcaster import Broadcast

from app.auth.accounts import live
from app.auth.accounts.database import DatabaseUnavailable, open_database
from app.auth.accounts.live import CHANNEL, LiveLogins, Watch
from app.auth.accounts.logins import LoggedInUser, Logins
from app.auth.accounts.store import Account
from app.realtime.broker import BrokerUnavailable, Resubscribed
from app.realtime.broker.memory import MemoryBackend
from tests.support.client import until

HOUR = 3600


class Worker:
    """The live logins of a worker with a broker and a database of its own."""

    def __init__(self, logins: Logins, account: Account) -> None:
        self.logins = logins
        self.account = account
        self.backend = MemoryBackend("memory://", 0, 0)
        self.broadcast = Broadcast(backend=self.backend)
        self.live = LiveLogins(logins, self.broadcast)
        self.ends: list[str] = []
        """The logins whose watches were called."""

    async def log_in(self, seconds: float = HOUR) -> LoggedInUser:
        user = await self.logins.find(await self.logins.start(self.account, HOUR))
        assert user is not None
        return replace(user, expires_at=time.time() + seconds)

    def watch(self, user: LoggedInUser) -> Watch:
        return self.live.watch(user, lambda _: self.ends.append(user.login))

    def watches_nothing(self) -> bool:
        return not self.live._watches

    def interrupt(self) -> None:
        """Have the broker report that it was away."""
        self.backend._deliver(Resubscribed(CHANNEL))


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Worker]:
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{tmp_path / 'app.db'}"
        database = await stack.enter_async_context(open_database(url))
        account = Account(id="1", name="Ada", key="ada", password_hash="")
        async with database.transaction() as session:
            session.add(account)
        worker = Worker(Logins(database), account)
        await stack.enter_async_context(worker.broadcast)
        await stack.enter_async_context(worker.live.running())
        yield worker


@pytest_asyncio.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with running(tmp_path) as worker:
        yield worker


async def test_each_watch_of_a_login_is_called_once_when_the_login_ends(worker: Worker) -> None:
    user, other = await worker.log_in(), await worker.log_in()
    for watched in (user, user, other):
        worker.watch(watched)
    for _ in range(3):
        await worker.live.end(user.login)
    await worker.broadcast.publish(CHANNEL, user.login)
    await asyncio.sleep(0.05)
    assert worker.ends == [user.login] * 2
    assert list(worker.live._watches) == [other.login]


async def test_ending_an_unknown_login_publishes_nothing(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = []
    monkeypatch.setattr(worker.backend, "submit", lambda *message: published.append(message))
    for login in ("", "made-up", "x" * 10_000):
        await worker.live.end(login)
    assert published == []


async def test_a_login_that_ends_during_the_handshake_ends_its_watch(
    worker: Worker,
) -> None:
    user = await worker.log_in()
    await worker.live.end(user.login)
    await asyncio.sleep(0.05)  # until this worker has received its own message
    worker.watch(user)
    assert worker.ends == []  # not while `watch` runs: its caller does not have the watch yet
    await until(lambda: worker.ends == [user.login])
    assert worker.watches_nothing()


async def test_a_login_that_ends_on_another_worker_during_the_handshake_ends_its_watch(
    worker: Worker,
) -> None:
    user = await worker.log_in()
    await worker.logins.delete(user.login)
    await worker.broadcast.publish(CHANNEL, user.login)
    await until(lambda: user.login in worker.live._ended)
    worker.watch(user)
    await until(lambda: worker.ends == [user.login], patience=1)
    assert worker.watches_nothing()


async def test_a_watch_is_called_once_when_the_credential_expires(worker: Worker) -> None:
    user = await worker.log_in(seconds=0.2)
    watch = worker.watch(user)
    await until(lambda: worker.ends == [user.login], patience=2)
    assert 0 <= time.time() - user.expires_at + 0.05 < 2
    watch.end("again")
    await worker.live.end(user.login)
    assert worker.ends == [user.login]
    assert worker.watches_nothing()


async def test_a_watch_of_an_expired_credential_is_called_at_once(worker: Worker) -> None:
    user = await worker.log_in(seconds=-HOUR)
    worker.watch(user)
    await until(lambda: worker.ends == [user.login])


async def test_a_renewed_watch_ends_with_its_new_login_and_not_with_the_former_one(
    worker: Worker,
) -> None:
    first, second = await worker.log_in(seconds=0.2), await worker.log_in()
    watch = worker.watch(first)
    watch.renew(second)
    assert list(worker.live._watches) == [second.login]
    await asyncio.sleep(0.3)
    await worker.live.end(first.login)
    assert worker.ends == []
    await worker.live.end(second.login)
    assert len(worker.ends) == 1
    assert worker.watches_nothing()


async def test_renewing_or_stopping_a_watch_after_its_end_changes_nothing(worker: Worker) -> None:
    user = await worker.log_in()
    ended, stopped = worker.watch(user), worker.watch(user)
    stopped.stop()
    ended.end("for this test")
    for watch in (ended, stopped):
        watch.renew(replace(user, expires_at=time.time()))
        watch.stop()
    await asyncio.sleep(0.05)
    assert worker.ends == [user.login]
    assert worker.watches_nothing()


async def test_a_login_that_ended_during_a_broker_outage_ends_its_watch_afterwards(
    worker: Worker,
) -> None:
    gone, here = await worker.log_in(), await worker.log_in()
    worker.watch(gone)
    worker.watch(here)
    await worker.logins.delete(gone.login)  # by a worker whose message was lost
    worker.interrupt()
    await until(lambda: worker.ends == [gone.login])
    assert list(worker.live._watches) == [here.login]


async def test_a_worker_regularly_asks_the_database_which_logins_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(live, "HANDSHAKE_SECONDS", 0.3)
    async with running(tmp_path) as worker:
        user = await worker.log_in()
        worker.watch(user)
        await worker.logins.delete(user.login)
        await until(lambda: worker.ends == [user.login])
        await until(lambda: not worker.live._ended)


@pytest.mark.parametrize("error", [DatabaseUnavailable(), ValueError("unforeseen")])
async def test_the_check_for_ended_logins_survives_a_failure_of_the_database(
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    user = await worker.log_in()
    worker.watch(user)
    await worker.logins.delete(user.login)

    async def fail(_: Collection[str]) -> set[str]:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(worker.logins, "remaining", fail)
        worker.interrupt()
        await until(lambda: "could not ask the database" in caplog.text)
    assert worker.ends == []
    worker.interrupt()
    await until(lambda: worker.ends == [user.login])


async def test_other_workers_ask_the_database_when_they_could_not_be_told(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise BrokerUnavailable("for this test")

    monkeypatch.setattr(live, "RETRY_SECONDS", 0.05)
    user, of_another_worker = await worker.log_in(), await worker.log_in()
    for watched in (user, of_another_worker):
        worker.watch(watched)
    with monkeypatch.context() as patch:
        patch.setattr(worker.backend, "submit", refuse)
        await worker.live.end(user.login)
        assert worker.ends == [user.login]
        assert "other workers will learn later" in caplog.text
        await asyncio.sleep(0.2)
        await worker.logins.delete(of_another_worker.login)
        assert worker.ends == [user.login]
    await until(lambda: worker.ends == [user.login, of_another_worker.login])
    assert not worker.live._others_must_ask.is_set()


async def test_messages_that_are_not_the_id_of_a_login_do_no_harm(worker: Worker) -> None:
    user = await worker.log_in()
    worker.watch(user)
    for message in ("", "\x00", "{}", "x" * 100_000, user.login.swapcase(), f" {user.login}"):
        await worker.broadcast.publish(CHANNEL, message)
    await worker.broadcast.publish(CHANNEL, "last")
    await until(lambda: "last" in worker.live._ended)
    assert worker.ends == []
    assert max(len(login) for login in worker.live._ended) < 100
    await worker.live.end(user.login)
    assert worker.ends == [user.login]
