"""What a history is checked for, and what came of it."""

from dataclasses import dataclass, field

COMPLETE = "nothing is missing"
ONCE = "no duplicates"
ORDER = "messages come in the order of their offsets"
SAME = "all clients see the same message at an offset"
ONE_PLACE = "a message has one offset in an epoch"
PUBLISHED = "only what was published is received"
TOLD = "a gap is told only if messages are lost"
EPOCHS = "an epoch ends only if Redis lost its data"
ONE_EPOCH = "positions are of one epoch"
SENDERS_ORDER = "a publisher's messages keep their order"
REAL_TIME = "what is published after an acknowledgement comes after it"
REMEMBERED = "what was acknowledged is in the history of its room"
ANSWERED = "every publish is answered"
MEMBERS = "only members receive messages"
QUESTION = "an answer has a question"
RETURNED = "every client is connected at the end"
EXPECTED = "no unexpected answers"

RULES = (
    *(COMPLETE, ONCE, ORDER, SAME, ONE_PLACE, PUBLISHED, TOLD, EPOCHS, ONE_EPOCH, SENDERS_ORDER),
    *(REAL_TIME, REMEMBERED, ANSWERED, MEMBERS, QUESTION, RETURNED, EXPECTED),
)


@dataclass(frozen=True)
class Promises:
    """What the settings of the server say about history."""

    history_size: int = 1000
    """Messages that a room remembers."""
    history_seconds: float = 3600.0
    recent: int = 50
    """Messages that a join without `since` receives at most."""


@dataclass
class Verdict:
    """Which rules a history breaks, with the first cases of each."""

    gaps: int = 0
    """How often a client was told that messages are lost to it."""
    broken: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """How often each rule was broken."""

    @property
    def is_good(self) -> bool:
        return not self.broken

    def violate(self, rule: str, case: str) -> None:
        cases = self.broken.setdefault(rule, [])
        if len(cases) < 20:
            cases.append(case)
        self.counts[rule] = self.counts.get(rule, 0) + 1
