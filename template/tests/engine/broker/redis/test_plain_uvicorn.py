"""The promises hold in an outage of Redis under plain uvicorn, which takes no prebuilt frames.

The tests are those of `test_outage.py`. Only the servers are others.
"""

from tests.engine.broker.redis.test_outage import (
    redis_server,
    test_members_are_told_of_a_gap_that_history_does_not_fill,
    test_members_are_told_when_redis_lost_everything,
    test_nothing_is_lost_or_doubled_when_subscriptions_are_cut_under_load,
)
from tests.engine.server.test_plain_uvicorn import start_server

__all__ = [
    "redis_server",
    "start_server",
    "test_members_are_told_of_a_gap_that_history_does_not_fill",
    "test_members_are_told_when_redis_lost_everything",
    "test_nothing_is_lost_or_doubled_when_subscriptions_are_cut_under_load",
]
