"""The promises hold in an outage under plain uvicorn, which takes no prebuilt frames.

The tests are those of `test_outage.py`. Only the servers are others.
"""

from tests.engine.server.test_plain_uvicorn import start_server
from tests.engine.workers.test_outage import (
    test_members_are_told_when_the_broker_lost_everything,
    test_nothing_is_lost_or_doubled_when_connections_are_cut_under_load,
)

__all__ = [
    "start_server",
    "test_members_are_told_when_the_broker_lost_everything",
    "test_nothing_is_lost_or_doubled_when_connections_are_cut_under_load",
]
