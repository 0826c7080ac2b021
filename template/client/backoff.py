"""How long to wait before the next attempt."""

import random

BASE = 1.0
CAP = 30.0


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row.

    Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0, min(CAP, BASE * 2 ** min(failures, 10)))  # noqa: S311
