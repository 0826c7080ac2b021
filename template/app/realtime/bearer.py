"""Keys in `Authorization: Bearer`, of services and of monitoring."""

import secrets
from collections.abc import Iterable

from fastapi import HTTPException, status
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import SecretStr


def check_bearer(
    given: HTTPAuthorizationCredentials | None, known: Iterable[SecretStr], name: str
) -> None:
    """Raises HTTP 401 unless a request carries one of the known keys.

    `name` is what the answer calls them. How long it takes does not depend on the key.
    """
    key = given.credentials.encode() if given is not None else b""
    is_known = False
    for secret in known:  # all of them, so that the time says nothing
        is_known |= secrets.compare_digest(secret.get_secret_value().encode(), key)
    if not is_known:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            f"Send Authorization: Bearer with {name}.",
            {"WWW-Authenticate": "Bearer"},
        )
