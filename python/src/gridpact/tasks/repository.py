"""Tasks in PostgreSQL.

The rules are in `domain`; here rows are read, given to the rules, and written back. However many
tasks a call touches, the number of statements stays the same: small columns travel as one JSON
document, bodies as one array of bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg import errors
from psycopg.rows import DictRow, dict_row

from gridpact.contracts.channels import KINDS, QUEUE_BODY_BYTES, QUEUE_ENGINES
from gridpact.kit.database import Connection, Database
from gridpact.kit.newest import Newest
from gridpact.kit.pages import Cursor
from gridpact.tasks.domain import Body, Encoding, Policy, Task, TaskState
from gridpact.tasks.ports import Batch, PayloadPart, Replayed, Submission, Submitted

Decided = TypeVar("Decided")

IDEMPOTENCY_DURATION = timedelta(hours=24)

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

# Tasks that wait or run: about 2 KiB each.
_RECENT_COUNT = 10_000

_TURNED_DOWN_COUNT = 10_000

_IDENTIFIERS = ("task_id", "organisation_id", "site_id", "replay_of")

_COLUMNS = ", ".join(
    f"task.{column.name}::text" if column.name in _IDENTIFIERS else f"task.{column.name}"
    for column in fields(Task)
)

# The columns that no transition changes.
_FIXED = {*_IDENTIFIERS, "kind", "engine_choice", "label", "submitted_time", "timeout_time"}

_ASSIGNMENTS = ", ".join(
    f"{column.name} = changed.{column.name}" for column in fields(Task) if column.name not in _FIXED
)

# Of a message that is not written by whoever submits its task: GeneratedContract.first_message.
_PROPERTIES = """jsonb_strip_nulls(jsonb_build_object(
    'task_id', task.task_id, 'kind', task.kind, 'encoding', payload.encoding,
    'affinity_key', payload.affinity_key,
    'claim_bytes', CASE WHEN payload.size > %(queue_body_bytes)s THEN payload.size::text END,
    'timeout_epoch_ms', (extract(epoch FROM {timeout_time}) * 1000)::bigint::text))"""

# The body of a claim is an empty map. Without a body, the message gets the payload's.
_BODY = r"CASE WHEN payload.size > %(queue_body_bytes)s THEN '\x80'::bytea END"

# One statement is one transaction. A key that another transaction holds is waited for; the order
# keeps two batches from waiting for each other.
_SUBMIT = f"""
WITH draft AS MATERIALIZED (
    SELECT * FROM ROWS FROM (
        json_to_recordset(%(drafts)s::json) AS (
            task_id uuid, organisation_id uuid, idempotency_key text, fingerprint text,
            kind text, engine_choice text, site_id uuid, label text, timeout_s float8,
            encoding text, affinity_key text, topic text, properties jsonb),
        unnest(%(bodies)b::bytea[], %(message_bodies)b::bytea[])
    ) AS draft(task_id, organisation_id, idempotency_key, fingerprint, kind, engine_choice,
               site_id, label, timeout_s, encoding, affinity_key, topic, properties, body,
               message_body),
    clock_timestamp() AS now
), claimed AS (
    INSERT INTO tasks.idempotency_keys AS held
        (organisation_id, idempotency_key, task_id, fingerprint, created_time)
    SELECT organisation_id, idempotency_key, task_id, decode(fingerprint, 'hex'), now
    FROM draft ORDER BY organisation_id, idempotency_key
    ON CONFLICT (organisation_id, idempotency_key) DO UPDATE
        SET task_id = excluded.task_id, fingerprint = excluded.fingerprint,
            created_time = excluded.created_time
        WHERE held.created_time <= excluded.created_time - %(idempotency_duration)s::interval
    RETURNING task_id
), task AS (
    INSERT INTO tasks.tasks AS task
        (task_id, organisation_id, kind, engine_choice, site_id, label, submitted_time,
         timeout_time, state, queued_time, publish_count)
    SELECT task_id, organisation_id, kind, engine_choice, site_id, label, now,
           now + timeout_s * interval '1 second', 'QUEUED', now, 1
    FROM draft JOIN claimed USING (task_id)
    RETURNING {_COLUMNS}, task.xmin::text AS version, submitted_time AS now
), payload AS (
    INSERT INTO tasks.payloads (task_id, organisation_id, encoding, affinity_key, body)
    SELECT task_id, organisation_id, encoding, affinity_key, body
    FROM draft JOIN claimed USING (task_id)
), message AS (
    INSERT INTO tasks.outbox (organisation_id, topic, key, properties, body)
    SELECT organisation_id, topic, task_id::text, properties, message_body
    FROM draft JOIN claimed USING (task_id)
    RETURNING outbox_id, key
)
SELECT task.*, outbox_id FROM task JOIN message ON key = task_id
"""

_TASKS_OF_KEYS = f"""
SELECT {_COLUMNS}, held.idempotency_key, held.fingerprint
FROM json_to_recordset(%s::json) AS wanted(organisation_id uuid, idempotency_key text)
JOIN tasks.idempotency_keys AS held USING (organisation_id, idempotency_key)
JOIN tasks.tasks AS task USING (task_id)
"""

# The clock is read again with every row, so that the last row's reading is after the last lock.
_LOCK = f"""
WITH task AS MATERIALIZED (
    SELECT * FROM tasks.tasks WHERE task_id = ANY(%s::uuid[]) ORDER BY task_id FOR UPDATE
)
SELECT {_COLUMNS}, clock_timestamp() AS now FROM task
"""

_WRITE = f"""
WITH stored AS (
    INSERT INTO tasks.results (task_id, organisation_id, encoding, body)
    SELECT * FROM unnest(%(task_ids)s::uuid[], %(organisation_ids)s::uuid[],
                         %(encodings)s::text[], %(bodies)b::bytea[])
)
UPDATE tasks.tasks AS task SET {_ASSIGNMENTS}
FROM json_populate_recordset(NULL::tasks.tasks, %(changed)s::json) AS changed
WHERE task.task_id = changed.task_id
"""

# What `_LOCK` and `_WRITE` do, for tasks that nobody changed since they were read, if the clock is
# about what it was taken for: else it writes nothing and says so. Locks are taken in the order of
# `_LOCK`.
_WRITE_UNCHANGED = f"""
WITH held AS MATERIALIZED (
    SELECT task.task_id
    FROM tasks.tasks AS task
    JOIN unnest(%(changed_ids)s::uuid[], %(versions)s::text[]) AS found(task_id, version)
        USING (task_id)
    WHERE task.xmin::text = found.version
    ORDER BY task.task_id FOR UPDATE OF task
), judged AS MATERIALIZED (
    SELECT held.count = cardinality(%(changed_ids)s::uuid[])
           AND clock.now BETWEEN %(now)s - interval '1 second' AND %(now)s + interval '1 second'
           AS is_unchanged, clock.now
    FROM (SELECT count(*) FROM held) AS held, (SELECT clock_timestamp()) AS clock(now)
), stored AS (
    INSERT INTO tasks.results (task_id, organisation_id, encoding, body)
    SELECT result.* FROM judged,
        unnest(%(task_ids)s::uuid[], %(organisation_ids)s::uuid[],
               %(encodings)s::text[], %(bodies)b::bytea[]) AS result
    WHERE is_unchanged
), written AS (
    UPDATE tasks.tasks AS task SET {_ASSIGNMENTS}
    FROM judged, json_populate_recordset(NULL::tasks.tasks, %(changed)s::json) AS changed
    WHERE is_unchanged AND task.task_id = changed.task_id
)
SELECT is_unchanged, pg_current_xact_id()::xid::text, now FROM judged
"""

# The same for one task, which costs less: nothing has to be held until all are judged.
_WRITE_ONE_UNCHANGED = f"""
WITH written AS (
    UPDATE tasks.tasks AS task SET {_ASSIGNMENTS}
    FROM json_populate_record(NULL::tasks.tasks, %(changed)s::json) AS changed
    WHERE task.task_id = %(changed_id)s::uuid AND task.xmin::text = %(version)s
      AND clock_timestamp() BETWEEN %(now)s - interval '1 second' AND %(now)s + interval '1 second'
    RETURNING task.task_id, task.organisation_id
), stored AS (
    INSERT INTO tasks.results (task_id, organisation_id, encoding, body)
    SELECT written.*, result.*
    FROM written, unnest(%(encodings)s::text[], %(bodies)b::bytea[]) AS result
)
SELECT EXISTS (SELECT FROM written), pg_current_xact_id()::xid::text, clock_timestamp()
"""

_READ = f"""
SELECT {_COLUMNS}, task.xmin::text AS version, clock_timestamp() AS now
FROM tasks.tasks AS task WHERE task_id = ANY(%s::uuid[])
"""

_PUBLISH_AGAIN = f"""
INSERT INTO tasks.outbox (organisation_id, topic, key, properties, body)
SELECT task.organisation_id, 'compute-tasks-' || engine_choice || '-' || kind, task_id::text,
       -- No attempt begins early because of a message that is not the first.
       {_PROPERTIES.format(timeout_time="NULL::timestamptz")},
       {_BODY}
FROM tasks.tasks AS task
JOIN (SELECT *, octet_length(body) AS size FROM tasks.payloads) AS payload USING (task_id)
WHERE task_id = ANY(%(task_ids)s::uuid[])
"""

# Cutting a part out of a body that is stored as it came reads that part alone.
_PAYLOAD_PART = f"""
SELECT {_COLUMNS}, octet_length(payload.body) AS total_bytes,
       substring(payload.body FROM %s FOR %s) AS part
FROM tasks.tasks AS task LEFT JOIN tasks.payloads AS payload USING (task_id)
WHERE task_id = %s
"""

_REPLAY = f"""
WITH clock AS (SELECT clock_timestamp() AS now),
wanted AS (SELECT * FROM unnest(%(task_ids)s::uuid[], %(new_ids)s::uuid[]) AS w(task_id, new_id)),
task AS (
    INSERT INTO tasks.tasks AS task
        (task_id, organisation_id, kind, engine_choice, site_id, label, submitted_time,
         timeout_time, state, queued_time, publish_count, replay_of)
    SELECT new_id, organisation_id, kind, engine_choice, site_id, label, now,
           now + (timeout_time - submitted_time), 'QUEUED', now, 1, task_id
    FROM clock, wanted JOIN tasks.tasks USING (task_id) WHERE state = 'FAILED'
    ORDER BY task_id
    ON CONFLICT (replay_of) WHERE replay_of IS NOT NULL DO NOTHING
    RETURNING *
), payload AS (
    INSERT INTO tasks.payloads (task_id, organisation_id, encoding, affinity_key, body)
    SELECT task.task_id, task.organisation_id, encoding, affinity_key, body
    FROM task JOIN tasks.payloads AS payload ON payload.task_id = task.replay_of
    RETURNING task_id, encoding, affinity_key, octet_length(body) AS size
), message AS (
    INSERT INTO tasks.outbox (organisation_id, topic, key, properties, body)
    SELECT organisation_id, 'compute-tasks-' || engine_choice || '-' || kind, task_id::text,
           {_PROPERTIES.format(timeout_time="task.timeout_time")},
           {_BODY}
    FROM task JOIN payload USING (task_id)
)
SELECT task_id::text FROM task
"""

_ORIGINALS = f"""
SELECT {_COLUMNS} FROM tasks.tasks AS task WHERE task_id = ANY(%s::uuid[])
"""

_REPLAYS = f"""
SELECT {_COLUMNS} FROM tasks.tasks AS task WHERE replay_of = ANY(%s::uuid[])
"""

_DUE = """
WITH clock AS (SELECT clock_timestamp() AS now), delivered AS MATERIALIZED (
    SELECT engine_choice, kind, newest.queued_time AS newest, newest.started_time
    FROM unnest(%(engine_choices)s::text[]) AS engine_choices(engine_choice),
         unnest(%(kinds)s::text[]) AS kinds(kind)
         LEFT JOIN LATERAL (
             SELECT queued_time, started_time FROM tasks.tasks AS task
             WHERE task.engine_choice = engine_choices.engine_choice AND task.kind = kinds.kind
               AND attempt_count > 0
             ORDER BY queued_time DESC LIMIT 1
         ) AS newest ON true
)
(SELECT task_id::text FROM tasks.tasks, clock
 WHERE state IN ('QUEUED', 'RUNNING') AND timeout_time <= now
 LIMIT %(limit)s)
UNION
(SELECT task_id::text FROM tasks.tasks, clock
 WHERE state = 'RUNNING'
   AND lease_end_time NOT BETWEEN now - %(reclaim_delay)s::interval
                              AND now + %(lease_duration)s::interval + interval '1 second'
 LIMIT %(limit)s)
UNION
(SELECT waiting.task_id::text
 FROM clock,
      delivered,
      LATERAL (SELECT * FROM tasks.tasks AS task
               WHERE state = 'QUEUED' AND task.engine_choice = delivered.engine_choice
                 AND task.kind = delivered.kind
                 AND queued_time <= now - %(republish_delay)s::interval
               ORDER BY queued_time LIMIT %(limit)s
              ) AS waiting
 WHERE queued_time <= now - least(
           %(republish_delay)s::interval * power(2, least(publish_count - 1, 16)),
           %(republish_delay_max)s::interval)
   AND (queued_time <= newest - %(republish_delay)s::interval
        OR NOT EXISTS (SELECT FROM tasks.tasks WHERE state = 'RUNNING')
           -- Quick tasks are never RUNNING.
           AND NOT EXISTS (SELECT FROM delivered
                           WHERE started_time BETWEEN now - %(republish_delay)s::interval AND now))
   -- What is still in the outbox is not lost.
   AND NOT EXISTS (SELECT FROM tasks.outbox WHERE key = waiting.task_id::text))
LIMIT %(limit)s
"""


@dataclass(slots=True)
class _ReadBatch:
    """The Batch of one transaction."""

    loaded: dict[str, Task]
    now: datetime
    # Of the rows, where they are not locked.
    versions: dict[str, str]
    changed: dict[str, Task] = field(default_factory=dict[str, Task])
    results: dict[str, Body] = field(default_factory=dict[str, Body])

    @property
    def tasks(self) -> Collection[Task]:
        return self.loaded.values()

    def get(self, task_id: str) -> Task | None:
        return self.changed.get(task_id) or self.loaded.get(task_id)

    def put(self, task: Task, result: Body | None = None) -> None:
        if task != self.get(task.task_id):
            self.changed[task.task_id] = task
        if result is not None:
            self.results[task.task_id] = result

    def published_again(self) -> list[str]:
        return [
            task_id
            for task_id, task in self.changed.items()
            if task.publish_count > self.loaded[task_id].publish_count
        ]


class _RecentTasks:
    """What tasks were when this process saw them last, and the clock of the database.

    Whoever changes a task is likely to have seen it: reading it again would cost as much as
    writing it. That it is still so is checked by the writing.
    """

    def __init__(self) -> None:
        self._tasks: OrderedDict[str, tuple[Task, str]] = OrderedDict()
        self._ahead: timedelta | None = None

    def note(self, task: Task, version: str) -> None:
        """A task as it was read or written; one that has ended will not be changed."""
        if task.has_ended:
            self._tasks.pop(task.task_id, None)
            return
        self._tasks[task.task_id] = task, version
        self._tasks.move_to_end(task.task_id)
        if len(self._tasks) > _RECENT_COUNT:
            self._tasks.popitem(last=False)

    def note_clock(self, now: datetime) -> None:
        """What the clock of the database said just now."""
        self._ahead = now - _monotonic()

    def clock(self) -> datetime | None:
        """What the clock of the database says now, as far as that is known."""
        return None if self._ahead is None else _monotonic() + self._ahead

    def batch(self, task_ids: Collection[str]) -> _ReadBatch | None:
        """The tasks as they are likely to be; None unless all of them are known."""
        found = {task_id: self._tasks[task_id] for task_id in task_ids if task_id in self._tasks}
        now = self.clock()
        if now is None or len(found) < len(task_ids):
            return None
        return _ReadBatch(
            {task_id: task for task_id, (task, _) in found.items()},
            now,
            {task_id: version for task_id, (_, version) in found.items()},
        )

    def forget(self, task_ids: Collection[str]) -> None:
        """They are not what they were."""
        for task_id in task_ids:
            self._tasks.pop(task_id, None)


class PostgresTaskStore:
    """The TaskStore in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent = _RecentTasks()
        # Tasks whose insertion is under way, with its end.
        self._submitting: dict[str, asyncio.Future[None]] = {}
        # Tasks that this process did not store, and never will.
        self._turned_down = Newest(_TURNED_DOWN_COUNT)

    def clock(self) -> datetime | None:
        return self._recent.clock()

    def has_turned_down(self, task_id: str) -> bool:
        return task_id in self._turned_down

    async def submit(
        self,
        submissions: Sequence[Submission],
        begins: Callable[[], Awaitable[None]] | None = None,
    ) -> list[Submitted]:
        # A statement can claim a key only once: the rest of the same key finds it taken.
        drafts = {_key_of(submission): submission for submission in reversed(submissions)}
        async with self._database.statements() as connection:
            task_ids = [submission.task_id for submission in submissions]
            with self._being_submitted(task_ids):
                if begins is not None:
                    await begins()
                created = await self._insert(connection, [*drafts.values()])
                self._turned_down.note([it for it in task_ids if it not in created])
            known = {
                key: created[draft.task_id]
                for key, draft in drafts.items()
                if draft.task_id in created
            }
            if taken := [key for key in drafts if key not in known]:
                known |= await self._tasks_of_keys(connection, taken)
        return [
            known[key]
            if submission is drafts[key]
            else replace(known[key], created=False, outbox_id=None)
            for submission in submissions
            for key in [_key_of(submission)]
        ]

    @contextmanager
    def _being_submitted(self, task_ids: Collection[str]) -> Iterator[None]:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._submitting |= dict.fromkeys(task_ids, over)
        try:
            yield
        except psycopg.Error as error:
            # An error of the statement undoes it; what a server says that ends, or did not say, may
            # be about a commit that was made.
            if error.sqlstate is not None and not error.sqlstate.startswith("57P"):
                self._turned_down.note(task_ids)
            raise
        finally:
            for task_id in task_ids:
                self._submitting.pop(task_id, None)
            over.set_result(None)

    async def _until_submitted(self, task_ids: Collection[str]) -> None:
        while waiting := {self._submitting[it] for it in task_ids if it in self._submitting}:
            await asyncio.wait(waiting)

    async def change(
        self, task_ids: Sequence[str], decide: Callable[[Batch], Decided]
    ) -> tuple[Decided, list[Task]]:
        wanted = [*set(task_ids)]
        await self._until_submitted(wanted)
        async with self._database.statements() as connection:
            # Seldom is a task changed by somebody else meanwhile.
            if (known := self._recent.batch(wanted)) is not None:
                decided = decide(known)
                # Only what is written is compared: a refusal needs to have looked.
                if len(known.changed) == len(wanted) and await self._written_unchanged(
                    connection, known
                ):
                    return decided, [*known.changed.values()]
                self._recent.forget(wanted)
            found = self._noted(await _rows(connection, _READ, [wanted]))
            decided = decide(found)
            if await self._written_unchanged(connection, found):
                return decided, [*found.changed.values()]
        async with self._database.transaction() as connection:
            self._recent.forget(wanted)
            locked = _batch(await _rows(connection, _LOCK, [wanted]))
            decided = decide(locked)
            if locked.changed:
                await self._write(connection, locked)
        return decided, [*locked.changed.values()]

    async def replay(self, task_ids: Mapping[str, str]) -> list[Replayed]:
        ids, new_ids = [*task_ids], [*task_ids.values()]
        async with self._database.transaction() as connection:
            given = {"task_ids": ids, "new_ids": new_ids, "queue_body_bytes": QUEUE_BODY_BYTES}
            rows = await _rows(connection, _REPLAY, given)
            created = {row["task_id"] for row in rows}
            # In statements of their own, which see what another transaction made meanwhile.
            originals = [_task(row) for row in await _rows(connection, _ORIGINALS, [ids])]
            replays = [_task(row) for row in await _rows(connection, _REPLAYS, [ids])]
        original_of = {task.task_id: task for task in originals}
        replay_of = {task.replay_of: task for task in replays}
        return [
            Replayed(
                original_of.get(task_id),
                replay_of.get(task_id),
                created=task_id in replay_of and replay_of[task_id].task_id in created,
            )
            for task_id in ids
        ]

    async def find(self, organisation_id: str, task_id: str) -> Task | None:
        async with self._database.statements() as connection:
            rows = await _rows(
                connection,
                f"SELECT {_COLUMNS} FROM tasks.tasks AS task"
                " WHERE organisation_id = %s AND task_id = %s",
                [organisation_id, task_id],
            )
        return _task(rows[0]) if rows else None

    async def payload_part(
        self, task_id: str, offset: int, size: int
    ) -> tuple[Task, PayloadPart | None] | None:
        async with self._database.transaction() as connection:
            rows = await _rows(connection, _PAYLOAD_PART, [offset + 1, size, task_id])
        if not rows:
            return None
        row = rows[0]
        part = None if row["part"] is None else PayloadPart(row["part"], row["total_bytes"])
        return _task(row), part

    async def find_result(self, organisation_id: str, task_id: str) -> tuple[Task, Body] | None:
        async with self._database.statements() as connection:
            rows = await _rows(
                connection,
                f"SELECT {_COLUMNS}, result.encoding, result.body"
                " FROM tasks.tasks AS task JOIN tasks.results AS result USING (task_id)"
                " WHERE task.organisation_id = %s AND task.task_id = %s",
                [organisation_id, task_id],
            )
        return next(
            ((_task(row), Body(Encoding(row["encoding"]), row["body"])) for row in rows), None
        )

    async def list_page(
        self,
        organisation_id: str,
        *,
        before: Cursor | None,
        site_id: str | None,
        state: TaskState | None,
        limit: int,
    ) -> list[Task]:
        conditions = ["organisation_id = %s"]
        values: list[object] = [organisation_id]
        if before is not None:
            conditions.append("(submitted_time, task_id) < (%s, %s)")
            values += [before.time, before.identifier]
        if site_id is not None:
            conditions.append("site_id = %s")
            values.append(site_id)
        if state is not None:
            conditions.append("state = %s")
            values.append(state)
        async with self._database.statements() as connection:
            rows = await _rows(
                connection,
                f"SELECT {_COLUMNS} FROM tasks.tasks AS task WHERE {' AND '.join(conditions)}"
                " ORDER BY submitted_time DESC, task_id DESC LIMIT %s",
                [*values, limit],
            )
        return [_task(row) for row in rows]

    async def due(self, policy: Policy, limit: int) -> list[str]:
        async with self._database.statements() as connection:
            rows = await _rows(
                connection,
                _DUE,
                {
                    "limit": limit,
                    "engine_choices": [*QUEUE_ENGINES],
                    "kinds": [*KINDS],
                    "lease_duration": policy.lease_duration,
                    "reclaim_delay": policy.reclaim_delay,
                    "republish_delay": policy.republish_delay,
                    "republish_delay_max": policy.republish_delay_max,
                },
            )
        return [row["task_id"] for row in rows]

    async def remove_published(self, outbox_ids: Sequence[int]) -> None:
        """Deletes the outbox rows of messages that the broker has."""
        async with self._database.statements() as connection:
            await connection.execute(
                "DELETE FROM tasks.outbox WHERE outbox_id = ANY(%s)", [[*outbox_ids]]
            )

    async def expire_idempotency_keys(self) -> int:
        async with self._database.statements() as connection:
            deleted = await connection.execute(
                "DELETE FROM tasks.idempotency_keys"
                " WHERE created_time <= clock_timestamp() - %s::interval",
                [IDEMPOTENCY_DURATION],
            )
        return deleted.rowcount

    async def _insert(
        self, connection: Connection, drafts: Sequence[Submission]
    ) -> dict[str, Submitted]:
        """What was created, by the id of its task."""
        rows = await _rows(
            connection,
            _SUBMIT,
            {
                "drafts": _json([_draft(draft) for draft in drafts]),
                "bodies": [draft.payload.data for draft in drafts],
                # The relay finds what the payload is in the payload.
                "message_bodies": [
                    None if draft.message.body == draft.payload.data else draft.message.body
                    for draft in drafts
                ],
                "idempotency_duration": IDEMPOTENCY_DURATION,
            },
        )
        tasks, by_id = self._noted(rows).loaded, {draft.task_id: draft for draft in drafts}
        return {
            draft.task_id: Submitted(
                tasks[draft.task_id],
                draft.fingerprint,
                created=True,
                outbox_id=row["outbox_id"],
            )
            for row in rows
            for draft in [by_id[row["task_id"]]]
        }

    async def _tasks_of_keys(
        self, connection: Connection, keys: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], Submitted]:
        wanted = [{"organisation_id": owner, "idempotency_key": key} for owner, key in keys]
        rows = await _rows(connection, _TASKS_OF_KEYS, [_json(wanted)])
        return {
            (row["organisation_id"], row["idempotency_key"]): Submitted(
                _task(row), row["fingerprint"], created=False
            )
            for row in rows
        }

    async def _written_unchanged(self, connection: Connection, found: _ReadBatch) -> bool:
        if not found.changed:
            return True
        if found.published_again():
            return False
        try:
            if len(found.changed) == 1:
                statement, parameters = _WRITE_ONE_UNCHANGED, _written_one(found)
            else:
                statement, parameters = _WRITE_UNCHANGED, _written_unchanged(found)
            cursor = await connection.execute(statement.encode(), parameters)
        except errors.UniqueViolation:
            return False
        row = await cursor.fetchone()
        assert row is not None
        is_unchanged, version, now = row
        if not is_unchanged:
            return False
        self._recent.note_clock(now)
        for task in found.changed.values():
            self._recent.note(task, version)
        return True

    def _noted(self, rows: Sequence[DictRow]) -> _ReadBatch:
        batch = _batch(rows)
        for task_id, task in batch.loaded.items():
            self._recent.note(task, batch.versions[task_id])
        if rows:
            self._recent.note_clock(batch.now)
        return batch

    async def _write(self, connection: Connection, locked: _ReadBatch) -> None:
        await connection.execute(_WRITE.encode(), _written(locked))
        if published := locked.published_again():
            await connection.execute(
                _PUBLISH_AGAIN.encode(),
                {"task_ids": published, "queue_body_bytes": QUEUE_BODY_BYTES},
            )


def _written(batch: _ReadBatch) -> dict[str, object]:
    results = batch.results
    return {
        "changed": _json([*batch.changed.values()]),
        "task_ids": [*results],
        "organisation_ids": [batch.loaded[task_id].organisation_id for task_id in results],
        "encodings": [body.encoding.value for body in results.values()],
        "bodies": [body.data for body in results.values()],
    }


def _written_unchanged(batch: _ReadBatch) -> dict[str, object]:
    return {
        **_written(batch),
        "changed_ids": [*batch.changed],
        "versions": [batch.versions[task_id] for task_id in batch.changed],
        "now": batch.now,
    }


def _written_one(batch: _ReadBatch) -> dict[str, object]:
    [(task_id, task)] = batch.changed.items()
    results = batch.results.values()
    return {
        "changed": _json(task),
        "changed_id": task_id,
        "version": batch.versions[task_id],
        "now": batch.now,
        "encodings": [body.encoding.value for body in results],
        "bodies": [body.data for body in results],
    }


async def _rows(
    connection: Connection, statement: str, parameters: Sequence[object] | Mapping[str, object]
) -> list[DictRow]:
    # Binary: times and bodies arrive without text in between.
    async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(statement.encode(), parameters)
        return await cursor.fetchall()


def _key_of(submission: Submission) -> tuple[str, str]:
    return submission.organisation_id, submission.idempotency_key


def _draft(submission: Submission) -> dict[str, Any]:
    return {
        "task_id": submission.task_id,
        "organisation_id": submission.organisation_id,
        "idempotency_key": submission.idempotency_key,
        "fingerprint": submission.fingerprint.hex(),
        "kind": submission.kind,
        "engine_choice": submission.engine_choice,
        "site_id": submission.site_id,
        "label": submission.label,
        "timeout_s": submission.timeout.total_seconds(),
        "encoding": submission.payload.encoding,
        "affinity_key": submission.affinity_key,
        "topic": submission.message.topic,
        "properties": submission.message.properties,
    }


def _batch(rows: Sequence[DictRow]) -> _ReadBatch:
    # Without a row there is nothing to judge, and any time will do.
    now = max((row["now"] for row in rows), default=datetime.min.replace(tzinfo=UTC))
    return _ReadBatch(
        {row["task_id"]: _task(row) for row in rows},
        now,
        {row["task_id"]: row["version"] for row in rows if "version" in row},
    )


def _monotonic() -> datetime:
    """A clock that nobody sets, from an arbitrary beginning."""
    return _BEGINNING + timedelta(seconds=time.monotonic())


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _task(row: Mapping[str, Any]) -> Task:
    return msgspec.convert(row, Task)
