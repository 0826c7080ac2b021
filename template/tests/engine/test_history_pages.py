"""Clients read older messages page by page."""

import json

import pytest

from app.realtime.broker import Page, Publication
from app.realtime.history import PAGE_BYTES, page_frame
from app.realtime.protocol import Position
from tests.support.auth import sign_in
from tests.support.client import JSON, Client, open_client
from tests.support.server import AppServer, StartServer


async def page(client: Client, room: str, **options: object) -> JSON:
    await client.send(type="history", room=room, **options)
    return await client.expect("history", room=room)


async def publish_many(client: Client, room: str, count: int, text: str = "") -> list[JSON]:
    """Publish numbers. Returns the messages that members get."""
    delivered: list[JSON] = []
    for number in range(count):
        await client.publish(room, f"{number}{text}")
        if number % 50 == 49 or number == count - 1:
            delivered += await client.messages(number + 1 - len(delivered))
    return delivered


async def test_pages_go_back_to_the_oldest_message(server: AppServer, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        joined = await alice.join(room)
        delivered = await publish_many(alice, room, 25)
        pages = [await page(alice, room, limit=10)]
        while not pages[-1]["complete"]:
            oldest = pages[-1]["messages"][0]["offset"]
            pages.append(await page(alice, room, before=oldest, limit=10))
        assert [len(it["messages"]) for it in pages] == [10, 10, 5]
        assert {it["epoch"] for it in pages} == {joined["epoch"]}
        assert [*pages[2]["messages"], *pages[1]["messages"], *pages[0]["messages"]] == delivered


async def test_a_page_has_at_most_a_hundred_messages(server: AppServer, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.join(room)
        delivered = await publish_many(alice, room, 120)
        newest = await page(alice, room)
        assert (newest["messages"], newest["complete"]) == (delivered[20:], False)


async def test_an_empty_room_has_one_complete_page(server: AppServer, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.join(room)
        for options in ({}, {"before": 0}, {"before": 10**15}):
            answer = await page(alice, room, **options)
            assert (answer["messages"], answer["complete"]) == ([], True)


async def test_the_room_of_a_user_has_pages_too(server: AppServer) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.join("@me")
        assert (await page(alice, "@me"))["complete"] is True


async def test_only_members_read_history(server: AppServer, room: str) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        for name in (room, "@me"):
            await alice.send(type="history", room=name)
            await alice.expect("error", code="not_joined", room=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [("limit", 0), ("limit", 101), ("limit", "9"), ("limit", 1.5), ("before", -1), ("before", "")],
)
async def test_a_bad_page_is_refused_with_the_name_of_the_field(
    server: AppServer, room: str, field: str, value: object
) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.join(room)
        await alice.send(type="history", room=room, **{field: value})
        error = await alice.expect("error", code="invalid", room=room)
        assert error["detail"].startswith(f"{field}: ")


async def test_a_page_does_not_count_against_the_outbox(
    start_server: StartServer, broker_url: str, room: str
) -> None:
    server = await start_server(BROKER_URL=broker_url, OUTBOX_MESSAGES=10, OUTBOX_BYTES=10_000)
    async with open_client(server.ws_url, await sign_in(server.url, "alice")) as alice:
        await alice.join(room)
        for _ in range(10):
            await alice.publish(room, "x" * 4000)
            await alice.expect("message")
        for _ in range(5):
            assert len((await page(alice, room))["messages"]) == 10


def publication(offset: int, message: str) -> Publication:
    return Publication("room:room", message, Position(epoch="e", offset=offset), offset - 1)


def body(text: str) -> str:
    event = {"id": "1", "event": "e", "data": {"text": text}, "sent_at": "2026-01-01T00:00:00Z"}
    return json.dumps(event)


def test_a_page_is_cut_where_it_gets_too_long() -> None:
    long = "x" * (PAGE_BYTES // 3)
    publications = [publication(offset, body(long)) for offset in range(1, 6)]
    frame = page_frame("room", Page("e", publications, complete=True))
    assert len(frame.wire) <= PAGE_BYTES + 1000
    (payload,) = frame.payloads
    assert payload.count(b'"type":"message"') == 2
    assert b'"offset":5' in payload
    assert payload.endswith(b'"complete":false}')


def test_a_page_has_one_message_however_long_it_is() -> None:
    publications = [publication(1, body("x" * PAGE_BYTES)), publication(2, body("y" * PAGE_BYTES))]
    (payload,) = page_frame("room", Page("e", publications, complete=True)).payloads
    assert payload.count(b'"type":"message"') == 1
    assert b'"offset":2' in payload


def test_a_malformed_publication_is_left_out_of_a_page() -> None:
    publications = [publication(1, body("one")), publication(2, "{"), publication(3, body("three"))]
    (payload,) = page_frame("room", Page("e", publications, complete=True)).payloads
    assert payload.count(b'"type":"message"') == 2
    assert payload.endswith(b'"complete":true}')
