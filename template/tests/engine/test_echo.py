"""The promises of `/ws/echo`."""

import pytest

from tests.support.auth import sign_in
from tests.support.client import Client, open_client, refused_with
from tests.support.server import AppServer


async def test_frames_come_back_as_they_were_sent(server: AppServer) -> None:
    async with open_client(server.ws_url, await sign_in(server.url, "alice"), "/ws/echo") as client:
        await client.expect("welcome")
        frames: list[str | bytes] = ["text", b"\x00\xff", '{"any": "json"}', ""]
        for frame in frames:
            await client.socket.send(frame)
            assert await client.socket.recv() == frame


async def test_the_server_sends_the_time_without_being_asked(server: AppServer) -> None:
    credentials = await sign_in(server.url, "alice")
    async with open_client(server.ws_url, credentials, "/ws/echo/clock?every=0.1") as client:
        first = await client.expect("time")
        second = await client.expect("time")
        assert first["time"] < second["time"]


async def test_options_are_read_from_path_query_header_and_cookie(server: AppServer) -> None:
    credentials = await sign_in(server.url, "alice")
    credentials.headers["Accept-Language"] = "eo"
    cookies = [credentials.headers.get("Cookie", ""), "theme=dark"]
    credentials.headers["Cookie"] = "; ".join(filter(None, cookies))
    async with open_client(server.ws_url, credentials, "/ws/echo/a%20label?every=9") as client:
        await client.expect("options", label="a label", every=9, accept_language="eo", theme="dark")


@pytest.mark.parametrize("path", ["/ws/echo/x?every=0", "/ws/echo/x?every=no", "/ws/nothing"])
async def test_a_bad_option_is_refused(server: AppServer, path: str) -> None:
    credentials = await sign_in(server.url, "alice")
    is_accepted_first = credentials.first_frame is not None and path != "/ws/nothing"
    expected = 1008 if is_accepted_first else 403
    assert await refused_with(server.ws_url, credentials, path) == expected


async def test_echo_survives_a_client_that_disconnects_without_a_close(server: AppServer) -> None:
    credentials = await sign_in(server.url, "alice")
    async with open_client(server.ws_url, credentials, "/ws/echo") as client:
        await hang_up(client)
    async with open_client(server.ws_url, credentials, "/ws/echo") as client:
        await client.expect("welcome")


async def hang_up(client: Client) -> None:
    """End the TCP connection without a closing handshake."""
    client.socket.transport.abort()
    await client.socket.wait_closed()
