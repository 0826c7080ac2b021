"""Who is in a room, across all workers, without storing it anywhere.

`tracker.py` knows the users of this worker, `roster.py` those of all workers, `news.py`
tells the members of a room, and `announcements.py` is what workers tell each other.
"""

from app.realtime.presence.tracker import PresenceTracker

__all__ = ["PresenceTracker"]
