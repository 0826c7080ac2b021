"""What alembic runs: on the connection that it was given, or on the one in DATABASE_URL."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from app import handlers, permissions, routes  # noqa: F401 - for the tables that they import
from app.auth.accounts.database import Base, make_engine, schema_change
from app.settings import load_settings


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite alters tables by copying them
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_run() -> None:
    engine = make_engine(load_settings().database_url)
    try:
        async with schema_change(engine) as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


def print_sql() -> None:
    """`alembic upgrade heads --sql`."""
    url = load_settings().database_url
    context.configure(url=url, target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if context.is_offline_mode():
    print_sql()
elif given is not None:
    run(given)
else:
    asyncio.run(connect_and_run())
