"""How several entries share a message of the stream."""

import os
import random

import pytest

from app.realtime.broker.log.base import Draft, Entry
from app.realtime.broker.rabbitmq.batches import BATCH_BYTES, DRAFTS, decode, encode, split


def drafts(*sizes: int) -> list[Draft]:
    return [Draft(0, os.urandom(size)) for size in sizes]


def test_what_was_encoded_is_decoded_with_offsets_that_grow() -> None:
    batch = drafts(0, 1, 300, 70_000)
    assert decode(7, encode(batch, 12.5)) == [
        Entry(0, 7000 + number, 12.5, draft.payload) for number, draft in enumerate(batch)
    ]


def test_an_entry_without_drafts_is_nothing() -> None:
    assert decode(7, encode([], 1.0)) == []


def test_drafts_are_divided_in_their_order_and_large_ones_are_alone() -> None:
    batch = drafts(*[100] * 10, BATCH_BYTES, BATCH_BYTES * 3, 5, *[40_000] * 3)
    batches = split(batch)
    assert [len(it) for it in batches] == [10, 1, 1, 3, 1]
    assert [draft for it in batches for draft in it] == batch


def test_a_message_has_no_more_drafts_than_offsets() -> None:
    assert [len(it) for it in split(drafts(*[0] * 2500))] == [DRAFTS, DRAFTS, 500]
    assert split([]) == []


@pytest.mark.parametrize("seed", range(20))
def test_any_other_bytes_are_one_payload(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    body = chance.randbytes(chance.randrange(300))
    assert decode(3, body) == [Entry(0, 3000, 0.0, body)]


def test_a_message_that_is_cut_off_is_one_payload() -> None:
    whole = encode(drafts(50, 60), 1.0)
    for length in (1, 8, 9 + 2, len(whole) - 61, len(whole) - 1):
        assert decode(0, whole[:length]) == [Entry(0, 0, 0.0, whole[:length])]
    assert decode(0, b"\x02" + whole[1:]) == [Entry(0, 0, 0.0, b"\x02" + whole[1:])]
