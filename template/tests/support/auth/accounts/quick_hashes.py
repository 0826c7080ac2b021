"""Makes argon2 hash passwords at its lowest cost, in the tests' servers and in this process.

`python -m app.auth.accounts` hashes at the full cost.
"""

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher


def recommended() -> PasswordHash:
    """Instead of `PasswordHash.recommended`, which costs 64 MiB and 0.1 seconds a hash."""
    return PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))


PasswordHash.recommended = recommended  # type: ignore[method-assign]
