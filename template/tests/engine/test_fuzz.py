"""Nothing that a client sends makes the server fail, and other clients are still served.

The examples are the same in every run. For more, which differ:
`HYPOTHESIS_PROFILE=long uv run pytest -m engine tests/engine/test_fuzz.py`.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from struct import pack

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.engine.example_server import ExampleServer
from tests.support.auth import sign_in
from tests.support.client import PATIENCE, Credentials, open_client
from tests.support.server import AppServer

PATHS = ["/ws", "/ws/echo"]

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"

examples = settings(
    deadline=None,
    database=None,
    derandomize=not IS_LONG,
    max_examples=1000 if IS_LONG else 40,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """A server of its own, because its log is searched."""
    settings = {"PING_INTERVAL": "1", "MAX_CONNECTIONS_PER_ADDRESS": "0"}
    async with ExampleServer(folder, settings).running() as server:
        yield server


@pytest_asyncio.fixture(scope="module")
async def credentials(server: AppServer) -> Credentials:
    return await sign_in(server.url, "mallory")


# --- Texts ------------------------------------------------------------------------

CORNERS = [
    "",
    "null",
    "NaN",
    "-Infinity",
    '"text"',
    "[" * 30_000,
    '{"type":' * 5_000,
    '{"a":' * 5_000 + "1" + "}" * 5_000,
    "[" * 300 + "]" * 300,
    "1" * 5_000,
    "1e400",
    "-1e999999999",
    '{"type":"ping","type":"join"}',
    '{"type":"ping"} {"type":"ping"}',
    '\ufeff{"type":"ping"}',
    '{"type":"ping","\\u0000":1}',
    '{"type":"\\ud800"}',
    '{"type":"join","room":"\\udfff"}',
    '{"type":"join","room":"a\\n"}',
    '{"type":"join","room":"lobby","since":{"epoch":"\\ud83d","offset":0}}',
    '{"type":"join","room":"lobby","since":{"epoch":"a","offset":1e3}}',
    '{"type":"join","room":"lobby","since":{"epoch":"a","offset":9223372036854775808}}',
    '{"type":"join","room":"lobby","since":{"epoch":"a","offset":' + "9" * 4_000 + "}}",
    '{"type":"join","room":"lobby","since":{"epoch":"' + "e" * 9_000 + '","offset":1}}',
    '{"type":"join","room":"@me","since":{"epoch":"a","offset":0}}',
    '{"type":"join","room":"@nobody"}',
    *(
        '{"type":"publish",' + f'"room":{room},"id":{id},"event":{event},"data":{data}}}'
        for room, id, event, data in [  # noqa: A001
            ('"lobby"', '"\\ud800"', '"chat.message"', '{"text":"x"}'),
            ('"lobby"', '"1"', '"chat.message"', '{"text":"\\udc00"}'),
            ('"lobby"', '"\\u0000"', '"chat.message"', '{"text":"\\u0000"}'),
            ('"lobby"', '"\\u2028\\uffff"', '"chat.message"', '{"text":"\\u2028\\uffff"}'),
            ('"lobby"', '"1"', '"\\ud800"', '{"text":"x"}'),
            ('"lobby"', '"1"', '"\\u0000"', "{}"),
            ('"lobby"', '"1"', '"chat.message"', '{"text":NaN}'),
            ('"lobby"', '"1"', '"chat.message"', "NaN"),
            ('"lobby"', '"1"', '"chat.message"', '{"text":"x","\\ud800":1}'),
            ('"lobby"', '"1"', '"chat.message"', '{"text":"x","more":' + "[" * 9_000 + "}"),
            ('"lobby"', '"1"', '["chat.message"]', '{"text":"x"}'),
            ('"lobby"', '"1"', '"chat.typing"', "{}"),
            ('"@me"', '"1"', '"chat.message"', '{"text":"x"}'),
            ('"\\udfff"', '"1"', '"chat.message"', '{"text":"x"}'),
        ]
    ),
    '{"type":"signal","room":"lobby","event":"\\ud800","data":{}}',
    '{"type":"signal","room":"lobby","event":"chat.typing","data":NaN}',
    '{"type":"signal","room":"lobby","event":"chat.typing","data":{"\\ud800":NaN}}',
    '{"type":"signal","room":"lobby","event":"chat.message","data":{"text":"x"}}',
    '{"type":"signal","room":"@me","event":"chat.typing","data":{}}',
    '{"type":"call","id":"\\ud800","event":"chat.message","data":{}}',
    '{"type":"call","id":"1","event":"\\udfff","data":{}}',
    '{"type":"call","id":"1","event":{},"data":-Infinity}',
    '{"type":"history","room":"lobby","before":NaN}',
    '{"type":"history","room":"lobby","before":-0}',
    '{"type":"history","room":"lobby","before":1e400}',
    '{"type":"history","room":"lobby","before":9223372036854775808}',
    '{"type":"history","room":"lobby","before":' + "9" * 4_000 + "}",
    '{"type":"history","room":"lobby","limit":18446744073709551616}',
    '{"type":"history","room":"lobby","limit":100.0}',
    '{"type":"history","room":"@me","before":0,"limit":1}',
]
"""Texts that have broken parsers, and messages at the limits of what is valid."""

numbers = (
    st.integers() | st.floats() | st.sampled_from([2**53, 2**63, 2**64, -(2**63) - 1, 10**400])
)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=50)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)
rooms = st.sampled_from(["lobby", "fuzz", "", "a b", "x" * 65]) | values
positions = st.fixed_dictionaries({}, optional={"epoch": values, "offset": values}) | values
events = st.sampled_from(["chat.message", "chat.typing", "", "no.such", "e" * 65]) | values
data = (
    st.fixed_dictionaries({"text": st.just("hello") | values})
    | st.dictionaries(st.text(max_size=9), values, max_size=3)
    | values
)
kinds = st.sampled_from(
    [
        *("join", "leave", "publish", "signal", "call", "history", "ping"),
        *("refresh", "auth", "error", "message"),
    ]
)
messages = st.fixed_dictionaries(
    {"type": kinds | values},
    optional={
        "room": rooms,
        "since": positions,
        "id": st.just("1") | values,
        "event": events,
        "data": data,
        "before": numbers | values,
        "limit": numbers | values,
        "token": values,
    },
)
valid_messages = st.one_of(
    st.sampled_from([{"type": "join", "room": room} for room in ("lobby", "lobby", "@me")]),
    st.sampled_from([{"type": "leave", "room": room} for room in ("lobby", "@me")]),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["publish", "signal", "call"]),
            "room": st.just("lobby"),
            "id": st.text(min_size=1, max_size=64),
            "event": st.sampled_from(["chat.message", "chat.typing"]),
            "data": st.fixed_dictionaries({"text": st.text(min_size=1, max_size=50)}),
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("history"), "room": st.just("lobby")},
        optional={"before": st.integers(min_value=0), "limit": st.integers(0, 101)},
    ),
)
"""Mostly valid, so that the sequence of messages reaches the rooms."""
texts = st.one_of(
    st.sampled_from(CORNERS),
    st.text(),
    values.map(json.dumps),
    messages.map(json.dumps),
    valid_messages.map(json.dumps),
)
frames = st.one_of(texts, texts, texts, st.binary())


END = json.dumps({"type": "end of the example"})


@pytest.mark.parametrize("path", PATHS)
@examples
@given(sent=st.lists(frames, min_size=1, max_size=20))
async def test_no_message_makes_the_server_fail(
    server: AppServer, credentials: Credentials, path: str, sent: list[str | bytes]
) -> None:
    async with open_client(server.ws_url, credentials, path) as client:
        with suppress(ConnectionClosed):
            for frame in [*sent, END]:
                await client.socket.send(frame)
            await echo_or_error(client.socket)
        assert client.socket.close_code in {None, 1003, 1009}


async def echo_or_error(socket: ClientConnection) -> None:
    """Read until END comes back, or, on `/ws`, is answered as invalid."""
    async with asyncio.timeout(PATIENCE):
        while True:
            frame = await socket.recv()
            if frame == END or "end of the example" in str(frame):
                return


@examples
@given(first=frames)
async def test_no_opening_frame_makes_the_server_fail(
    server: AppServer, credentials: Credentials, first: str | bytes
) -> None:
    query = await credentials.query()
    async with connect(
        f"{server.ws_url}/ws?{query}", additional_headers=credentials.headers
    ) as socket:
        await socket.send(first)
        with suppress(ConnectionClosed):
            await socket.send(END)
            await echo_or_error(socket)
        assert socket.close_code in {None, 1003, 1009, 4401}


# --- Bytes ------------------------------------------------------------------------


def wire(
    first: int, payload: bytes, *, masked: bool = True, size: int | None = None, wide: bool = False
) -> bytes:
    """A frame (RFC 6455 section 5.2). Its size may be wrong or take too many bytes."""
    size = len(payload) if size is None else size
    mask_bit = 0x80 if masked else 0
    if size < 126 and not wide:
        header = bytes([first, mask_bit | size])
    elif size < 65536:
        header = pack("!BBH", first, mask_bit | 126, size)
    else:
        header = pack("!BBQ", first, mask_bit | 127, size)
    return header + (bytes(4) if masked else b"") + payload


INTERNAL_ERROR = pack("!H", 1011)
FINAL = 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

close_codes = st.sampled_from(
    [0, 999, 1000, 1001, 1003, 1004, 1005, 1006, 1011, 1012, 1015, 1016, 2999, 4401, 5000, 65535]
)
closes = st.builds(
    lambda code, reason: pack("!H", code) + reason, close_codes, st.binary(max_size=9)
)
payloads = st.binary(max_size=130)
controls = st.one_of(
    st.builds(wire, st.sampled_from([FINAL | PING, FINAL | PONG]), payloads),
    st.builds(wire, st.just(FINAL | CLOSE), closes | st.binary(max_size=3)),
    st.builds(wire, st.sampled_from([PING, PONG, CLOSE]), payloads),  # fragmented
)
fragments = st.builds(
    wire, st.sampled_from([TEXT, BINARY, CONTINUATION, FINAL | CONTINUATION]), payloads
)
unruly = st.builds(
    wire,
    st.integers(0, 255),  # reserved bits and reserved opcodes among them
    payloads,
    masked=st.booleans(),
    size=st.none() | st.sampled_from([0, 1, 126, 65535, 65537, 2**31, 2**63 - 1, 2**63, 2**64 - 1]),
    wide=st.booleans(),
)
no_utf8 = st.builds(
    lambda text: wire(FINAL | TEXT, text.encode(errors="surrogatepass")),
    st.text(st.characters(categories=["Cs"]), min_size=1),
)
pieces = st.one_of(
    controls,
    controls,
    fragments,
    fragments,
    texts.map(lambda text: wire(FINAL | TEXT, text.encode(errors="surrogatepass"))),
    no_utf8,
    unruly,
    st.binary(),
)


@pytest.mark.parametrize("path", PATHS)
@examples
@given(sent=st.lists(pieces, min_size=1, max_size=12))
async def test_no_bytes_make_the_server_fail(
    server: AppServer, credentials: Credentials, path: str, sent: list[bytes]
) -> None:
    async with open_client(server.ws_url, credentials, path) as client:
        client.socket.transport.write(b"".join(sent))
        client.socket.transport.write(wire(FINAL | CLOSE, pack("!H", 1000)))
        with suppress(OSError):  # the server may have closed already
            client.socket.transport.write_eof()  # else the server may wait for more
        async with asyncio.timeout(PATIENCE):
            await client.socket.wait_closed()
        if INTERNAL_ERROR not in b"".join(sent):  # the server returns the client's own close code
            assert client.socket.close_code != 1011


async def test_control_frames_are_answered_or_close_the_socket(
    server: AppServer, credentials: Credentials
) -> None:
    expected = {
        wire(FINAL | PONG, b"nobody asked"): None,
        wire(FINAL | PING, b"x" * 125): None,
        wire(TEXT, b'{"type":') + wire(FINAL | PING, b"") + wire(FINAL, b'"ping"}'): None,
        wire(FINAL | PING, b"x" * 126): 1002,
        wire(PING, b""): 1002,
        wire(0xF0 | TEXT, b"{}"): 1002,
        wire(FINAL | 3, b""): 1002,
        wire(FINAL | 11, b""): 1002,
        wire(FINAL | CONTINUATION, b"{}"): 1002,
        wire(TEXT, b"{") + wire(FINAL | TEXT, b"{}"): 1002,
        wire(FINAL | TEXT, b"{}", masked=False): 1002,
        wire(FINAL | CLOSE, b"x"): 1002,
        wire(FINAL | CLOSE, pack("!H", 1005)): 1002,
        wire(FINAL | CLOSE, pack("!H", 1000) + b"\xff"): 1007,
        wire(FINAL | TEXT, b"\xed\xa0\x80"): 1007,
        wire(FINAL | TEXT, b"", size=2**63 - 1): 1009,
        wire(FINAL | BINARY, b"{}"): 1003,
    }
    for sent, code in expected.items():
        async with open_client(server.ws_url, credentials) as client:
            await client.expect("welcome")
            client.socket.transport.write(sent)
            with suppress(ConnectionClosed):
                await client.on_the_way()
            assert client.socket.close_code == code, sent


async def test_after_all_that_nothing_has_failed_and_clients_are_served(
    server: AppServer, credentials: Credentials
) -> None:
    """It comes last in this module."""
    async with open_client(server.ws_url, credentials) as client:
        await client.join("lobby")
        await client.send(type="history", room="lobby")
        await client.expect("history", room="lobby")
    log = server.read_log()
    for sign in ("Traceback", "ERROR", "connection failed", "the application failed", "malformed"):
        assert sign not in log, log[-5000:]
