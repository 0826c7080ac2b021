"""The tables and functions in PostgreSQL, which the first worker creates.

`python -m app.realtime.broker.postgres.schema ROLE` prints the SQL, for an operator who
creates them for a role that may not.
"""

import sys
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import asyncpg

from app.realtime.broker.postgres.address import default_schema
from app.realtime.broker.postgres.errors import Misconfigured


class Migration(NamedTuple):
    """What one version adds. Older workers keep running while it is applied."""

    version: int
    files: Sequence[str]


MIGRATIONS = (Migration(1, ("tables.sql", "epoch.sql", "publish.sql", "read.sql", "sweep.sql")),)

VERSION = MIGRATIONS[-1].version

OLDEST_SERVER = 13
"""The oldest version of PostgreSQL that has everything that is used here."""


async def create_schema(connection: asyncpg.Connection, schema: str) -> None:
    """Create what is not there yet. Several workers may do it at the same time.

    Raises Misconfigured.
    """
    check_server(connection)
    if await version_of(connection, schema) >= VERSION:
        return
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{schema} migrations"
            )
            version = await version_of(connection, schema)
            if version >= VERSION:
                return
            if not await connection.fetch("SELECT FROM pg_namespace WHERE nspname = $1", schema):
                await connection.execute(f'CREATE SCHEMA "{schema}"')
            await connection.execute(migrations_sql(schema, version))
    except asyncpg.InsufficientPrivilegeError as error:
        role, database = await connection.fetchrow("SELECT current_user, current_database()")
        raise Misconfigured(
            f'the role "{role}" may not create the tables in the schema "{schema}" of the '
            f'database "{database}" ({error}). As its owner, run: '
            f'CREATE SCHEMA IF NOT EXISTS "{schema}" AUTHORIZATION "{role}"'
        ) from error


def check_server(connection: asyncpg.Connection) -> None:
    """Raise Misconfigured for a server that can't be used."""
    version = connection.get_server_version()
    if version.major < OLDEST_SERVER:
        raise Misconfigured(
            f"PostgreSQL {version.major} is too old: {OLDEST_SERVER} or later is needed"
        )
    encoding = connection.get_settings().server_encoding
    if encoding != "UTF8":
        raise Misconfigured(
            f"the database has the encoding {encoding}, which can't hold every message: "
            "create one with ENCODING 'UTF8'"
        )


async def version_of(connection: asyncpg.Connection, schema: str) -> int:
    """The version of what is there, or 0. Raises Misconfigured if the role may not look."""
    # to_regclass() would answer from a cache, which may be older than the lock of the caller.
    is_there = "SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'migrations'"
    if not await connection.fetch(is_there, schema):
        return 0
    try:
        version: int = await connection.fetchval(
            f'SELECT coalesce(max(version), 0) FROM "{schema}".migrations'  # noqa: S608
        )
    except asyncpg.InsufficientPrivilegeError as error:
        role = await connection.fetchval("SELECT current_user")
        raise Misconfigured(
            f'the role "{role}" has no rights in the schema "{schema}" ({error}). '
            f"As its owner, run: {grants_sql(schema, role)}"
        ) from error
    return version


def migrations_sql(schema: str, version: int = 0) -> str:
    """What brings a schema that is there from a version to the current one."""
    statements = []
    folder = files("app.realtime.broker.postgres")
    for migration in MIGRATIONS:
        if migration.version > version:
            statements += [folder.joinpath(name).read_text() for name in migration.files]
            statements.append(applied_sql(migration.version))
    sql = "\n".join(statements)
    return sql.replace("{schema}", f'"{schema}"').replace("{notifications}", schema)


def applied_sql(version: int) -> str:
    return "INSERT INTO {schema}.migrations (version) VALUES (%d);\n" % version  # noqa: S608, UP031


def grants_sql(schema: str, role: str) -> str:
    """What a role needs to use a schema."""
    return (
        f'GRANT USAGE ON SCHEMA "{schema}" TO "{role}"; '
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO "{role}";'
    )


def whole_sql(schema: str, role: str) -> str:
    """Everything that an operator runs so that a role can use the schema."""
    return (
        f'BEGIN;\nCREATE SCHEMA IF NOT EXISTS "{schema}";\n\n'
        f"{migrations_sql(schema)}\n{grants_sql(schema, role)}\nCOMMIT;\n"
    )


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        sys.exit("python -m app.realtime.broker.postgres.schema ROLE [SCHEMA]")
    sys.stdout.write(whole_sql((sys.argv[2:] or [default_schema()])[0], sys.argv[1]))
