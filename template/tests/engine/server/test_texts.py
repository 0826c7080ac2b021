"""Whole text frames are read in one step, and mean the same as to the parser of `websockets`.

`app/realtime/server/texts.py` reads them.
"""

import os
import zlib

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.server import ServerProtocol

from app.realtime.server import frames
from tests.engine.server.attached import (
    DISCONNECTED,
    MAX_SIZE,
    Outcome,
    attached,
    header,
    outcome_of,
    sent,
    text,
)

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"

NO_CODE = 1005
"""What stands for the code of a close frame that has none (RFC 6455 section 7.4.1)."""

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"

examples = settings(
    deadline=None,
    database=None,
    derandomize=not IS_LONG,
    max_examples=2000 if IS_LONG else 100,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


# --- Where reads end --------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 9, 125, 126, 200])
async def test_a_text_may_be_split_anywhere_over_two_reads(size: int) -> None:
    first, second = "é" * (size // 2), "x" * size
    stream = text(first) + text(second)
    async with attached() as receiver:
        for cut in range(len(stream) + 1):
            receiver.read(stream[:cut], stream[cut:])
        assert receiver.calls == [first, second] * (len(stream) + 1)
        receiver.calls.clear()
        receiver.read(*(bytes([byte]) for byte in stream))
        assert receiver.calls == [first, second]


@pytest.mark.parametrize("size", [65_535, 65_536, MAX_SIZE])
async def test_a_large_text_may_come_in_many_reads(size: int) -> None:
    stream = text("x" * size) + text("next")
    for length in (len(stream), 65_536, 4096, 1000):
        chunks = [stream[start : start + length] for start in range(0, len(stream), length)]
        assert (await outcome_of(chunks)).calls == ["x" * size, "next"]


async def test_what_looks_like_a_text_in_a_payload_is_not_one() -> None:
    inner = text("inner")
    head = header(2 * len(inner), 1, first=0x82)
    async with attached() as receiver:
        receiver.read(head, inner, inner, head + inner, inner, text("outer"))
        assert receiver.calls == [None, None, "outer"]


FOLLOWERS: dict[str, tuple[bytes, list[str | None]]] = {
    "nothing": (b"", []),
    "a ping": (sent(Opcode.PING, b"?") + text("last"), ["last"]),
    "a pong": (sent(Opcode.PONG) + text("last"), ["last"]),
    "fragments": (
        sent(Opcode.TEXT, b"a", fin=False)
        + sent(Opcode.PING, b"?")
        + sent(Opcode.CONT, b"b", fin=False)
        + sent(Opcode.CONT, b"c")
        + text("last"),
        ["abc", "last"],
    ),
    "a binary frame": (sent(Opcode.BINARY, b"\0") + text("last"), [None, "last"]),
    "a close": (sent(Opcode.CLOSE, Close(1000, "").serialize()) + text("late"), [DISCONNECTED]),
}


@pytest.mark.parametrize(("more", "calls"), FOLLOWERS.values(), ids=FOLLOWERS)
async def test_texts_in_one_read_may_be_followed_by_any_frame(
    more: bytes, calls: list[str | None]
) -> None:
    texts = [str(number) for number in range(5)]
    stream = b"".join(map(text, texts)) + more
    for cut in range(0, len(stream) + 1):
        outcome = await outcome_of([stream[:cut], stream[cut:]])
        assert outcome.calls == [*texts, *calls]


async def test_a_fragmented_text_goes_on_with_a_fragment_only() -> None:
    begun = sent(Opcode.TEXT, b"begun", fin=False)
    for chunks in ([begun + text("whole")], [begun, text("whole")]):
        outcome = await outcome_of(chunks)
        assert outcome.calls == [DISCONNECTED]
        assert (outcome.close_code, outcome.is_closing) == (1002, True)


async def test_a_whole_text_follows_a_fragmented_one() -> None:
    fragments = [
        sent(Opcode.TEXT, "é".encode()[:1], fin=False),
        sent(Opcode.CONT, "é".encode()[1:]),
    ]
    async with attached() as receiver:
        receiver.read(*fragments, text("whole"), b"".join([*fragments, text("whole")]))
        assert receiver.calls == ["é", "whole"] * 2


# --- What is no valid text --------------------------------------------------------

INVALID: dict[str, tuple[bytes, int]] = {
    "not masked": (Frame(Opcode.TEXT, b"{}").serialize(mask=False), 1002),
    "first reserved bit": (header(2, 1, first=0xC1) + b"{}", 1002),
    "second reserved bit": (header(2, 1, first=0xA1) + b"{}", 1002),
    "third reserved bit": (header(2, 1, first=0x91) + b"{}", 1002),
    "reserved opcode": (header(2, 1, first=0x83) + b"{}", 1002),
    "continuation of nothing": (sent(Opcode.CONT, b"{}"), 1002),
    "not UTF-8": (sent(Opcode.TEXT, b"\xff"), 1007),
    "an incomplete character": (sent(Opcode.TEXT, "é".encode()[:1]), 1007),
    "a surrogate": (sent(Opcode.TEXT, "\ud800".encode(errors="surrogatepass")), 1007),
    "not UTF-8 in fragments": (
        sent(Opcode.TEXT, b"\xc3", fin=False) + sent(Opcode.CONT, b"\xc3"),
        1007,
    ),
    "too large": (header(MAX_SIZE + 1, 9), 1009),
    "too large in fragments": (
        sent(Opcode.TEXT, b"x" * MAX_SIZE, fin=False) + sent(Opcode.CONT, b"x"),
        1009,
    ),
    "larger than any": (header(2**63 - 1, 9), 1009),
}


@pytest.mark.parametrize(("invalid", "code"), INVALID.values(), ids=INVALID)
async def test_an_invalid_frame_after_valid_texts_closes_the_socket(
    invalid: bytes, code: int
) -> None:
    texts = [str(number) for number in range(5)]
    outcome = await outcome_of([b"".join(map(text, texts)) + invalid + text("late"), text("late")])
    assert outcome.calls == [*texts, DISCONNECTED]
    assert (outcome.close_code, outcome.is_closing) == (code, True)


async def test_a_text_above_a_small_limit_closes_the_socket() -> None:
    stream = text("x" * 100) + text("x" * 101)
    outcome = await outcome_of([stream], ws_max_size=100)
    assert outcome.calls == ["x" * 100, DISCONNECTED]
    assert outcome.close_code == 1009


@pytest.mark.parametrize(
    ("size", "width"), [(0, 3), (125, 3), (0, 9), (125, 9), (126, 9), (65_535, 9)]
)
async def test_a_size_that_takes_too_many_bytes_is_left_to_the_parser(
    size: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = text("before") + header(size, width) + b"x" * size + text("behind")
    outcome = await outcome_of([stream])
    monkeypatch.setattr(frames, "is_between_messages", never)
    assert outcome == await outcome_of([stream])


# --- Once the socket closes -------------------------------------------------------


async def test_texts_after_the_close_frame_of_the_server_are_ignored() -> None:
    async with attached() as receiver:
        await receiver.protocol.close_socket(1013, "too slow")
        before = receiver.outcome
        receiver.read(text("late") + text("late"), text("late"), sent(Opcode.TEXT, b"\xff"))
        assert receiver.calls == []
        assert receiver.outcome.written == before.written
        receiver.read(sent(Opcode.CLOSE, Close(1013, "").serialize()))
        assert receiver.calls == [DISCONNECTED]
        assert receiver.wire.closing


@pytest.mark.parametrize("end", ["shutdown", "keepalive_timeout"])
async def test_texts_behind_the_one_at_which_the_socket_closes_are_ignored(end: str) -> None:
    async with attached() as receiver:
        receiver.on_text = getattr(receiver.protocol, end)
        receiver.read(text("last") + text("late"), text("late"))
        assert [call for call in receiver.calls if call != DISCONNECTED] == ["last"]
        assert receiver.outcome.close_code == {"shutdown": 1012}.get(end, 1011)


# --- Compression ------------------------------------------------------------------


async def test_compressed_texts_are_read_by_the_parser() -> None:
    compressor = zlib.compressobj(wbits=-12)
    stream = b""
    expected: list[str | None] = []
    for number in range(20):
        words = f"{number} is a text that can be compressed " * 5
        expected += [words, "plain"]
        packed = compressor.compress(words.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
        stream += header(len(packed) - 4, 1, first=0xC1) + packed[:-4] + text("plain")
    for length in (len(stream), 100, 7):
        chunks = [stream[start : start + length] for start in range(0, len(stream), length)]
        outcome = await outcome_of(chunks, DEFLATE, ws_per_message_deflate=True)
        assert outcome.calls == expected


# --- Both ways --------------------------------------------------------------------


def never(_: ServerProtocol) -> bool:
    return False


async def test_whole_texts_do_not_pass_through_the_parser() -> None:
    """It fails when the parser of `websockets` waits in another place than expected."""
    parsed: list[bytes] = []
    async with attached() as receiver:
        receive_data = receiver.protocol.conn.receive_data

        def record(data: bytes | bytearray) -> None:
            parsed.append(bytes(data))
            receive_data(data)

        receiver.protocol.conn.receive_data = record  # type: ignore[method-assign]
        whole = text("one") + text("é" * 200)
        receiver.read(whole, whole)
        assert parsed == []
        cut = text("two")[:3]
        receiver.read(whole + cut, text("two")[:0])
        assert parsed == [cut]


texts = st.text(max_size=200)
valid_pieces = st.one_of(
    *[texts.map(text)] * 4,
    st.builds(
        lambda parts: b"".join(
            sent(Opcode.CONT if index else Opcode.TEXT, part.encode(), fin=index == len(parts) - 1)
            for index, part in enumerate(parts)
        ),
        st.lists(texts, min_size=1, max_size=4),
    ),
    st.builds(lambda data: sent(Opcode.PING, data), st.binary(max_size=9)),
    st.builds(lambda data: sent(Opcode.PONG, data), st.binary(max_size=9)),
    st.builds(lambda size: header(size, 3) + b"x" * size, st.integers(0, 125)),
    st.builds(lambda data: sent(Opcode.BINARY, data), st.binary(max_size=9)),
)
ends = st.sampled_from(
    [b"", text("incomplete")[:5], sent(Opcode.CLOSE) + text("late")]
    + [invalid for invalid, _ in INVALID.values() if len(invalid) < 1000]
)


@st.composite
def reads(draw: st.DrawFn) -> list[bytes]:
    """A stream of a client, as chunks that end anywhere."""
    stream = b"".join([*draw(st.lists(valid_pieces, max_size=12)), draw(ends)])
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@examples
@given(chunks=reads())
async def test_the_same_bytes_mean_the_same_to_the_parser_and_without_it(
    chunks: list[bytes],
) -> None:
    direct = await outcome_of(chunks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "is_between_messages", never)
        by_parser = await outcome_of(chunks)
        byte_by_byte = await outcome_of(bytes([byte]) for byte in b"".join(chunks))
    assert direct.is_closing == by_parser.is_closing == byte_by_byte.is_closing
    if direct.is_closing:
        assert direct.close_code == by_parser.close_code == byte_by_byte.close_code
    if not direct.is_closing or direct.close_code == NO_CODE:
        assert direct == by_parser
        assert direct.calls == byte_by_byte.calls
    else:  # the parser drops valid frames that it reads together with an invalid one
        assert is_part(by_parser, direct)
        assert is_part(direct, byte_by_byte)


def is_part(less: Outcome, more: Outcome) -> bool:
    """Whether one outcome has the first calls of another one, and ends in the same way."""
    assert (less.calls[-1], more.calls[-1]) == (DISCONNECTED, DISCONNECTED)
    return less.calls[:-1] == more.calls[: len(less.calls) - 1]
