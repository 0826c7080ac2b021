"""The model of `tests/engine/test_model.py`, with many more examples, which differ each time."""

import random

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.engine.test_model import MemoryMachine

pytestmark = pytest.mark.soak

EXAMPLES = 500


def test_members_receive_the_messages_of_their_room_in_order_without_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: low + (high - low) / 100)
    many = settings(settings.get_profile("long"), max_examples=EXAMPLES)
    run_state_machine_as_test(MemoryMachine, settings=many)
