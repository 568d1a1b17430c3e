"""The revisions of the database, forward, backward, and from several processes at once."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest

from gridpact.migrations import downgrade, upgrade
from tests.postgres import PostgresServer

_OWN_TABLES = """
    SELECT table_schema || '.' || table_name FROM information_schema.tables
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
      AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'
"""
_WITHOUT_ORGANISATION = (
    _OWN_TABLES
    + """
      AND NOT EXISTS (
          SELECT FROM information_schema.columns AS c
          WHERE (c.table_schema, c.table_name) = (tables.table_schema, tables.table_name)
            AND c.column_name = 'organisation_id' AND c.is_nullable = 'NO')
"""
)


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> str:
    return postgres.create_database()


def names(url: str, statement: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute(statement.encode())}


def test_every_revision_goes_back_to_nothing_and_forward_again(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    tables = names(empty_database_url, _OWN_TABLES)
    assert "tasks.outbox" in tables
    downgrade(empty_database_url, "base")
    assert names(empty_database_url, _OWN_TABLES) == set()
    upgrade(empty_database_url)
    upgrade(empty_database_url)
    assert names(empty_database_url, _OWN_TABLES) == tables


def test_every_row_has_its_organisation(database_url: str) -> None:
    # Signing keys are the platform's own, and who fails to log in belongs to nobody.
    exceptions = {"identity.signing_keys", "identity.audit_entries"}
    assert names(database_url, _WITHOUT_ORGANISATION) <= exceptions


def test_several_processes_upgrade_at_once(empty_database_url: str) -> None:
    command = [sys.executable, "-m", "gridpact.migrations"]
    environment = {**os.environ, "GRIDPACT_DATABASE_URL": empty_database_url}
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert "tasks.tasks" in names(empty_database_url, _OWN_TABLES)
