"""What only PostgreSQL promises: the outbox, what it remembers, and the database's own rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from gridpact.contracts.channels import QUEUE_BODY_BYTES
from gridpact.kit.database import Database
from gridpact.kit.errors import GridpactError
from gridpact.kit.identifiers import new_identifier
from gridpact.tasks import repository
from gridpact.tasks.domain import Body, EarlyStart, Encoding, Refusal, Task
from gridpact.tasks.ports import Batch
from tests.tasks.examples import POLICY, PROBE_INPUT, PROBE_RESULT, end, submission
from tests.tasks.stores import PostgresUnderTest


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    connection = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
    async with connection:
        yield connection


async def rows(sql: psycopg.AsyncConnection, statement: str) -> list[tuple[Any, ...]]:
    return await (await sql.execute(statement.encode())).fetchall()


async def succeed(store: PostgresUnderTest, task_id: str) -> Task:
    def decide(batch: Batch) -> None:
        [task] = batch.tasks
        opened, _ = task.open_attempt(batch.now, POLICY, "bridge")
        done, _ = opened.end_attempt(1, end(), batch.now, POLICY)
        batch.put(done, PROBE_RESULT)

    [task] = (await store.change([task_id], decide))[1]
    return task


async def open_first(store: PostgresUnderTest, task_id: str) -> None:
    def decide(batch: Batch) -> None:
        [task] = batch.tasks
        opened, _ = task.open_attempt(batch.now, POLICY, "bridge")
        batch.put(opened)

    await store.change([task_id], decide)


async def republish(store: PostgresUnderTest, task_id: str) -> None:
    def decide(batch: Batch) -> None:
        [task] = batch.tasks
        batch.put(task.republish(batch.now + timedelta(minutes=1), POLICY))

    await store.change([task_id], decide)


class TestOutbox:
    async def test_holds_the_message_of_a_submitted_task(
        self, postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection
    ) -> None:
        traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        draft = submission(engine_choice="julia", traceparent=traceparent, affinity_key="site:1")
        submitted = await postgres_store.submit([draft, replace(draft)])
        [row] = await rows(sql, "SELECT outbox_id, topic, key, properties, body FROM tasks.outbox")
        message = draft.message
        assert row == (row[0], message.topic, draft.task_id, message.properties, None)
        assert [each.outbox_id for each in submitted if each.created] == [row[0]]
        payloads = await rows(sql, "SELECT task_id::text, encoding, body FROM tasks.payloads")
        assert payloads == [(draft.task_id, "identity", PROBE_INPUT)]

    async def test_gets_the_message_again_when_a_task_is_published_again(
        self, postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection
    ) -> None:
        draft = submission(payload=Body(Encoding.ZSTD, b"frame"), affinity_key="a")
        await postgres_store.submit([draft])
        [(topic, key, properties)] = await rows(
            sql, "SELECT topic, key, properties FROM tasks.outbox"
        )
        await postgres_store.empty_outbox()
        await republish(postgres_store, draft.task_id)
        # But no attempt may begin early because of it: there may have been one.
        del properties["timeout_epoch_ms"]
        assert await rows(sql, "SELECT topic, key, properties FROM tasks.outbox") == [
            (topic, key, properties)
        ]

    async def test_forgets_what_is_published(
        self, postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection
    ) -> None:
        submitted = await postgres_store.submit([submission() for _ in range(3)])
        first, second, third = [each.outbox_id for each in submitted if each.outbox_id]
        await postgres_store.remove_published([first, third])
        assert await rows(sql, "SELECT outbox_id FROM tasks.outbox") == [(second,)]

    @pytest.mark.parametrize(
        ("size", "properties", "body"),
        [
            (QUEUE_BODY_BYTES - 1, {}, None),
            (QUEUE_BODY_BYTES, {}, None),
            (QUEUE_BODY_BYTES + 1, {"claim_bytes": str(QUEUE_BODY_BYTES + 1)}, b"\x80"),
        ],
    )
    async def test_holds_a_claim_of_a_payload_above_the_limit_of_the_queue(
        self,
        postgres_store: PostgresUnderTest,
        sql: psycopg.AsyncConnection,
        size: int,
        properties: dict[str, str],
        body: bytes | None,
    ) -> None:
        draft = submission(payload=Body(Encoding.ZSTD, bytes(size)))
        await postgres_store.submit([draft])
        await republish(postgres_store, draft.task_id)
        always = {"task_id": draft.task_id, "kind": "probe", "encoding": "zstd"} | properties
        messages = await rows(sql, "SELECT properties, body FROM tasks.outbox ORDER BY outbox_id")
        assert messages == [(draft.message.properties, body), (always, body)]


class TestRecentTasks:
    """What one process remembers of tasks, while another one changes them."""

    async def test_are_read_again_when_somebody_else_changed_them(
        self, postgres_store: PostgresUnderTest, database: Database
    ) -> None:
        task_id, other = submission().task_id, PostgresUnderTest(database)
        await postgres_store.submit([replace(submission(), task_id=task_id)])
        await open_first(other, task_id)
        seen: list[Task] = []

        def decide(batch: Batch) -> None:
            [task] = batch.tasks
            seen.append(task)
            batch.put(replace(task, cancel_requested=True))

        _, [changed] = await postgres_store.change([task_id], decide)
        assert [task.attempt_count for task in seen] == [0, 1]
        assert (changed.attempt_count, changed.cancel_requested) == (1, True)

    async def test_a_refusal_is_decided_on_what_is_stored(
        self, postgres_store: PostgresUnderTest, database: Database
    ) -> None:
        """What is only refused is not written, and so would not be compared."""
        [submitted] = await postgres_store.submit([submission()])
        task_id, other = submitted.task.task_id, PostgresUnderTest(database)
        await open_first(other, task_id)

        def finish(batch: Batch) -> Refusal | None:
            [task] = batch.tasks
            ended, refusal = task.end_attempt(1, end(), batch.now, POLICY)
            batch.put(ended)
            return refusal

        refusal, [changed] = await postgres_store.change([task_id], finish)
        assert (refusal, changed.state) == (None, "SUCCEEDED")

    async def test_are_not_read_again_otherwise(self, postgres_store: PostgresUnderTest) -> None:
        [submitted] = await postgres_store.submit([submission()])
        task_id, asked = submitted.task.task_id, 0

        def decide(batch: Batch) -> None:
            nonlocal asked
            asked += 1
            [task] = batch.tasks
            opened, _ = task.open_attempt(batch.now, POLICY, "bridge")
            batch.put(opened if asked == 1 else replace(task, cancel_requested=True))

        await postgres_store.change([task_id], decide)
        # A transaction that waits for the row would wait for ever, did the change read it.
        _, [changed] = await postgres_store.change([task_id], decide)
        assert (asked, changed.state, changed.cancel_requested) == (2, "RUNNING", True)

    async def test_are_judged_by_the_clock_of_the_database(
        self, postgres_store: PostgresUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [submitted] = await postgres_store.submit([submission()])
        later = repository._monotonic() + timedelta(hours=1)  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(repository, "_monotonic", lambda: later)
        clocks: list[datetime] = []

        def decide(batch: Batch) -> None:
            clocks.append(batch.now)
            [task] = batch.tasks
            batch.put(replace(task, cancel_requested=True))

        await postgres_store.change([submitted.task.task_id], decide)
        assert [
            round((now - submitted.task.submitted_time) / timedelta(hours=1)) for now in clocks
        ] == [1, 0]


class TestBeingSubmitted:
    """A task whose message is out before it is stored."""

    async def test_is_waited_for_by_who_changes_it(self, postgres_store: PostgresUnderTest) -> None:
        draft, changing = submission(), asyncio.Event()

        async def change() -> tuple[Task | None, list[Task]]:
            changing.set()
            return await postgres_store.change([draft.task_id], lambda it: it.get(draft.task_id))

        async with asyncio.TaskGroup() as group:
            found: list[asyncio.Task[tuple[Task | None, list[Task]]]] = []

            async def begins() -> None:
                found.append(group.create_task(change()))
                await changing.wait()
                # As long as it takes to change another one.
                await postgres_store.change([submission().task_id], lambda _: None)
                assert not found[0].done()

            [submitted] = await postgres_store.submit([draft], begins)
        assert found[0].result() == (submitted.task, [])

    async def test_is_not_there_when_it_could_not_be_stored(
        self, postgres_store: PostgresUnderTest
    ) -> None:
        draft = replace(submission(), kind="x" * 200)
        with pytest.raises(psycopg.Error):
            await postgres_store.submit([draft])
        found, _ = await postgres_store.change([draft.task_id], lambda it: it.get(draft.task_id))
        assert found is None
        assert postgres_store.has_turned_down(draft.task_id)

    async def test_will_never_be_there_when_its_key_names_another(
        self, postgres_store: PostgresUnderTest
    ) -> None:
        first, second = (submission(key="same") for _ in range(2))
        second = replace(second, organisation_id=first.organisation_id)
        third = replace(submission(key="same"), organisation_id=first.organisation_id)
        await postgres_store.submit([first, second])
        await postgres_store.submit([third])
        turned_down = [postgres_store.has_turned_down(it.task_id) for it in (first, second, third)]
        assert turned_down == [False, True, True]

    async def test_may_be_there_when_the_server_ended_meanwhile(
        self, postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection
    ) -> None:
        draft = submission()

        async def begins() -> None:
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        with pytest.raises(GridpactError):
            await postgres_store.submit([draft], begins)
        assert not postgres_store.has_turned_down(draft.task_id)


async def test_takes_no_backlog_of_quick_tasks_for_lost(
    postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection
) -> None:
    """They are never RUNNING: what was begun lately shows that the queue moves."""
    drafts = [submission() for _ in range(2)]
    await postgres_store.submit(drafts)
    await postgres_store.empty_outbox()
    await sql.execute("UPDATE tasks.tasks SET queued_time = queued_time - interval '1 minute'")
    policy = replace(POLICY, republish_delay=timedelta(seconds=30))
    assert sorted(await postgres_store.due(policy, 10)) == sorted(it.task_id for it in drafts)

    def begin_and_end(batch: Batch) -> None:
        [task] = batch.tasks
        start = EarlyStart("bridge", timedelta(0))
        ended, _ = task.end_early_attempt(start, end(), batch.now, POLICY)
        batch.put(ended, PROBE_RESULT)

    await postgres_store.change([drafts[0].task_id], begin_and_end)
    assert await postgres_store.due(policy, 10) == []


class TestIdempotencyKeys:
    async def test_may_be_used_anew_after_a_day(
        self, postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection
    ) -> None:
        first = submission()
        await postgres_store.submit([first])
        await sql.execute(
            "UPDATE tasks.idempotency_keys SET created_time = created_time - interval '24 h'"
        )
        again = replace(first, task_id=new_identifier(), fingerprint=b"x" * 32)
        [stored] = await postgres_store.submit([again])
        assert stored.created
        assert stored.task.task_id == again.task_id
        assert await postgres_store.expire_idempotency_keys() == 0

    async def test_are_deleted_after_a_day(
        self, postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection
    ) -> None:
        await postgres_store.submit([submission(), submission()])
        await sql.execute(
            "UPDATE tasks.idempotency_keys SET created_time = created_time - interval '24 h'"
        )
        assert await postgres_store.expire_idempotency_keys() == 2


class TestRulesOfTheDatabase:
    @pytest.mark.parametrize(
        "change",
        [
            "state = 'QUEUED', finished_time = NULL",
            "state = 'FAILED', failure = '{}'",
            "progress = '{}'",
        ],
    )
    async def test_keep_a_terminal_task_as_it_is(
        self, postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection, change: str
    ) -> None:
        draft = submission()
        await postgres_store.submit([draft])
        await succeed(postgres_store, draft.task_id)
        with pytest.raises(psycopg.IntegrityError, match="SUCCEEDED"):
            await sql.execute(f"UPDATE tasks.tasks SET {change}".encode())

    @pytest.mark.parametrize(
        "change",
        [
            "state = 'RUNNING'",
            "state = 'SUCCEEDED'",
            "state = 'FAILED', finished_time = now()",
            "attempt_count = 1",
            "attempt_count = -1",
            "state = 'LOST'",
        ],
    )
    async def test_refuse_members_that_do_not_fit_the_state(
        self, postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection, change: str
    ) -> None:
        await postgres_store.submit([submission()])
        with pytest.raises(psycopg.IntegrityError):
            await sql.execute(f"UPDATE tasks.tasks SET {change}".encode())

    async def test_never_take_a_fencing_token_back(
        self, postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection
    ) -> None:
        await postgres_store.submit([submission()])
        await sql.execute("UPDATE tasks.tasks SET attempt_count = 2, started_time = now()")
        with pytest.raises(psycopg.IntegrityError, match="attempt 2"):
            await sql.execute("UPDATE tasks.tasks SET attempt_count = 1")

    async def test_accept_one_result(
        self, postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection
    ) -> None:
        draft = submission()
        await postgres_store.submit([draft])
        await succeed(postgres_store, draft.task_id)
        with pytest.raises(psycopg.IntegrityError):
            await sql.execute("INSERT INTO tasks.results SELECT * FROM tasks.results")


async def test_a_decision_waits_for_the_one_before_and_sees_it(
    postgres_store: PostgresUnderTest, sql: psycopg.AsyncConnection
) -> None:
    draft = submission()
    await postgres_store.submit([draft])

    def open_attempt(batch: Batch) -> Refusal | None:
        [task] = batch.tasks
        opened, refusal = task.open_attempt(batch.now, POLICY, "bridge-2")
        batch.put(opened)
        return refusal

    async with sql.transaction():
        await sql.execute(
            "UPDATE tasks.tasks SET state = 'RUNNING', attempt_count = 1, started_time = now(),"
            " lease_end_time = now() + interval '10 s'"
        )
        second = asyncio.create_task(postgres_store.change([draft.task_id], open_attempt))
        while not await rows(sql, "SELECT FROM pg_locks WHERE NOT granted"):
            assert not second.done()
    refusal, changed = await second
    assert refusal is not None
    assert (refusal.reason, changed) == ("LEASE_HELD", [])


async def test_batches_in_any_order_do_not_block_each_other(
    postgres_store: PostgresUnderTest, database: Database
) -> None:
    """Deadlocks would show as errors."""
    drafts = [submission() for _ in range(20)]
    await postgres_store.submit(drafts)
    ids = [draft.task_id for draft in drafts]

    def renew(batch: Batch) -> None:
        for task in batch.tasks:
            opened, refusal = task.open_attempt(batch.now, POLICY, "bridge")
            again = opened.renew_lease(1, batch.now, POLICY)[0] if refusal else opened
            batch.put(again)

    await asyncio.gather(
        *(postgres_store.change(ids if i % 2 else ids[::-1], renew) for i in range(16))
    )
    page = await postgres_store.list_page(
        drafts[0].organisation_id, before=None, site_id=None, state=None, limit=10
    )
    assert [task.attempt_count for task in page] == [1]


class TestChange:
    async def test_decides_anew_when_somebody_else_was_faster(
        self, postgres_store: PostgresUnderTest, database_url: str
    ) -> None:
        """Of two tasks one was changed since they were read: nothing of the first try is kept."""
        drafts = [submission(), submission()]
        await postgres_store.submit(drafts)
        seen: list[list[bool]] = []

        def decide(batch: Batch) -> None:
            tasks = [batch.get(draft.task_id) for draft in drafts]
            assert all(tasks)
            seen.append([task.cancel_requested for task in tasks if task])
            if len(seen) == 1:
                with psycopg.connect(database_url, autocommit=True) as other:
                    words = "UPDATE tasks.tasks SET cancel_requested = true WHERE task_id = %s"
                    other.execute(words, [drafts[1].task_id])
            for task in tasks:
                assert task is not None
                opened, _ = task.open_attempt(batch.now, POLICY, f"bridge-{len(seen)}")
                batch.put(opened)

        _, changed = await postgres_store.change([each.task_id for each in drafts], decide)
        assert seen == [[False, False], [False, True]]
        kept = [await postgres_store.find(each.organisation_id, each.task_id) for each in drafts]
        assert sorted(changed, key=str) == sorted((task for task in kept if task), key=str)
        assert [(task.state, task.bridge_id) for task in kept if task] == [
            ("RUNNING", "bridge-2"),
            ("CANCELLED", None),
        ]
