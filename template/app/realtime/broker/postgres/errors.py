"""What goes wrong with PostgreSQL, and what the operator has to do about it."""

import asyncpg

from app.realtime.broker.outage import describe


class Misconfigured(Exception):
    """Something that the operator has to change, as a sentence."""


# What a broken connection, an unreachable server or one that is starting or read-only raises.
# uvloop raises RuntimeError when a connection is written to after a reset.
Outage = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresError,
    OSError,
    RuntimeError,
    TimeoutError,
)

# What a server can't do at its address, but another one there may be able to.
Replaced = (asyncpg.ReadOnlySQLTransactionError, asyncpg.ObjectNotInPrerequisiteStateError)

Missing = (
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedTableError,
)
"""What PostgreSQL says when somebody dropped the tables."""

Unreachable = (
    asyncpg.AdminShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.CrashShutdownError,
    asyncpg.PostgresConnectionError,
)
"""What PostgreSQL says when it stops or starts."""

ADVICE = {
    asyncpg.InvalidPasswordError: "correct the user or the password in BROKER_URL",
    asyncpg.InvalidAuthorizationSpecificationError: "correct BROKER_URL or pg_hba.conf",
    asyncpg.InvalidCatalogNameError: "create it, or correct the database in BROKER_URL",
    asyncpg.TooManyConnectionsError: "raise max_connections, or use a pooler",
    asyncpg.TargetServerAttributeNotMatched: "BROKER_URL has to lead to the primary server",
    asyncpg.ClientConfigurationError: "correct BROKER_URL",
}
"""What the operator has to do about an error. It does not pass by itself."""


def advise(error: BaseException) -> str:
    """Describe an error, and what the operator has to do about it."""
    if isinstance(error, Misconfigured):
        return str(error)
    advice = ADVICE.get(type(error))
    return f"{describe(error)}: {advice}" if advice else describe(error)
