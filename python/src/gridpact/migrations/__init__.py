"""The database schema and how it grows: Alembic revisions in plain SQL.

One PostgreSQL schema a service. Every row has its organisation, and what a service promises the
database enforces too. `upgrade` works from an installed package; running it from several processes
at once is safe.
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config

DATABASE_URL = "database_url"
"""Key of Config.attributes under which env.py finds the database."""


def upgrade(database_url: str, revision: str = "head") -> None:
    """Brings the database to the revision; does nothing when it is there."""
    command.upgrade(_config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    """Takes the database back to the revision (`base` empties it), with all data above it."""
    command.downgrade(_config(database_url), revision)


def _config(database_url: str) -> Config:
    config = Config(attributes={DATABASE_URL: database_url})
    config.set_main_option("script_location", "gridpact:migrations")
    return config
