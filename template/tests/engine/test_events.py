"""How events are declared, and what clients may send of them."""

import json
from types import ModuleType

import pytest
from pydantic import ValidationError

from app.realtime import Event, Signal
from app.realtime.events import Events, UnknownEvent
from app.realtime.parser import ClientMessages, InvalidMessage
from app.realtime.protocol import MakeCall, Publish, SendSignal


class Said(Event, event="said", from_clients=True):
    text: str


class Shipped(Event, event="shipped"):
    order: int


class Moved(Signal, event="moved", from_clients=True):
    x: float


class Token(Signal, event="token"):
    text: str


class Ask(Event, event="ask"):
    question: str


EVENTS = Events([Said, Shipped, Moved, Token, Ask])
MESSAGES = ClientMessages(EVENTS, [Ask])


# --- Declaring them ---------------------------------------------------------------


def test_events_are_found_in_a_module_and_bases_are_not() -> None:
    module = ModuleType("events")
    vars(module).update(Said=Said, Moved=Moved, Event=Event, Signal=Signal, other=1, text="said")
    assert set(Events.of(module)) == {Said, Moved}


def test_two_events_of_one_name_are_refused() -> None:
    class SaidAgain(Event, event="said"):
        pass

    with pytest.raises(TypeError, match="Said and SaidAgain are both the event 'said'"):
        Events([Said, SaidAgain])


@pytest.mark.parametrize("name", ["two words", "line\n", "x" * 65, "é", '"', "a/b"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="can't be the name of an event"):

        class Bad(Event, event=name):
            pass


def test_an_event_is_read_by_its_name() -> None:
    assert EVENTS.read("shipped", '{"order":7}') == Shipped(order=7)
    with pytest.raises(UnknownEvent, match=r"there is no event 'no\.such'"):
        EVENTS.read("no.such", "{}")
    with pytest.raises(ValidationError):
        EVENTS.read("shipped", '{"order":"7"}')


def test_numbers_that_json_does_not_have_are_refused() -> None:
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        with pytest.raises(ValidationError):
            EVENTS.read("moved", '{"x":' + number + "}")


# --- What clients send ------------------------------------------------------------


def sent(kind: str, event: object, data: object) -> str:
    return json.dumps({"type": kind, "room": "r", "id": "1", "event": event, "data": data})


def refusal(frame: str) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as refused:
        MESSAGES.parse(frame)
    assert refused.value.ref == "1"
    return refused.value


def test_clients_send_events_that_are_open_to_them() -> None:
    published = MESSAGES.parse(sent("publish", "said", {"text": "hello"}))
    assert isinstance(published, Publish)
    assert published.data == Said(text="hello")
    signalled = MESSAGES.parse(sent("signal", "moved", {"x": 1}))
    assert isinstance(signalled, SendSignal)
    assert signalled.data == Moved(x=1)
    called = MESSAGES.parse(sent("call", "ask", {"question": "why?"}))
    assert isinstance(called, MakeCall)
    assert called.data == Ask(question="why?")


@pytest.mark.parametrize(
    ("kind", "event"),
    [("publish", "shipped"), ("signal", "token"), ("publish", "ask"), ("call", "shipped")],
)
def test_an_event_of_the_application_is_forbidden_to_clients(kind: str, event: str) -> None:
    error = refusal(sent(kind, event, {}))
    assert (error.code, error.detail) == (
        "forbidden",
        f"event: only the application sends '{event}'",
    )


@pytest.mark.parametrize(
    ("kind", "event", "detail"),
    [
        ("publish", "no.such", "event: there is no event 'no.such'"),
        ("publish", "moved", "event: 'moved' can't be sent as publish"),
        ("signal", "said", "event: 'said' can't be sent as signal"),
        ("call", "said", "event: 'said' can't be sent as call"),
        ("publish", "x" * 900, f"event: there is no event '{'x' * 64}'"),
    ],
)
def test_an_unknown_event_and_one_of_another_kind_are_invalid(
    kind: str, event: str, detail: str
) -> None:
    error = refusal(sent(kind, event, {"text": "x"}))
    assert (error.code, error.detail) == ("invalid", detail)


@pytest.mark.parametrize(
    ("kind", "event", "data", "field"),
    [
        ("publish", "said", {}, "data.text"),
        ("publish", "said", {"text": 7}, "data.text"),
        ("publish", "said", [], "data"),
        ("publish", "said", None, "data"),
        ("signal", "moved", {"x": "1"}, "data.x"),
        ("call", "ask", {"question": None}, "data.question"),
        ("publish", 7, {"text": "x"}, ""),
    ],
)
def test_bad_data_is_invalid_with_the_name_of_the_field(
    kind: str, event: object, data: object, field: str
) -> None:
    error = refusal(sent(kind, event, data))
    assert error.code == "invalid"
    assert error.detail.startswith(f"{field}: " if field else "")


def test_an_application_without_events_takes_none() -> None:
    messages = ClientMessages(Events([]))
    for kind in ("publish", "signal", "call"):
        with pytest.raises(InvalidMessage, match="there is no event 'said'"):
            messages.parse(sent(kind, "said", {"text": "x"}))
