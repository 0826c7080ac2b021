"""The AsyncAPI 3.0 document of an application: https://www.asyncapi.com/docs/reference."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from app.realtime.authentication import Authentication, Security
from app.realtime.contract.close_codes import CLOSES
from app.realtime.contract.draft7 import to_draft7, without_empty_fields
from app.realtime.contract.examples import example_of
from app.realtime.contract.messages import CallMessages, Messages
from app.realtime.contract.schemas import JSON, Schemas
from app.realtime.contract.wire import WireMessage, wire_messages
from app.realtime.protocol import SUBPROTOCOL

CHANNEL = "realtime"
SERVER = "server"

INTRODUCTION = """\
Rooms, events and calls over a WebSocket.

Every frame is UTF-8 JSON text and holds one message, which its field `type` names. Unknown
fields are to be ignored, in both directions. What a client sends and the server can't accept
is answered by `error`, and the socket stays open.
"""

REPLIES = {
    "auth": ["welcome"],
    "join": ["joined"],
    "leave": ["left"],
    "publish": ["message"],
    "call": ["result"],
    "history": ["history"],
    "ping": ["pong"],
}
"""The types of the server's answers. `error` may come in place of each."""


class Server(NamedTuple):
    """Where the application is served."""

    host: str
    """With its port, if that is not the default one."""
    is_secure: bool = False
    path: str = ""
    """In front of `/ws`, without a slash at its end."""


def asyncapi(
    title: str,
    version: str,
    messages: Messages,
    authentication: Authentication,
    server: Server,
) -> JSON:
    """The document, as JSON. Raises TypeError for handlers that return no events."""
    wire = wire_messages(messages, authentication)
    schemas = Schemas((message.model, message.direction) for message in wire)
    definitions = dict(schemas.definitions)
    for message in wire:
        if message.direction == "received":
            name = schemas.name(message.model, "received")
            definitions[name] = without_empty_fields(definitions[name])
    security = authentication.security
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, "description": INTRODUCTION},
        "defaultContentType": "application/json",
        "servers": {SERVER: server_object(server, security)},
        "channels": {CHANNEL: channel(wire, security)},
        "operations": {it.key: operation(it, answers_to(it, wire, messages.calls)) for it in wire},
        "components": {
            "messages": {it.key: message_object(it, schemas) for it in wire},
            "schemas": {name: to_draft7(it) for name, it in sorted(definitions.items())},
            **({"securitySchemes": {security.name: dict(security.scheme)}} if security else {}),
        },
    }


def server_object(server: Server, security: Security | None) -> JSON:
    found: JSON = {
        "host": server.host,
        "protocol": "wss" if server.is_secure else "ws",
        "protocolVersion": "13",
    }
    if server.path:
        found["pathname"] = server.path
    if security is not None:
        found["security"] = [{"$ref": f"#/components/securitySchemes/{security.name}"}]
    return found


def channel(wire: Sequence[WireMessage], security: Security | None) -> JSON:
    bindings: JSON = {
        "method": "GET",
        "headers": {
            "type": "object",
            "properties": {
                "Sec-WebSocket-Protocol": {
                    "type": "string",
                    "description": f"`{SUBPROTOCOL}`, which the server then echoes. Optional.",
                }
            },
        },
        "bindingVersion": "0.1.0",
    }
    if security is not None and security.scheme.get("in") == "query":
        name = security.scheme["name"]
        bindings["query"] = {
            "type": "object",
            "properties": {name: {"type": "string"}},
            "required": [name],
        }
    return {
        "address": "/ws",
        "title": "The WebSocket",
        "servers": [{"$ref": f"#/servers/{SERVER}"}],
        "messages": {it.key: {"$ref": f"#/components/messages/{it.key}"} for it in wire},
        "bindings": {"ws": bindings},
        "x-close-codes": [
            {"code": it.code, "name": it.name, "reason": it.reason, "retry": it.retry}
            for it in CLOSES
        ],
    }


def operation(message: WireMessage, answers: Sequence[WireMessage]) -> JSON:
    """What the server does with a message: it receives or sends it."""
    found: JSON = {
        "action": "receive" if message.direction == "sent" else "send",
        "channel": {"$ref": f"#/channels/{CHANNEL}"},
        "summary": message.summary,
        "messages": [reference(message)],
    }
    if message.direction == "sent":
        found["reply"] = {
            "channel": {"$ref": f"#/channels/{CHANNEL}"},
            "messages": [reference(answer) for answer in answers],
        }
    return found


def answers_to(
    message: WireMessage, wire: Sequence[WireMessage], calls: Sequence[CallMessages]
) -> list[WireMessage]:
    """What the server may answer to a message of a client."""
    types = {*REPLIES.get(message.type, []), "error"}
    found = [it for it in wire if it.direction == "received" and it.type in types]
    if message.type == "publish":
        return [it for it in found if it.event in {None, message.event}]
    if message.type == "call":
        call = next(it for it in calls if it.event is message.event)
        results = {*call.results, None} if call.may_be_empty else {*call.results}
        return [it for it in found if it.type == "error" or it.event in results]
    return found


def reference(message: WireMessage) -> JSON:
    return {"$ref": f"#/channels/{CHANNEL}/messages/{message.key}"}


def message_object(message: WireMessage, schemas: Schemas) -> JSON:
    name = message.event.__event__ if message.event is not None else ""
    found: JSON = {
        "name": message.key,
        "title": f"{message.type} {name}".strip(),
        "summary": message.summary,
        "description": message.description,
        "payload": schemas.reference(message.model, message.direction),
    }
    example: dict[str, Any] | None = example_of(message)
    if example is not None:
        found["examples"] = [{"payload": example}]
    return found
