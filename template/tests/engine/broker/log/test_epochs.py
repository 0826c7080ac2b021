"""Which epoch readers conclude from the entries of a log."""

from collections.abc import Sequence

from app.realtime.broker.log.entry import CANARY, Claim, Content, Stamp, stamp_of
from app.realtime.broker.log.epochs import Epochs, Verdict, derive

OLD = derive("an old epoch")


class Script:
    """A log, and what its writers say that they have read."""

    def __init__(self) -> None:
        self.entries: list[Content] = []

    def append(self, claim: Claim | None) -> Content:
        number = len(self.entries)
        content = Content(CANARY, stamp_of(b"a worker", number + 1), 1, claim)
        self.entries.append(content)
        return content

    def reader(self, *, is_fresh: bool = False) -> Epochs:
        """A reader that has read everything so far. A fresh one has just begun."""
        epochs = Epochs()
        for offset, content in enumerate(self.entries):
            epochs.take(offset, content)
        epochs.is_fresh = is_fresh
        return epochs


def in_an_old_epoch(count: int = 3) -> Script:
    """A log that is in the epoch `OLD`."""
    script = Script()
    script.append(None)
    for _ in range(count):
        reader = script.reader()
        reader.epoch = OLD
        script.append(reader.claim)
    return script


def names(readers: Sequence[Epochs]) -> set[str | None]:
    return {it.epoch for it in readers}


def test_true_claims_keep_the_epoch() -> None:
    script = in_an_old_epoch()
    reader = script.reader()
    assert reader.epoch == OLD
    offset = len(script.entries)
    assert reader.take(offset, script.append(reader.claim)) is Verdict.SAME
    assert reader.epoch == OLD


def test_a_claim_to_have_read_what_is_not_there_ends_the_epoch_for_all_readers() -> None:
    script = in_an_old_epoch()
    readers = [script.reader(), script.reader(is_fresh=True)]
    offset = len(script.entries)
    lost = script.append(Claim(OLD, offset + 5, b"l" * 16, offset, 0))
    for reader in readers:
        assert reader.take(offset, lost) is Verdict.BEGINS
        assert reader.begins_at == offset
    assert names(readers) == {derive(OLD, str(offset))}


def test_who_had_not_heard_that_an_epoch_ended_is_in_the_next_one() -> None:
    script = in_an_old_epoch()
    reader, unaware = script.reader(), script.reader().claim
    offset = len(script.entries)
    reader.take(offset, script.append(Claim(OLD, offset + 5, b"l" * 16, offset, 0)))
    successor = reader.epoch
    assert successor not in (None, OLD)
    assert reader.take(offset + 1, script.append(unaware)) is Verdict.SAME
    assert reader.epoch == successor
    begins_anew = script.reader(is_fresh=True)
    assert begins_anew.epoch == successor
    assert begins_anew.begins_at == offset


def test_an_epoch_that_ended_does_not_return() -> None:
    script = Script()
    reader = script.reader(is_fresh=True)
    # It ends before the reader knew that it was in it, and a worker goes on in it.
    for offset, seen in enumerate((5, 0, 1)):
        claim = Claim(OLD, seen, stamp_of(b"a worker", seen + 1), -1, 0)
        reader.take(offset, script.append(claim))
    assert reader.epoch == derive(OLD, "0")


def contradictions(script: Script, claim: Claim) -> list[tuple[Verdict, str | None]]:
    """What a reader from before, and one that begins anew, think of a claim."""
    readers = [script.reader(), script.reader(is_fresh=True)]
    offset = len(script.entries)
    content = script.append(claim)
    return [(it.take(offset, content), it.epoch) for it in readers]


def test_who_finds_a_contradiction_reads_anew_and_then_believes_the_log() -> None:
    script = in_an_old_epoch()
    claim = script.reader().claim
    assert claim is not None
    other: Stamp = b"another entry..."
    ended = derive(OLD, str(len(script.entries)))
    assert contradictions(script, claim._replace(stamp=other)) == [
        (Verdict.CONTRADICTS, OLD),
        (Verdict.BEGINS, ended),
    ]


def test_a_claim_is_about_all_entries_that_its_writer_read_since_the_last_one() -> None:
    script = in_an_old_epoch()
    claim = script.reader().claim
    assert claim is not None
    assert claim.since < claim.seen
    ended = derive(OLD, str(len(script.entries)))
    assert contradictions(script, claim._replace(digest=claim.digest ^ 1)) == [
        (Verdict.CONTRADICTS, OLD),
        (Verdict.BEGINS, ended),
    ]


def test_a_reader_does_not_claim_to_have_read_what_contradicts_it() -> None:
    script = in_an_old_epoch()
    reader = script.reader()
    before = reader.claim
    assert before is not None
    content = script.append(before._replace(stamp=b"another entry..."))
    assert reader.take(len(script.entries) - 1, content) is Verdict.CONTRADICTS
    assert reader.claim == before
