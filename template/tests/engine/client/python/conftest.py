"""What the tests of the client share: no test waits for a real backoff."""

import pytest

from app.realtime.events import Events
from tests.engine.example import events


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for hundredths of a second, not for seconds."""
    for module in ("connection", "rooms"):
        monkeypatch.setattr(f"client.{module}.backoff", lambda failures: 0.01 * min(failures, 5))
    monkeypatch.setattr("client.rooms.PAUSE", 0.02)
    monkeypatch.setattr("client.heartbeat.ANSWER", 0.15)
    monkeypatch.setattr("client.outbox.ANSWER", 0.3)
    monkeypatch.setattr("client.outbox.PATIENCE", 1.0)


@pytest.fixture
def known_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client knows the events of the example, also when the owner has others."""
    monkeypatch.setattr("client.messages.EVENTS", Events.of(events))
