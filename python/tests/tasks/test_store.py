"""The suite of the port TaskStore: PostgreSQL and the fake of the other tests pass it alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from gridpact.kit.identifiers import new_identifier
from gridpact.kit.pages import Cursor
from gridpact.kit.violation import Violation
from gridpact.tasks.domain import (
    Body,
    Encoding,
    Failed,
    Failure,
    Policy,
    Progress,
    Refusal,
    Task,
    TaskState,
)
from gridpact.tasks.ports import Batch, PayloadPart, Replayed, Submission, TaskStore
from tests.tasks.examples import POLICY, PROBE_RESULT, end, submission
from tests.tasks.fakes import MemoryTaskStore
from tests.tasks.stores import PostgresUnderTest

AT_ONCE = timedelta(0)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> TaskStore:
    if request.param == "memory":
        return MemoryTaskStore()
    return request.getfixturevalue("postgres_store")


async def open_attempt(
    store: TaskStore, task_id: str, policy: Policy = POLICY
) -> tuple[Task, Refusal | None]:
    def decide(batch: Batch) -> tuple[Task, Refusal | None]:
        task = batch.get(task_id)
        assert task is not None
        opened, refusal = task.open_attempt(batch.now, policy, "bridge")
        batch.put(opened)
        return opened, refusal

    outcome, _ = await store.change([task_id], decide)
    return outcome


async def queued(store: TaskStore, count: int) -> list[Submission]:
    """Tasks whose messages the relay has published, one after the other."""
    drafts = [submission() for _ in range(count)]
    for draft in drafts:
        await store.submit([draft])
    await empty_outbox(store)
    return drafts


async def empty_outbox(store: TaskStore) -> None:
    if isinstance(store, MemoryTaskStore):
        store.outbox.clear()
    else:
        assert isinstance(store, PostgresUnderTest)
        await store.empty_outbox()


class TestSubmit:
    async def test_gives_each_submission_its_task_in_order(self, store: TaskStore) -> None:
        wanted = [submission() for _ in range(5)]
        stored = await store.submit(wanted)
        assert [found.task.task_id for found in stored] == [draft.task_id for draft in wanted]
        assert all(found.created for found in stored)
        [first, *_] = stored
        assert first.task.timeout_time - first.task.submitted_time == timedelta(hours=1)
        assert await store.find(wanted[0].organisation_id, wanted[0].task_id) == first.task

    async def test_gives_the_stored_task_for_a_known_key(self, store: TaskStore) -> None:
        first = submission()
        [stored] = await store.submit([first])
        again = replace(submission(), organisation_id=first.organisation_id)
        again = replace(again, idempotency_key=first.idempotency_key, fingerprint=b"x" * 32)
        [found] = await store.submit([again])
        assert found == replace(stored, created=False, outbox_id=None)

    async def test_keeps_the_keys_of_organisations_apart(self, store: TaskStore) -> None:
        stored = await store.submit([submission(key="same"), submission(key="same")])
        assert [found.created for found in stored] == [True, True]

    async def test_stores_one_of_several_with_one_key(self, store: TaskStore) -> None:
        owner = new_identifier()
        same = [submission(organisation_id=owner, key="same") for _ in range(3)]
        stored = await store.submit([*same, submission(organisation_id=owner)])
        assert [found.created for found in stored] == [True, False, False, True]
        assert len({found.task.task_id for found in stored}) == 2

    async def test_stores_one_of_ten_concurrent_ones_with_one_key(self, store: TaskStore) -> None:
        owner = new_identifier()
        calls = [
            store.submit(
                [
                    submission(organisation_id=owner, key=key)
                    for key in (("a", "b") if i % 2 else ("b", "a"))
                ]
            )
            for i in range(10)
        ]
        stored = [found for answer in await asyncio.gather(*calls) for found in answer]
        assert sum(found.created for found in stored) == 2
        assert len({found.task.task_id for found in stored}) == 2


class TestPayloadPart:
    async def test_gives_the_bytes_from_an_offset_on_and_the_size_of_the_whole(
        self, store: TaskStore
    ) -> None:
        draft = submission(payload=Body(Encoding.ZSTD, bytes(range(256)) * 300))
        [stored] = await store.submit([draft])
        whole = draft.payload.data
        for offset, size in ((0, 10), (76_795, 10), (76_800, 10), (0, 100_000)):
            part = PayloadPart(whole[offset : offset + size], len(whole))
            found = await store.payload_part(draft.task_id, offset, size)
            assert found == (stored.task, part)

    async def test_of_no_task_is_none(self, store: TaskStore) -> None:
        assert await store.payload_part(new_identifier(), 0, 10) is None


class TestChange:
    async def test_stores_every_member_of_a_task(self, store: TaskStore) -> None:
        draft = submission()
        await store.submit([draft])
        await open_attempt(store, draft.task_id)
        failure = Failure("INFEASIBLE", "no “plan” \\ in slot 3", (Violation("a", "b", "c"),))
        progress = Progress(0.25, "solve", objective=-1.5, bound=-2.5)

        def fail(batch: Batch) -> Task:
            task = batch.get(draft.task_id)
            assert task is not None
            reported = task.report(1, progress)
            failed, refusal = reported.end_attempt(1, end(Failed(failure)), batch.now, POLICY)
            assert refusal is None
            batch.put(failed)
            return failed

        decided, changed = await store.change([draft.task_id], fail)
        found = await store.find(draft.organisation_id, draft.task_id)
        assert found == decided
        assert changed == [found]
        assert found is not None
        assert (found.failure, found.progress) == (failure, progress)

    async def test_sees_its_own_changes_and_passes_over_the_unknown(self, store: TaskStore) -> None:
        draft = submission()
        await store.submit([draft])
        unknown = new_identifier()

        def decide(batch: Batch) -> None:
            assert batch.get(unknown) is None
            task = batch.get(draft.task_id)
            assert task is not None
            opened, _ = task.open_attempt(batch.now, POLICY, "bridge")
            batch.put(opened)
            assert batch.get(draft.task_id) == opened
            batch.put(opened)

        _, changed = await store.change([draft.task_id, unknown, draft.task_id], decide)
        assert [task.attempt_count for task in changed] == [1]

    async def test_changes_nothing_when_the_decision_fails(self, store: TaskStore) -> None:
        draft = submission()
        [stored] = await store.submit([draft])

        def decide(batch: Batch) -> None:
            batch.put(stored.task.open_attempt(batch.now, POLICY, "bridge")[0])
            raise LookupError

        with pytest.raises(LookupError):
            await store.change([draft.task_id], decide)
        assert await store.find(draft.organisation_id, draft.task_id) == stored.task

    async def test_gives_the_lease_to_one_of_many(self, store: TaskStore) -> None:
        draft = submission()
        await store.submit([draft])
        outcomes = await asyncio.gather(*(open_attempt(store, draft.task_id) for _ in range(8)))
        assert [refusal for _, refusal in outcomes].count(None) == 1

    async def test_stores_a_result_with_its_task(self, store: TaskStore) -> None:
        draft = submission()
        await store.submit([draft])
        await open_attempt(store, draft.task_id)
        assert await store.find_result(draft.organisation_id, draft.task_id) is None

        def succeed(batch: Batch) -> None:
            task = batch.get(draft.task_id)
            assert task is not None
            batch.put(task.end_attempt(1, end(), batch.now, POLICY)[0], PROBE_RESULT)

        [task] = (await store.change([draft.task_id], succeed))[1]
        found = await store.find_result(draft.organisation_id, draft.task_id)
        assert found == (task, PROBE_RESULT)
        assert await store.find_result(new_identifier(), draft.task_id) is None


class TestReplay:
    async def test_computes_the_input_of_a_failed_task_once_more(self, store: TaskStore) -> None:
        draft = submission(timeout_s=60)
        await store.submit([draft])
        await open_attempt(store, draft.task_id)
        failed = await fail(store, draft.task_id)
        await empty_outbox(store)
        [first] = await store.replay({draft.task_id: new_identifier()})
        [second] = await store.replay({draft.task_id: new_identifier()})
        assert first.task is not None
        assert (first.original, first.created) == (failed, True)
        assert second == replace(first, created=False)
        new = first.task
        assert (new.replay_of, new.attempt_count, new.state) == (draft.task_id, 0, TaskState.QUEUED)
        assert (new.organisation_id, new.kind, new.engine_choice, new.label) == (
            failed.organisation_id,
            failed.kind,
            failed.engine_choice,
            failed.label,
        )
        assert new.timeout_time - new.submitted_time == timedelta(seconds=60)
        assert new.submitted_time > failed.submitted_time
        assert await store.find(draft.organisation_id, new.task_id) == new
        assert await store.find(draft.organisation_id, draft.task_id) == failed

    async def test_is_one_task_however_many_ask_at_once(self, store: TaskStore) -> None:
        draft = submission()
        await store.submit([draft])
        await open_attempt(store, draft.task_id)
        await fail(store, draft.task_id)
        calls = [store.replay({draft.task_id: new_identifier()}) for _ in range(8)]
        answers = [answer for [answer] in await asyncio.gather(*calls)]
        assert sum(answer.created for answer in answers) == 1
        assert len({answer.task and answer.task.task_id for answer in answers}) == 1

    async def test_leaves_alone_what_has_not_failed(self, store: TaskStore) -> None:
        draft, unknown = submission(), new_identifier()
        [submitted] = await store.submit([draft])
        wanted = {draft.task_id: new_identifier(), unknown: new_identifier()}
        assert await store.replay(wanted) == [
            Replayed(submitted.task, None, created=False),
            Replayed(None, None, created=False),
        ]


async def fail(store: TaskStore, task_id: str) -> Task:
    """Ends the first attempt with a failure."""

    def decide(batch: Batch) -> Task:
        task = batch.get(task_id)
        assert task is not None
        failed, refusal = task.end_attempt(
            1, end(Failed(Failure("SOLVER_FAILED", "for the test"))), batch.now, POLICY
        )
        assert refusal is None
        batch.put(failed)
        return failed

    failed, _ = await store.change([task_id], decide)
    return failed


class TestFind:
    async def test_hides_what_another_organisation_owns(self, store: TaskStore) -> None:
        draft = submission()
        await store.submit([draft])
        assert await store.find(new_identifier(), draft.task_id) is None


class TestListPage:
    async def test_goes_through_all_tasks_once_newest_first(self, store: TaskStore) -> None:
        owner = new_identifier()
        for size in (1, 3, 1):
            await store.submit([submission(organisation_id=owner) for _ in range(size)])
        await store.submit([submission()])
        seen: list[Task] = []
        before = None
        while page := await store.list_page(
            owner, before=before, site_id=None, state=None, limit=2
        ):
            seen += page
            before = Cursor(page[-1].submitted_time, page[-1].task_id)
        positions = [(task.submitted_time, task.task_id) for task in seen]
        assert len(positions) == 5
        assert positions == sorted(set(positions), reverse=True)

    async def test_filters_by_site_and_state(self, store: TaskStore) -> None:
        owner, site_id = new_identifier(), new_identifier()
        here = [replace(submission(organisation_id=owner), site_id=site_id) for _ in range(2)]
        await store.submit([*here, submission(organisation_id=owner)])
        await open_attempt(store, here[0].task_id)
        found = await store.list_page(
            owner, before=None, site_id=site_id, state=TaskState.RUNNING, limit=10
        )
        assert [task.task_id for task in found] == [here[0].task_id]


class TestDue:
    """With delays of zero, what would be due later is due at once."""

    SILENT_AT_ONCE = replace(POLICY, lease_duration=AT_ONCE, reclaim_delay=AT_ONCE)
    LOST_AT_ONCE = replace(POLICY, republish_delay=AT_ONCE)

    async def test_finds_nothing_while_all_is_well(self, store: TaskStore) -> None:
        drafts = await queued(store, 2)
        await open_attempt(store, drafts[0].task_id)
        assert await store.due(POLICY, 10) == []

    async def test_finds_a_task_that_is_late(self, store: TaskStore) -> None:
        draft = submission(timeout_s=1e-6)
        await store.submit([draft, submission()])
        assert await store.due(POLICY, 10) == [draft.task_id]

    async def test_finds_a_lease_that_lapsed(self, store: TaskStore) -> None:
        drafts = await queued(store, 2)
        await open_attempt(store, drafts[0].task_id, self.SILENT_AT_ONCE)
        assert await store.due(self.SILENT_AT_ONCE, 10) == [drafts[0].task_id]

    async def test_finds_a_lease_from_before_the_clock_was_set_back(self, store: TaskStore) -> None:
        [draft] = await queued(store, 1)
        await open_attempt(store, draft.task_id)
        brief = replace(POLICY, lease_duration=timedelta(seconds=5))
        assert await store.due(brief, 10) == [draft.task_id]

    async def test_finds_waiting_tasks_when_nothing_is_running(self, store: TaskStore) -> None:
        drafts = await queued(store, 2)
        assert await store.due(self.LOST_AT_ONCE, 10) == [draft.task_id for draft in drafts]

    async def test_finds_a_task_that_was_overtaken(self, store: TaskStore) -> None:
        drafts = await queued(store, 3)
        await open_attempt(store, drafts[1].task_id)
        assert await store.due(self.LOST_AT_ONCE, 10) == [drafts[0].task_id]

    async def test_leaves_a_long_queue_alone(self, store: TaskStore) -> None:
        drafts = await queued(store, 3)
        await open_attempt(store, drafts[0].task_id)
        assert await store.due(self.LOST_AT_ONCE, 10) == []

    async def test_leaves_alone_what_the_relay_has_not_published(self, store: TaskStore) -> None:
        await store.submit([submission()])
        assert await store.due(self.LOST_AT_ONCE, 10) == []

    async def test_leaves_alone_what_was_published_again_just_now(self, store: TaskStore) -> None:
        [draft] = await queued(store, 1)

        def republish(batch: Batch) -> None:
            [task] = batch.tasks
            batch.put(task.republish(batch.now, self.LOST_AT_ONCE))

        [task] = (await store.change([draft.task_id], republish))[1]
        assert task.publish_count == 2
        await empty_outbox(store)
        assert await store.due(POLICY, 10) == []
        assert await store.due(self.LOST_AT_ONCE, 10) == [draft.task_id]

    async def test_gives_no_more_than_asked_for(self, store: TaskStore) -> None:
        await store.submit([submission(timeout_s=1e-6) for _ in range(5)])
        assert len(await store.due(POLICY, 3)) == 3


class TestExpireIdempotencyKeys:
    async def test_keeps_the_keys_of_today(self, store: TaskStore) -> None:
        draft = submission()
        await store.submit([draft])
        assert await store.expire_idempotency_keys() == 0
        [again] = await store.submit([draft])
        assert not again.created
