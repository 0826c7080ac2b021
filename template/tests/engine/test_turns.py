"""What is due a few turns later is done all at once, and one fault does not stop the others."""

import asyncio
from collections.abc import Callable

import pytest

from app.realtime.turns import TURNS, Turns


class Turn:
    """Counts the turns of the event loop from now on."""

    def __init__(self) -> None:
        self.number = 0
        self.called: list[tuple[str, int]] = []

    def record(self, name: str) -> Callable[[], None]:
        """A function that records in which turn it is called."""
        return lambda: self.called.append((name, self.number))

    async def pass_by(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
            self.number += 1


async def test_functions_are_called_some_turns_later_in_the_order_in_which_they_were_added() -> (
    None
):
    turns, turn = Turns(), Turn()
    turns.add(turn.record("first"))
    turns.add(turn.record("second"))
    await turn.pass_by(1)
    turns.add(turn.record("third"))
    await turn.pass_by(TURNS + 3)
    due = turn.called[0][1]
    assert TURNS - 1 <= due <= TURNS
    assert turn.called == [("first", due), ("second", due), ("third", due + 1)]


async def test_what_is_added_during_a_turn_is_due_as_much_later() -> None:
    turns, turn = Turns(), Turn()

    def again() -> None:
        turn.record("first")()
        turns.add(turn.record("second"))

    turns.add(again)
    await turn.pass_by(3 * TURNS)
    (_, first), (_, second) = turn.called
    assert second == first + TURNS


async def test_a_function_that_raises_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turns, turn = Turns(), Turn()

    def fail() -> None:
        raise LookupError("a fault")

    for function in (turn.record("before"), fail, turn.record("behind")):
        turns.add(function)
    await turn.pass_by(1)
    turns.add(turn.record("later"))
    await turn.pass_by(2 * TURNS)
    assert [name for name, _ in turn.called] == ["before", "behind", "later"]
    (failure,) = [it for it in caplog.records if it.exc_info]
    assert failure.exc_info
    assert failure.exc_info[0] is LookupError


async def test_a_turn_costs_one_callback_and_without_anything_due_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, turn = Turns(), Turn()
    loop = asyncio.get_running_loop()
    call_soon, callbacks = loop.call_soon, 0

    def count(callback: Callable[..., object], *args: object, **options: object) -> object:
        nonlocal callbacks
        callbacks += callback == turns._turn
        return call_soon(callback, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_soon", count)
    for _ in range(2):
        callbacks = 0
        for number in range(1000):
            turns.add(turn.record(str(number)))
        await turn.pass_by(5 * TURNS)
        assert callbacks == TURNS
    assert len(turn.called) == 2000
