"""JSON schemas as AsyncAPI has them: draft 7, with a discriminator that is a field's name."""

from typing import Any

from app.realtime.contract.schemas import JSON


def to_draft7(schema: Any) -> Any:
    """Pydantic's schema, which is of draft 2020-12."""
    if isinstance(schema, list):
        return [to_draft7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    converted: JSON = {}
    for key, value in schema.items():
        if key in {"const", "default", "enum", "examples"}:
            converted[key] = value
        elif key in {"properties", "patternProperties"}:
            converted[key] = {name: to_draft7(field) for name, field in value.items()}
        else:
            converted[key] = to_draft7(value)
    if "prefixItems" in converted:
        rest = converted.pop("items", True)
        converted["items"] = converted.pop("prefixItems")
        converted["additionalItems"] = rest
    if isinstance(discriminator := converted.get("discriminator"), dict):
        converted["discriminator"] = discriminator["propertyName"]
    if "$ref" in converted and len(converted) > 1:  # in draft 7, the rest would be ignored
        reference = {"$ref": converted.pop("$ref")}
        converted["allOf"] = [reference]
    return converted


def without_empty_fields(schema: JSON) -> JSON:
    """The schema of a server's message, which leaves out fields without a value."""
    optional = {name for name, field in schema["properties"].items() if is_empty(field)}
    properties = {
        name: present(field) if name in optional else field
        for name, field in schema["properties"].items()
    }
    required = [name for name in schema.get("required", []) if name not in optional]
    return {**schema, "properties": properties, "required": required}


def is_empty(field: JSON) -> bool:
    return "default" in field and field["default"] is None


def present(field: JSON) -> JSON:
    """The schema of an optional field's value, without null."""
    kept = [it for it in field.get("anyOf", []) if it != {"type": "null"}]
    rest = {key: value for key, value in field.items() if key not in {"anyOf", "default"}}
    return {**rest, **kept[0]} if len(kept) == 1 else {**rest, "anyOf": kept}
