"""JSON schemas of models, as clients see them: of what they send, and of what they receive."""

import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

JSON = dict[str, Any]

Direction = Literal["sent", "received"]
"""By the client. What it sends may leave out fields that have a default value."""

MODES: dict[Direction, Literal["validation", "serialization"]] = {
    "sent": "validation",
    "received": "serialization",
}

REFERENCE = "#/components/schemas/"


class WireSchema(GenerateJsonSchema):
    """Schemas of the JSON that `EventModel.to_json` writes, and of what the server accepts."""

    # Any: pydantic's core schemas, which are dictionaries.

    def field_is_required(self, field: Any, total: bool) -> bool:
        """A field with a default value is always there in what the server sends."""
        if self.mode == "serialization" and field["type"] != "typed-dict-field":
            return field.get("serialization_exclude_if") is None
        return super().field_is_required(field, total)

    def get_decimal_pattern(self, schema: Any) -> str | None:  # noqa: ARG002
        """A client may write a decimal as a string; the server always does, perhaps as 1E+2."""
        return r"^-?[0-9]+(\.[0-9]+)?$" if self.mode == "validation" else None

    def _get_alias_name(self, field: Any, name: str) -> str:
        """The server writes aliases only for models that say `serialize_by_alias`."""
        if self.mode == "serialization" and not self._config.serialize_by_alias:
            return name
        return super()._get_alias_name(field, name)


class Schemas:
    """The schemas of many models, and of all that they consist of, by name.

    A model whose two directions differ has two: `Order` is received, `OrderInput` sent.
    Names are identifiers in most languages.
    """

    def __init__(self, models: Iterable[tuple[type[BaseModel], Direction]]) -> None:
        inputs = list(dict.fromkeys((model, MODES[direction]) for model, direction in models))
        references, document = models_json_schema(
            inputs, ref_template=REFERENCE + "{model}", schema_generator=WireSchema
        )
        definitions: dict[str, JSON] = document.get("$defs", {})
        self._names = names_for(definitions)
        self.definitions: dict[str, JSON] = {
            self._names[name]: self._renamed(schema) for name, schema in definitions.items()
        }
        self._references = {key: self._renamed(schema) for key, schema in references.items()}

    def reference(self, model: type[BaseModel], direction: Direction) -> JSON:
        """A schema that refers to one of the definitions."""
        schema: JSON = self._references[model, MODES[direction]]
        return schema

    def name(self, model: type[BaseModel], direction: Direction) -> str:
        """The name of a model's definition."""
        reference: str = self.reference(model, direction)["$ref"]
        return reference.removeprefix(REFERENCE)

    def _renamed(self, schema: Any) -> Any:
        """The same schema, which refers to definitions by their new names."""
        if isinstance(schema, list):
            return [self._renamed(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        renamed = {key: self._renamed(value) for key, value in schema.items()}
        target = schema.get("$ref")
        if isinstance(target, str):
            renamed["$ref"] = REFERENCE + self._names[target.removeprefix(REFERENCE)]
        mapping = schema.get("mapping")
        if isinstance(mapping, dict) and "propertyName" in schema:
            renamed["mapping"] = {
                value: REFERENCE + self._names[target.removeprefix(REFERENCE)]
                for value, target in mapping.items()
            }
        return renamed


def names_for(definitions: Iterable[str]) -> dict[str, str]:
    """Short names for pydantic's, such as `Order-Output` and `Page_Order_`.

    Of names that would be the same, the later ones get a number.
    """
    names: dict[str, str] = {}
    for name in definitions:
        plain, _, mode = name.partition("-")
        short = re.sub(r"\W", "_", plain).strip("_") + ("Input" if mode == "Input" else "")
        chosen, number = short, 2
        while chosen in names.values():
            chosen, number = f"{short}{number}", number + 1
        names[name] = chosen
    return names
