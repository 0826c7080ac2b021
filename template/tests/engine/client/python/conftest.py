"""What the tests of the client share: no test waits for a real backoff."""

import pytest


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for hundredths of a second, not for seconds."""
    for module in ("connection", "rooms"):
        monkeypatch.setattr(f"client.{module}.backoff", lambda failures: 0.01 * min(failures, 5))
    monkeypatch.setattr("client.rooms.PAUSE", 0.02)
    monkeypatch.setattr("client.heartbeat.ANSWER", 0.15)
    monkeypatch.setattr("client.outbox.ANSWER", 0.3)
    monkeypatch.setattr("client.outbox.PATIENCE", 1.0)
