"""What this application promises, over real sockets. This file is yours.

It tests the example, a chat. Replace it by the promises of your own application.
"""

import asyncio

import httpx

from tests.conftest import API_KEY
from tests.support.auth import sign_in
from tests.support.client import Client, open_client
from tests.support.server import AppServer


async def test_a_message_reaches_everybody_in_the_room(
    alice: Client, bob: Client, room: str
) -> None:
    await alice.join(room)
    await bob.join(room)
    await alice.publish(room, "hello")
    for client in (alice, bob):
        message = await client.expect("message", room=room, event="chat.message")
        assert message["data"] == {"text": "hello"}
        assert message["sender"] == alice.user


async def test_a_message_stays_in_its_room(alice: Client, bob: Client, room: str) -> None:
    await alice.join(room)
    await bob.join(f"{room}.2")
    await alice.publish(room, "hello")
    await alice.expect("message")
    assert "message" not in {frame["type"] for frame in await bob.on_the_way()}


async def test_a_client_that_reconnects_receives_what_it_missed(
    server: AppServer, alice: Client, room: str
) -> None:
    await alice.join(room)
    async with open_client(server.ws_url, await sign_in(server.url, "carol")) as carol:
        left_at = await carol.join(room)
    for text in ("one", "two", "three"):
        await alice.publish(room, text)
        await alice.expect("message")
    async with open_client(server.ws_url, await sign_in(server.url, "carol")) as carol:
        assert (await carol.join(room, since=left_at))["recovered"] is True
        messages = await carol.messages(3)
        assert [message["data"]["text"] for message in messages] == ["one", "two", "three"]


async def test_a_message_that_is_sent_again_is_delivered_once(
    alice: Client, bob: Client, room: str
) -> None:
    await alice.join(room)
    await bob.join(room)
    await alice.publish(room, "hello", id="same")
    first = await alice.expect("message")
    await alice.publish(room, "hello", id="same")
    assert await alice.expect("message") == first  # the acknowledgement, again
    await alice.publish(room, "next", id="next")
    assert [message["id"] for message in await bob.messages(2)] == ["same", "next"]


async def test_older_messages_can_be_read_page_by_page(alice: Client, room: str) -> None:
    await alice.join(room)
    for number in range(5):
        await alice.publish(room, str(number))
    newest = (await alice.messages(5))[-1]
    await alice.send(type="history", room=room, before=newest["offset"], limit=2)
    page = await alice.expect("history", room=room, complete=False)
    assert [message["data"]["text"] for message in page["messages"]] == ["2", "3"]


async def test_members_see_who_comes_and_goes(server: AppServer, alice: Client, room: str) -> None:
    await alice.join(room)
    async with open_client(server.ws_url, await sign_in(server.url, "carol")) as carol:
        assert (await carol.join(room))["count"] == 2
        await alice.expect("presence", room=room, user=carol.user, event="join")
    await alice.expect("presence", room=room, user=carol.user, event="leave")


async def test_others_see_who_is_typing(alice: Client, bob: Client, room: str) -> None:
    await alice.join(room)
    await bob.join(room)
    await alice.signal(room, "chat.typing")
    await bob.expect("signal", room=room, event="chat.typing", sender=alice.user)
    assert "signal" not in {frame["type"] for frame in await alice.on_the_way()}


async def test_an_empty_message_is_refused(alice: Client, room: str) -> None:
    await alice.join(room)
    await alice.publish(room, "", id="empty")
    error = await alice.expect("error", code="invalid", room=room, ref="empty")
    assert error["detail"].startswith("data.text: ")


async def test_a_client_that_sends_nonsense_stays_connected(alice: Client, room: str) -> None:
    await alice.socket.send("nonsense")
    await alice.expect("error", code="invalid")
    await alice.join(room)


async def test_another_service_publishes_to_a_room_and_to_a_user(
    server: AppServer, alice: Client, bob: Client, room: str
) -> None:
    await alice.join("@me")
    await bob.join(room)
    key = {"Authorization": f"Bearer {API_KEY}"}
    event = {"event": "chat.message", "data": {"text": "news"}}
    async with httpx.AsyncClient(base_url=server.url, headers=key) as http:
        for address in ({"user": alice.user["id"]}, {"room": room}):
            answer = await http.post("/api/publish", json=address | event)
            assert answer.status_code == 202
    await alice.expect("message", room="@me", data={"text": "news"})
    await bob.expect("message", room=room, data={"text": "news"})


async def test_a_foreign_page_opens_no_socket(server: AppServer) -> None:
    headers = {
        "Origin": "https://evil.example",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/ws", headers=headers)).status_code == 403


async def test_a_thousand_messages_arrive_in_order(alice: Client, bob: Client, room: str) -> None:
    await alice.join(room)
    await bob.join(room)
    texts = [str(number) for number in range(1000)]

    async def publish() -> None:
        for text in texts:
            await alice.publish(room, text)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish())
        tasks.create_task(alice.messages(1000))
        messages = tasks.create_task(bob.messages(1000))
    assert [message["data"]["text"] for message in messages.result()] == texts
