"""The promises hold under a server that takes no prebuilt frames, such as plain uvicorn.

The tests are those of other files. Only the server is another one.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.engine.example_server import PLAIN_UVICORN, ExampleServer
from tests.engine.test_realtime import (
    test_a_client_that_left_a_room_receives_nothing_more_of_it,
    test_a_message_stays_in_its_room,
    test_every_member_receives_a_message_including_its_sender,
    test_live_messages_follow_joined_without_a_gap,
    test_welcome_comes_first,
)
from tests.engine.test_recovery import (
    test_a_client_that_joins_for_the_first_time_receives_the_last_fifty_messages,
    test_a_client_that_reconnects_receives_what_it_missed_and_then_live_messages,
    test_clients_that_reconnect_together_each_receive_what_they_missed,
    test_clients_that_reconnect_under_load_receive_every_message_once,
)
from tests.engine.test_signals import (
    test_a_signal_reaches_every_other_connection_and_not_its_sender,
)
from tests.engine.test_slow_client import (
    test_a_slow_client_is_closed_alone_with_1013,
)
from tests.support.server import AppServer

__all__ = [
    "test_a_client_that_joins_for_the_first_time_receives_the_last_fifty_messages",
    "test_a_client_that_left_a_room_receives_nothing_more_of_it",
    "test_a_client_that_reconnects_receives_what_it_missed_and_then_live_messages",
    "test_a_message_stays_in_its_room",
    "test_a_signal_reaches_every_other_connection_and_not_its_sender",
    "test_a_slow_client_is_closed_alone_with_1013",
    "test_clients_that_reconnect_together_each_receive_what_they_missed",
    "test_clients_that_reconnect_under_load_receive_every_message_once",
    "test_every_member_receives_a_message_including_its_sender",
    "test_live_messages_follow_joined_without_a_gap",
    "test_welcome_comes_first",
]


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[AppServer]:
    """A plain uvicorn, in place of the server that the tests share."""
    # With compression, a slow client would take long to fill the buffers.
    settings = {"PING_INTERVAL": "1", "UVICORN_WS_PER_MESSAGE_DEFLATE": "false"}
    async with ExampleServer(folder, settings, PLAIN_UVICORN).running() as server:
        yield server
