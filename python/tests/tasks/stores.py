"""The real store under test."""

from __future__ import annotations

from gridpact.kit.database import Database
from gridpact.tasks.repository import PostgresTaskStore


class PostgresUnderTest(PostgresTaskStore):
    """The real store, and what its relay would do."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._relayed = database

    async def empty_outbox(self) -> None:
        async with self._relayed.transaction() as connection:
            await connection.execute("DELETE FROM tasks.outbox")
