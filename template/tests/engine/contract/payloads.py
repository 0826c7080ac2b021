"""Values that fit a JSON schema of draft 7, and checks of those that a server sent."""

from typing import Any

import httpx
import jsonschema_rs
from hypothesis import strategies as st

JSON = dict[str, Any]

TEXTS = {
    "date-time": st.datetimes().map(lambda it: it.isoformat() + "Z"),
    "date": st.dates().map(lambda it: it.isoformat()),
    "uuid": st.uuids().map(str),
}

ANYTHING: st.SearchStrategy[Any] = st.none() | st.integers(0, 9) | st.text(max_size=3)


class Document:
    """The AsyncAPI document that a server serves."""

    def __init__(self, document: JSON) -> None:
        self.document = document
        components = document["components"]
        self._schemas: JSON = components["schemas"]
        self.messages: dict[str, JSON] = components["messages"]
        self._validators = {
            key: jsonschema_rs.Draft7Validator(
                {"allOf": [message["payload"]], "components": components}, validate_formats=True
            )
            for key, message in self.messages.items()
        }

    @classmethod
    async def of(cls, url: str) -> "Document":
        async with httpx.AsyncClient(base_url=url) as http:
            answer = await http.get("/asyncapi.json")
        assert answer.status_code == 200
        return cls(answer.json())

    def keys(self, action: str) -> list[str]:
        """The messages that the server receives, or those that it sends."""
        return [key for key, it in self.document["operations"].items() if it["action"] == action]

    def check(self, message: JSON) -> str:
        """Check what the server sent, and return its key. Raises AssertionError."""
        wanted = f"{message['type']} {message.get('event', '')}".strip()
        if message["type"] == "presence":  # it has an event that is not the application's
            wanted = "presence"
        [key] = [it for it in self.keys("send") if self.messages[it]["title"] == wanted]
        errors = [it.message for it in self._validators[key].iter_errors(message)]
        assert not errors, f"{message} is no {key}: {errors}"
        known = self.resolve(self.messages[key]["payload"])["properties"]
        assert message.keys() <= known.keys(), f"fields that the document does not name: {message}"
        return key

    def is_valid(self, key: str, message: JSON) -> bool:
        return self._validators[key].is_valid(message)

    def resolve(self, schema: JSON) -> JSON:
        found: JSON = self._schemas[schema["$ref"].rpartition("/")[2]]
        return found

    def payloads(self, key: str) -> st.SearchStrategy[Any]:
        """What a client may send as one of the messages."""
        return self._values(self.messages[key]["payload"])

    def _values(self, schema: Any, depth: int = 0) -> st.SearchStrategy[Any]:
        if not isinstance(schema, dict) or not schema.keys() - {"title", "description", "default"}:
            return ANYTHING
        if "$ref" in schema:
            return self._values(self.resolve(schema), depth + 1)
        if "const" in schema or "enum" in schema:
            return st.sampled_from(schema.get("enum") or [schema["const"]])
        parts = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
        if parts:
            return st.one_of([self._values(part, depth) for part in parts])
        kinds = {"object": self._objects, "array": self._arrays}
        return kinds.get(schema["type"], scalars)(schema, depth)

    def _objects(self, schema: JSON, depth: int) -> st.SearchStrategy[Any]:
        fields = schema.get("properties", {})
        if not fields and schema.get("additionalProperties"):
            names = self._values(schema.get("propertyNames", {"type": "string", "maxLength": 5}))
            return st.dictionaries(names, self._values(schema["additionalProperties"]), max_size=2)
        values = {name: self._values(it, depth) for name, it in fields.items() if depth < 9}
        required = {name: values[name] for name in schema.get("required", [])}
        optional = {name: it for name, it in values.items() if name not in required}
        return st.fixed_dictionaries(required, optional=optional)

    def _arrays(self, schema: JSON, depth: int) -> st.SearchStrategy[Any]:
        if isinstance(schema["items"], list):
            return st.tuples(*(self._values(it, depth) for it in schema["items"])).map(list)
        if depth >= 8:
            return st.just([])
        return st.lists(self._values(schema["items"], depth), max_size=2)


def scalars(schema: JSON, _: int = 0) -> st.SearchStrategy[Any]:
    """Values that have no parts."""
    least, most = schema.get("minimum"), schema.get("maximum")
    pattern = schema.get("pattern")
    sizes = {"min_size": schema.get("minLength", 0), "max_size": schema.get("maxLength", 20)}
    text = st.from_regex(pattern, fullmatch=True) if pattern else st.text(**sizes)
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "string": TEXTS.get(schema.get("format", ""), text),
        "boolean": st.booleans(),
        "null": st.none(),
        "integer": st.integers(least, most),
        "number": st.floats(least, most, allow_nan=False, allow_infinity=False),
    }
    return kinds[schema["type"]]
