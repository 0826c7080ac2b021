"""Who is in a room: users, not tabs."""

from tests.auth import sign_in
from tests.client import open_client
from tests.server import AppServer


async def test_members_see_who_comes_and_goes(server: AppServer) -> None:
    credentials = [await sign_in(server.url, name) for name in ("alice", "bob")]
    async with open_client(server.ws_url, credentials[0]) as alice:
        name = (await alice.expect("welcome"))["user"]
        assert (await alice.join("presence"))["members"] == [name]
        async with open_client(server.ws_url, credentials[1]) as bob:
            other = (await bob.expect("welcome"))["user"]
            assert (await bob.join("presence"))["members"] == sorted([name, other])
            await alice.expect("presence", room="presence", user=other, event="join")
        await alice.expect("presence", room="presence", user=other, event="leave")
