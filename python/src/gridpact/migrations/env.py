"""Run by Alembic. Revisions are plain SQL: there is no metadata to compare with."""

import os

from alembic import context
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from gridpact.migrations import DATABASE_URL

# Any constant that is no other's: whoever upgrades holds this advisory lock.
_LOCK = 7_420_001

database_url = context.config.attributes.get(DATABASE_URL) or os.environ["GRIDPACT_DATABASE_URL"]
engine = create_engine(
    make_url(database_url).set(drivername="postgresql+psycopg"), poolclass=NullPool
)
with engine.connect() as connection:
    context.configure(connection=connection)
    # All revisions in one transaction: an upgrade happens or does not. The lock is taken before
    # the current revision is read, so that the second of two upgrades finds nothing to do.
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        context.run_migrations()
