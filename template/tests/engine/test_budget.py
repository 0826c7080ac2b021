"""What a client may use of something whose cost is known only afterwards."""

from types import SimpleNamespace

import pytest

from app.realtime.limits import Budget
from tests.engine.test_limits import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that budgets look at."""
    clock = Clock()
    monkeypatch.setattr("app.realtime.limits.time", SimpleNamespace(monotonic=clock))
    return clock


def test_a_budget_can_be_spent_at_once_and_overdrawn(clock: Clock) -> None:
    budget = Budget(10, 100)
    assert (budget.is_full, budget.wait()) == (True, 0)
    budget.spend(99)
    assert budget.wait() == 0
    budget.spend(51)
    assert budget.wait() == 5
    clock.now += 4.5
    assert budget.wait() == pytest.approx(0.5)
    clock.now += 0.6
    assert budget.wait() == 0


def test_a_budget_that_is_just_spent_has_nothing_left(clock: Clock) -> None:
    budget = Budget(10, 100)
    budget.spend(100)
    clock.now += 0.1
    assert budget.wait() == 0
    budget.spend(1)
    clock.now += 1
    budget.spend(10)
    assert not budget.is_full


def test_a_budget_is_full_again_and_holds_no_more(clock: Clock) -> None:
    budget = Budget(10, 100)
    budget.spend(100)
    clock.now += 9.9
    assert not budget.is_full
    clock.now += 3600
    assert budget.is_full
    budget.spend(150)
    assert budget.wait() == 5


def test_what_was_not_needed_is_given_back(clock: Clock) -> None:  # noqa: ARG001
    budget = Budget(10, 100)
    budget.spend(150)
    budget.spend(-130)
    assert budget.wait() == 0
    budget.spend(-130)
    assert budget.is_full
    budget.spend(110)
    assert budget.wait() == pytest.approx(1)


def test_without_a_rate_a_budget_has_no_limit(clock: Clock) -> None:  # noqa: ARG001
    budget = Budget(0, 0)
    budget.spend(1_000_000)
    assert budget.wait() == 0
