"""Commands to disconnect and to evict reach every worker, also after an interruption."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from broadcaster import Broadcast, Event

from app.realtime.broker import Publication, Record, Resubscribed
from app.realtime.broker.memory import Channel, MemoryBackend
from app.realtime.commands import CHANNEL, Command, Commands
from app.realtime.protocol import Position
from app.realtime.publisher import Publisher
from tests.support.client import until


class InterruptedBackend(MemoryBackend):
    """Does not deliver publications while it is interrupted."""

    is_interrupted = False

    def __init__(self) -> None:
        super().__init__("memory://", 1000, 3600)

    def _deliver(self, event: Event) -> None:
        if not (self.is_interrupted and isinstance(event, Publication)):
            super()._deliver(event)

    def resume(self) -> None:
        self.is_interrupted = False
        self._deliver(Resubscribed(CHANNEL))


@asynccontextmanager
async def worker(backend: MemoryBackend) -> AsyncIterator[list[str]]:
    """A worker, as the list of the users of the commands that it has carried out."""
    users: list[str] = []

    def carry_out(command: Command) -> None:
        users.append(command.user)
        if command.user == "broken":
            raise LookupError("a flaw")

    async with Broadcast(backend=backend) as broadcast:
        commands = Commands(backend, broadcast, carry_out)
        async with commands.running():
            await until(lambda: commands._position is not None)
            yield users


async def test_commands_are_carried_out_once_and_in_order() -> None:
    backend = InterruptedBackend()
    async with worker(backend) as users:
        for number in range(20):
            await Publisher(backend).disconnect(str(number))
        await until(lambda: len(users) == 20)
        assert users == [str(number) for number in range(20)]


@pytest.mark.parametrize("noticed", ["by the next command", "when it is subscribed again"])
async def test_commands_that_were_missed_are_carried_out_later(noticed: str) -> None:
    backend = InterruptedBackend()
    publisher = Publisher(backend)
    async with worker(backend) as users:
        await publisher.disconnect("before")
        await until(lambda: users == ["before"])
        backend.is_interrupted = True
        await publisher.disconnect("meanwhile")
        await publisher.evict("meanwhile too", "lobby")
        if noticed == "by the next command":
            backend.is_interrupted = False
            await publisher.disconnect("after")
            await until(lambda: users == ["before", "meanwhile", "meanwhile too", "after"])
        else:
            backend.resume()
            await until(lambda: users == ["before", "meanwhile", "meanwhile too"])


async def test_commands_from_before_the_start_are_not_carried_out() -> None:
    backend = InterruptedBackend()
    old = Command(user="long ago", sent_at=1).model_dump_json()
    await backend.publish(CHANNEL, Record("old", old, old))
    async with worker(backend) as users:
        await Publisher(backend).disconnect("now")
        await until(lambda: bool(users))
        assert users == ["now"]


@pytest.mark.parametrize("noticed", ["by the next command", "when it is subscribed again"])
async def test_commands_of_a_new_epoch_are_carried_out(noticed: str) -> None:
    backend = InterruptedBackend()
    publisher = Publisher(backend)
    async with worker(backend) as users:
        await publisher.disconnect("before")
        await until(lambda: users == ["before"])
        backend.is_interrupted = noticed == "when it is subscribed again"
        backend._channels[CHANNEL] = Channel(CHANNEL, "new")
        await publisher.disconnect("after")
        if backend.is_interrupted:
            backend.resume()
        await until(lambda: users == ["before", "after"])


async def test_commands_that_history_still_has_are_carried_out_after_a_gap(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = InterruptedBackend()
    backend.history_size = 2
    publisher = Publisher(backend)
    async with worker(backend) as users:
        await publisher.disconnect("before")
        await until(lambda: users == ["before"])
        backend.is_interrupted = True
        for user in ("forgotten", "third", "fourth"):
            await publisher.disconnect(user)
        backend.resume()
        await until(lambda: users == ["before", "third", "fourth"])
        assert "may have been lost" in caplog.text


async def test_commands_that_are_lost_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    backend = InterruptedBackend()
    async with worker(backend):
        lost = backend._channels[CHANNEL] = Channel(CHANNEL, "new")
        lost.position = Position(epoch="new", offset=3)
        backend.resume()
        await until(lambda: "may have been lost" in caplog.text)


async def test_a_malformed_command_and_one_that_fails_do_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = InterruptedBackend()
    async with worker(backend) as users:
        await backend.publish(CHANNEL, "{}")
        await backend.publish(CHANNEL, Record("malformed", "", "{"))
        await Publisher(backend).disconnect("broken")
        await Publisher(backend).disconnect("next")
        await until(lambda: users == ["broken", "next"])
    assert caplog.text.count("skipped a malformed command") == 2
    assert "could not carry out a command" in caplog.text
