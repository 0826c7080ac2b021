"""Has passwords hashed at argon2's least costs, in the servers of the tests and in this process.

`python -m app.auth` is run as it is.
"""

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher


def recommended() -> PasswordHash:
    """Instead of `PasswordHash.recommended`, which costs 64 MiB and 0.1 seconds a hash."""
    return PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))


PasswordHash.recommended = recommended  # type: ignore[method-assign]
