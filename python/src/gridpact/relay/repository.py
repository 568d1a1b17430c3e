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
# key a task's.
_TAKE = """
    WITH oldest AS (
        SELECT outbox_id FROM tasks.outbox ORDER BY outbox_id LIMIT %(max_count)s
        FOR UPDATE SKIP LOCKED
    ), sized AS (
        SELECT o.outbox_id, o.topic, o.key, o.properties, o.body,
               sum(octet_length(coalesce(o.body, p.body))) OVER (ORDER BY o.outbox_id) AS total,
               row_number() OVER (ORDER BY o.outbox_id) AS position
        FROM oldest JOIN tasks.outbox o USING (outbox_id)
        LEFT JOIN tasks.payloads p ON p.task_id = CASE WHEN o.body IS NULL THEN o.key::uuid END
    ), taken AS (
        DELETE FROM tasks.outbox o USING sized s
        WHERE o.outbox_id = s.outbox_id AND (s.total <= %(max_bytes)s OR s.position = 1)
        RETURNING o.outbox_id, o.topic, o.key, o.properties, o.body
    )
    SELECT t.topic, t.key, t.properties, coalesce(t.body, p.body)
    FROM taken t
    LEFT JOIN tasks.payloads p ON p.task_id = CASE WHEN t.body IS NULL THEN t.key::uuid END
    ORDER BY t.outbox_id
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
