"""The outbox in PostgreSQL (migrations/versions/0004_tasks.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg

from gridpact.broker.port import Message
from gridpact.kit.database import Database
from gridpact.kit.errors import unavailable
from gridpact.kit.log import Log

log = Log(__name__)

_CONNECT_S = 5

# The running total stops the batch before it outgrows memory; the first row is taken whatever its
# size. A body that is not in the row is that of the payload which the key names; only then is the
# key a task's. Payloads are looked up one by one: a plan made while the tables were small would
# else join all that waits, batch after batch.
_TAKE = """
    WITH oldest AS MATERIALIZED (
        SELECT outbox_id, topic, key, properties, body,
               CASE WHEN body IS NULL THEN key::uuid END AS task_id
        FROM tasks.outbox ORDER BY outbox_id LIMIT %(max_count)s
        FOR UPDATE SKIP LOCKED
    ), sized AS MATERIALIZED (
        SELECT oldest.*,
               sum(coalesce(
                   octet_length(body),
                   (SELECT octet_length(p.body) FROM tasks.payloads p
                    WHERE p.task_id = oldest.task_id)
               )) OVER (ORDER BY outbox_id) AS total,
               row_number() OVER (ORDER BY outbox_id) AS position
        FROM oldest
    ), taken AS MATERIALIZED (
        SELECT * FROM sized WHERE total <= %(max_bytes)s OR position = 1
    ), deleted AS (
        DELETE FROM tasks.outbox WHERE outbox_id = ANY (ARRAY(SELECT outbox_id FROM taken))
    )
    SELECT topic, key, properties,
           coalesce(body, (SELECT p.body FROM tasks.payloads p WHERE p.task_id = taken.task_id))
    FROM taken ORDER BY outbox_id
"""


class PostgresOutbox:
    """An Outbox. Listens on a connection of its own, made again when it is lost."""

    def __init__(self, database: Database, url: str) -> None:
        self._database = database
        self._url = url
        self._listener: psycopg.AsyncConnection | None = None

    @asynccontextmanager
    async def batch(self, max_count: int, max_bytes: int) -> AsyncIterator[Sequence[Message]]:
        """See Outbox. The rows are deleted first and come back if the block raises."""
        # In a pipeline the transaction begins with the statement, not a round trip before.
        async with self._database.transaction() as connection, connection.pipeline():
            cursor = await connection.execute(
                _TAKE, {"max_count": max_count, "max_bytes": max_bytes}, prepare=True
            )
            messages: list[Message] = []
            for topic, key, properties, body in await cursor.fetchall():
                if body is None:
                    # It would stop everything behind it, and will never have a body.
                    log.error("message-without-body", topic=topic, key=key)
                    continue
                messages.append(Message(topic, bytes(body), key, properties))
            yield messages

    async def wait(self, wait_s: float) -> None:
        """See Outbox."""
        try:
            if self._listener is None:
                self._listener = await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=_CONNECT_S
                )
                await self._listener.execute("LISTEN tasks_outbox")
                # What was committed before is not announced again.
                return
            async for _ in self._listener.notifies(timeout=wait_s, stop_after=1):
                pass
        except (psycopg.OperationalError, OSError) as error:
            await self.aclose()
            raise unavailable("the database does not answer") from error

    async def aclose(self) -> None:
        """Hangs up the listening connection."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await asyncio.shield(listener.close())
