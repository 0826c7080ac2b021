"""The handshake, and the first message."""

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.conformance.target import Skipped, Target, equal, expect
from tests.support.client import Credentials, open_client

SUBPROTOCOL = "realtime.v1"
REFUSALS = {401, 403, 4401, 4403}


async def the_first_message_is_welcome(target: Target) -> None:
    async with open_client(target.base, target.users[0], target.path) as client:
        welcome = await client.receive()
    equal(welcome["type"], "welcome", "the first message")
    expect(isinstance(welcome["connection"], str), "the connection has no id")
    expect({"id", "name"} <= welcome["user"].keys(), "the user has no id, or no name")
    expect(isinstance(welcome["heartbeat"], int | float), "heartbeat is no number of seconds")


async def each_connection_has_its_own_id(target: Target) -> None:
    async with target.open() as first, target.open() as second:
        ids = {client.seen[0]["connection"] for client in (first, second)}
    equal(len(ids), 2, "different ids of two connections")


async def the_subprotocol_is_echoed_if_it_is_offered(target: Target) -> None:
    credentials = target.users[0]
    if credentials.subprotocols:
        raise Skipped("the credential is a subprotocol itself")
    offered = [Subprotocol("other.v9"), Subprotocol(SUBPROTOCOL)]
    for names, chosen in ((offered, SUBPROTOCOL), (offered[:1], None), (None, None)):
        query = await credentials.query()
        async with connect(
            f"{target.url}?{query}" if query else target.url,
            additional_headers=credentials.headers,
            subprotocols=names,
        ) as socket:
            equal(socket.subprotocol, chosen, f"the subprotocol of {names}")


async def who_has_no_credential_is_refused(target: Target) -> None:
    answer = await _refusal(target, Credentials())
    if answer is None:
        raise Skipped("this server lets everybody in")
    expect(answer in REFUSALS, f"the handshake got {answer}, not one of {sorted(REFUSALS)}")


async def a_page_of_another_origin_is_refused(target: Target) -> None:
    credentials = target.users[0]
    headers = {**credentials.headers, "Origin": "https://elsewhere.example"}
    foreign = Credentials(headers, credentials.subprotocols, credentials.first_frame)
    answer = await _refusal(target, foreign, await credentials.query())
    expect(answer in {403, 4403}, f"the handshake got {answer or 'a welcome'}, not 403")


async def _refusal(target: Target, credentials: Credentials, query: str = "") -> int | None:
    """The HTTP status or the close code of a refusal. None if the socket is welcome."""
    path = f"{target.path}?{query}" if query else target.path
    try:
        async with open_client(target.base, credentials, path) as client:
            if credentials.first_frame is None:
                await client.send(type="ping")
            await client.expect("welcome")
    except InvalidStatus as refusal:
        return refusal.response.status_code
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 1006
    return None
