"""The outbox in PostgreSQL (migrations/versions/0004_tasks.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from gridpact.broker.port import Message
from gridpact.kit.database import Database
from gridpact.kit.log import Log

log = Log(__name__)

LEAST_AGE = timedelta(seconds=1)

# The running total stops the batch before it outgrows memory; the first row is taken whatever its
# size. A body that is not in the row is that of the payload which the key names; only then is the
# key a task's. Payloads are looked up one by one: a plan made while the tables were small would
# else join all that waits, batch after batch.
_TAKE = """
    WITH oldest AS MATERIALIZED (
        SELECT outbox_id, topic, key, properties, body,
               CASE WHEN body IS NULL THEN key::uuid END AS task_id
        FROM tasks.outbox
        -- Younger than no time at all is what was committed before the clock was set back.
        WHERE created_time NOT BETWEEN clock_timestamp() - %(least_age)s::interval
                                   AND clock_timestamp()
        ORDER BY outbox_id LIMIT %(max_count)s
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
    """An Outbox. What is younger than ``least_age`` is still with whoever committed it
    (tasks.queue)."""

    def __init__(self, database: Database, least_age: timedelta = LEAST_AGE) -> None:
        self._database = database
        self._least_age = least_age

    @asynccontextmanager
    async def batch(self, max_count: int, max_bytes: int) -> AsyncIterator[Sequence[Message]]:
        """See Outbox. The rows are deleted first and come back if the block raises."""
        # In a pipeline the transaction begins with the statement, not a round trip before.
        async with self._database.transaction() as connection, connection.pipeline():
            cursor = await connection.execute(
                _TAKE,
                {"max_count": max_count, "max_bytes": max_bytes, "least_age": self._least_age},
                prepare=True,
            )
            messages: list[Message] = []
            for topic, key, properties, body in await cursor.fetchall():
                if body is None:
                    # It would stop everything behind it, and will never have a body.
                    log.error("message-without-body", topic=topic, key=key)
                    continue
                messages.append(Message(topic, bytes(body), key, properties))
            yield messages
