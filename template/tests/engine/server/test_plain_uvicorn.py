"""What is promised holds under a server that takes no prebuilt frames, such as plain uvicorn.

The tests are those of the other files; here is only the server.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.server import PLAIN_UVICORN, AppServer
from tests.engine.test_realtime import (
    test_every_member_receives_a_message_and_its_sender_too,
    test_offsets_follow_joined_without_a_gap,
    test_rooms_are_apart,
    test_welcome_comes_first,
    test_who_left_receives_nothing_more,
)
from tests.engine.test_recovery import (
    test_many_who_return_at_once_each_get_their_own,
    test_who_joins_anew_gets_the_last_fifty,
    test_who_returns_gets_what_was_missed_and_then_live_messages,
    test_whoever_comes_and_goes_under_load_sees_every_message_once,
)
from tests.engine.test_slow_client import test_slow_client_is_closed_alone_with_1013

__all__ = [
    "test_every_member_receives_a_message_and_its_sender_too",
    "test_many_who_return_at_once_each_get_their_own",
    "test_offsets_follow_joined_without_a_gap",
    "test_rooms_are_apart",
    "test_slow_client_is_closed_alone_with_1013",
    "test_welcome_comes_first",
    "test_who_joins_anew_gets_the_last_fifty",
    "test_who_left_receives_nothing_more",
    "test_who_returns_gets_what_was_missed_and_then_live_messages",
    "test_whoever_comes_and_goes_under_load_sees_every_message_once",
]


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """In place of the server that the tests share."""
    # Compressed, what a slow client leaves unread would take long to fill the buffers.
    settings = {"PING_INTERVAL": "1", "UVICORN_WS_PER_MESSAGE_DEFLATE": "false"}
    async with AppServer(folder, settings, PLAIN_UVICORN).running() as server:
        yield server
