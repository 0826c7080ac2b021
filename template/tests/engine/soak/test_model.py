"""The model of `tests/test_model.py`, with many more examples, and other ones each time."""

import random

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.engine.test_model import MemoryMachine

pytestmark = pytest.mark.soak

EXAMPLES = 500


def test_members_see_the_sequence_of_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: low + (high - low) / 100)
    many = settings(settings.get_profile("long"), max_examples=EXAMPLES)
    run_state_machine_as_test(MemoryMachine, settings=many)
