"""An AsyncAPI document as a page: one file without scripts, for browsers and for printing."""

import json
from collections.abc import Iterator
from pathlib import Path

from app.realtime.contract.html import (
    Markup,
    code,
    element,
    inline,
    join,
    link,
    paragraphs,
    table,
)
from app.realtime.contract.schemas import JSON, REFERENCE

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")

LIMITS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "multipleOf": "a multiple of {}",
}

RETRIES = {"yes": "Yes, after a pause", "no": "No", "once": "Once, with a fresh credential"}


def page(document: JSON) -> str:
    """The page, for a document that `asyncapi` made."""
    title = f"{document['info']['title']} · AsyncAPI"
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        header(document),
        contents(document),
        element("main", *sections(document), id="content"),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def header(document: JSON) -> Markup:
    info = document["info"]
    source = link("asyncapi.json", "asyncapi.json")
    version = element(
        "p", "Version ", info["version"], ", AsyncAPI ", document["asyncapi"], ": ", source
    )
    return element("header", element("h1", info["title"]), paragraphs(info["description"]), version)


def contents(document: JSON) -> Markup:
    def links(keys: list[str], kind: str) -> Markup:
        items = (element("li", link(name_of(document, key), f"#{kind}-{key}")) for key in keys)
        return element("ul", *items)

    return element(
        "nav",
        link("Connect", "#connect"),
        element("p", "Clients send"),
        links(messages_of(document, "receive"), "message"),
        element("p", "The server sends"),
        links(messages_of(document, "send"), "message"),
        element("p", "Models"),
        links(models_of(document), "model"),
        element("p", link("Close codes", "#close-codes")),
        aria_label="Contents",
    )


def name_of(document: JSON, key: str) -> str:
    message = document["components"]["messages"].get(key)
    return message["title"] if message is not None else key


def messages_of(document: JSON, action: str) -> list[str]:
    """The keys of the messages that the server receives, or of those that it sends."""
    return [key for key, it in document["operations"].items() if it["action"] == action]


def models_of(document: JSON) -> list[str]:
    """The schemas that are not those of whole messages."""
    payloads = {it["payload"]["$ref"] for it in document["components"]["messages"].values()}
    return [name for name in document["components"]["schemas"] if REFERENCE + name not in payloads]


def sections(document: JSON) -> Iterator[Markup]:
    yield element("h2", "Connect", id="connect")
    yield from connect(document)
    yield element("h2", "What clients send")
    yield from (message(document, key) for key in messages_of(document, "receive"))
    yield element("h2", "What the server sends")
    yield from (message(document, key) for key in messages_of(document, "send"))
    yield element("h2", "Models")
    for name in models_of(document):
        schema = document["components"]["schemas"][name]
        described = paragraphs(schema.get("description", ""))
        heading = element("h3", code(name), id=f"model-{name}")
        yield element("section", heading, described, shape(schema, name))
    yield element("h2", "Close codes", id="close-codes")
    yield close_codes(document)


def connect(document: JSON) -> Iterator[Markup]:
    for server in document["servers"].values():
        path = server.get("pathname", "")
        for channel in document["channels"].values():
            address = f"{server['protocol']}://{server['host']}{path}{channel['address']}"
            yield element("p", "Address: ", code(address))
            fields = channel["bindings"]["ws"]["headers"]["properties"].items()
            for name, field in fields:
                yield element("p", code(name), ": ", inline(field["description"]))
    schemes = document["components"].get("securitySchemes", {})
    for scheme in schemes.values():
        where = " ".join(scheme[key] for key in ("scheme", "in", "name") if key in scheme)
        yield element("p", "Credential (", code(where), "): ", inline(scheme["description"]))
    if not schemes:
        yield element("p", "Anybody may connect.")


def message(document: JSON, key: str) -> Markup:
    found = document["components"]["messages"][key]
    name = found["payload"]["$ref"].removeprefix(REFERENCE)
    schema = document["components"]["schemas"][name]
    parts = [
        element("h3", code(found["title"]), id=f"message-{key}"),
        paragraphs(found["description"]),
        shape(schema, key),
    ]
    answers = document["operations"][key].get("reply", {}).get("messages", [])
    if answers:
        keys = [answer["$ref"].rpartition("/")[2] for answer in answers]
        links = (link(name_of(document, it), f"#message-{it}") for it in keys)
        parts.append(element("p", "Answers: ", join(links, ", ")))
    for example in found.get("examples", []):
        text = json.dumps(example["payload"], ensure_ascii=False)
        parts.append(element("pre", code(text), tabindex="0"))
    return element("section", *parts, id=f"model-{name}")


def shape(schema: JSON, label: str) -> Markup:
    """The fields of an object, or the type of something else."""
    fields = schema.get("properties")
    if not fields:
        is_empty = schema.get("type") == "object" and not schema.get("additionalProperties")
        return element("p", "No fields." if is_empty else join(["Type: ", type_of(schema)]))
    required = schema.get("required", [])
    rows = [
        (code(name), type_of(field), "yes" if name in required else "no", notes(field))
        for name, field in fields.items()
    ]
    return table(["Field", "Type", "Required", "Notes"], rows, f"Fields of {label}")


def type_of(schema: JSON | bool) -> Markup:  # noqa: PLR0911
    """A schema's type in a few words, with links to the models."""
    if isinstance(schema, bool) or not schema:
        return join(["anything"])
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        return link(name, f"#model-{name}")
    if "const" in schema:
        return code(json.dumps(schema["const"], ensure_ascii=False))
    if "enum" in schema:
        return join((code(json.dumps(it, ensure_ascii=False)) for it in schema["enum"]), " or ")
    for word, between in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if word in schema:
            return join((type_of(part) for part in schema[word]), between)
    if schema.get("type") == "array":
        items = schema.get("items", {})
        if isinstance(items, list):
            return join(["list of ", join((type_of(it) for it in items), ", ")])
        return join(["list of ", type_of(items)])
    if schema.get("type") == "object" and schema.get("additionalProperties"):
        return join(["object of ", type_of(schema["additionalProperties"])])
    kind = schema.get("type", "anything")
    return join([kind, f" ({schema['format']})" if "format" in schema else ""])


def notes(field: JSON | bool) -> Markup:
    if isinstance(field, bool):
        return Markup()
    limits = [text.format(field[key]) for key, text in LIMITS.items() if key in field]
    parts = [inline(field.get("description", "")), ", ".join(limits)]
    if "pattern" in field:
        parts.append(join(["matches ", code(field["pattern"])]))
    if field.get("default") is not None:
        parts.append(join(["default ", code(json.dumps(field["default"], ensure_ascii=False))]))
    return join((part for part in parts if part), "; ")


def close_codes(document: JSON) -> Markup:
    rows = [
        (str(it["code"]), it["name"], it["reason"], RETRIES[it["retry"]])
        for channel in document["channels"].values()
        for it in channel["x-close-codes"]
    ]
    return table(["Code", "Name", "Reason", "Connect again"], rows, "Close codes")
