"""`python -m app asyncapi` and `python -m app typescript`."""

import json
from pathlib import Path

from tests.support.server import run_module


def test_the_document_is_the_same_each_time(new_project: Path) -> None:
    first, second = [run_module(new_project, "app", "asyncapi") for _ in range(2)]
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    document = json.loads(first.stdout)
    assert first.stdout == json.dumps(document, indent=2, sort_keys=True) + "\n"
    assert document["asyncapi"] == "3.0.0"
    assert "publish.chat.message" in document["components"]["messages"]


def test_the_document_names_the_server_that_is_asked_for(new_project: Path) -> None:
    answer = run_module(new_project, "app", "asyncapi", "--server", "wss://example.com/chat/")
    [server] = json.loads(answer.stdout)["servers"].values()
    assert (server["protocol"], server["host"]) == ("wss", "example.com")
    assert server["pathname"] == "/chat"
    refused = run_module(new_project, "app", "asyncapi", "--server", "https://example.com")
    assert refused.returncode == 2
    assert "--server" in refused.stderr


def test_the_types_go_to_a_file(new_project: Path) -> None:
    printed = run_module(new_project, "app", "typescript").stdout
    assert "export interface ChatMessage {" in printed
    written = run_module(new_project, "app", "typescript", "--output", "events.ts")
    assert (written.returncode, written.stdout) == (0, "")
    assert (new_project / "events.ts").read_text() == printed


def test_a_file_that_cannot_be_written_is_one_sentence(new_project: Path) -> None:
    answer = run_module(new_project, "app", "typescript", "--output", "no/such/events.ts")
    assert answer.returncode == 1
    assert answer.stderr == "no/such/events.ts can't be written: No such file or directory\n"


def test_a_handler_that_returns_no_event_is_named(new_project: Path) -> None:
    handlers = new_project / "app" / "handlers.py"
    handlers.write_text(
        "from app.events import ChatMessage\n"
        "from app.realtime import Call, handles\n\n\n"
        "@handles(ChatMessage)\n"
        "async def wrong(message: ChatMessage, call: Call) -> int:\n"
        "    return 1\n"
    )
    answer = run_module(new_project, "app", "typescript")
    assert answer.returncode == 1
    assert "wrong must return an Event, not <class 'int'>" in answer.stderr
