"""An example of each message, in which everything is valid."""

import json
from typing import Any

from pydantic import ValidationError

from app.realtime.contract.schemas import JSON, REFERENCE, Schemas
from app.realtime.contract.wire import WireMessage
from app.realtime.events import EventModel

ADA = {"id": "5e0f3a9d", "name": "Ada"}
TIME = "2026-01-31T12:00:00Z"

VALUES: JSON = {
    "room": "lobby",
    "id": "7c9e6679",
    "connection": "b1946ac9",
    "user": ADA,
    "heartbeat": 20,
    "epoch": "e5f0",
    "offset": 17,
    "recovered": True,
    "count": 1,
    "members": [ADA],
    "sender": ADA,
    "sent_at": TIME,
    "since": {"epoch": "e5f0", "offset": 16},
    "before": 17,
    "limit": 50,
    "token": "eyJhbGciOiJIUzI1NiJ9…",
    "complete": True,
    "code": "forbidden",
    "detail": "you may not join here",
    "messages": [],
}
"""Values for the fields of the engine's messages, by name."""

PRESENCE = {"type": "presence", "room": "lobby", "user": ADA, "event": "join"}
ERROR = {"type": "error", "code": "forbidden", "detail": "you may not join here", "room": "lobby"}
LEFT = {"type": "left", "room": "lobby"}

WHOLE: dict[str, JSON] = {"presence": PRESENCE, "error": ERROR, "left": LEFT}
"""Those of which some fields exclude each other."""

TEXTS = {
    "date-time": TIME,
    "date": "2026-01-31",
    "time": "12:00:00",
    "duration": "PT1H",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "uri": "https://example.com/",
    "email": "ada@example.com",
}
"""By the format of a string."""


def example_of(message: WireMessage) -> JSON | None:
    """An example, or None if no data could be made that the event's model accepts."""
    fields = dict(WHOLE.get(message.type, {"type": message.type}))
    if message.type not in WHOLE:
        known = message.model.model_fields
        fields |= {name: VALUES[name] for name in known if name in VALUES}
    if message.event is not None:
        event = example_of_event(message.event)
        if event is None:
            return None
        data = event if message.direction == "sent" else as_received(message.event, event)
        fields |= {"event": message.event.__event__, "data": data}
    return fields


def example_of_event(event: type[EventModel]) -> JSON | None:
    """Data that an event's model accepts, if some is found."""
    schemas = Schemas([(event, "sent")])
    example = sample(schemas.definitions, schemas.reference(event, "sent"))
    try:
        event.model_validate_json(json.dumps(example))
    except (ValidationError, ValueError):
        return None
    found: JSON = example
    return found


def as_received(event: type[EventModel], sent: JSON) -> JSON:
    """The same data, as the server writes it."""
    found: JSON = json.loads(event.model_validate_json(json.dumps(sent)).to_json())
    return found


def sample(definitions: dict[str, JSON], schema: JSON, depth: int = 0) -> Any:  # noqa: PLR0911
    """A simple value for a schema. It may be a wrong one: patterns are not looked at."""
    if depth > 8:  # a model that holds itself
        return None
    if "const" in schema:
        return schema["const"]
    if "$ref" in schema:
        return sample(definitions, definitions[schema["$ref"].removeprefix(REFERENCE)], depth + 1)
    for word in ("examples", "enum"):
        if word in schema:
            return schema[word][0]
    parts = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if parts:
        return sample(definitions, parts[0], depth)
    if schema.get("type") == "object":
        required = schema.get("required", [])
        return {name: sample(definitions, schema["properties"][name], depth) for name in required}
    if schema.get("type") == "array":
        items = [sample(definitions, part, depth) for part in schema.get("prefixItems", [])]
        missing = max(schema.get("minItems", 0) - len(items), 0)
        return items + [sample(definitions, schema.get("items", {}), depth)] * missing
    return scalar(schema)


def scalar(schema: JSON) -> str | int | bool | None:
    """A value of a type that has no parts."""
    kind = schema.get("type")
    if kind == "string":
        text = TEXTS.get(schema.get("format", ""), "hello")
        text = text.ljust(schema.get("minLength", 0), ".")
        return text[: schema.get("maxLength", len(text))]
    if kind in {"integer", "number"}:
        least = int(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
        return min(least, int(schema.get("maximum", least)))
    return True if kind == "boolean" else None
