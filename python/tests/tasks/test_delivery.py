"""What the bridge does with attempts, on fakes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar
from uuid import uuid4

import msgspec
import pytest
import zstandard

from gridpact.contracts.errors import Reason
from gridpact.kit.background import running
from gridpact.kit.errors import GridpactError
from gridpact.kit.identifiers import new_identifier
from gridpact.tasks.contract import GeneratedContract
from gridpact.tasks.delivery import PART_BYTES, Answer, Delivery, Ending, Lease, Opening, Report
from gridpact.tasks.domain import (
    Body,
    Cancelled,
    EarlyStart,
    Encoding,
    Failed,
    Failure,
    HandedBack,
    Progress,
    Refusal,
    Succeeded,
    Task,
    TaskState,
)
from gridpact.tasks.ports import Batch
from gridpact.tasks.sweeper import Sweeper
from tests.tasks.examples import POLICY, PROBE_INPUT, PROBE_RESULT, end, submission
from tests.tasks.fakes import MemoryTaskStore, RecordedEvents

Decided = TypeVar("Decided")


class Bridge:
    """The use cases of the bridge and what they stand on."""

    def __init__(self) -> None:
        self.store = MemoryTaskStore()
        self.events = RecordedEvents()
        self.delivery = Delivery(self.store, GeneratedContract(), self.events, POLICY)
        self.sweeper = Sweeper(self.store, self.events, POLICY)

    async def queued(self) -> str:
        [submitted] = await self.store.submit([submission()])
        self.store.outbox.clear()
        return submitted.task.task_id

    async def running(self) -> str:
        task_id = await self.queued()
        await self.delivery.open_attempts([Opening(task_id, "bridge")])
        return task_id

    def state(self, task_id: str) -> TaskState:
        return self.store.tasks[task_id].state


class SlowStore(MemoryTaskStore):
    """Has committed some time before it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.committed = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def change(
        self, task_ids: Sequence[str], decide: Callable[[Batch], Decided]
    ) -> tuple[Decided, list[Task]]:
        answer = await super().change(task_ids, decide)
        self.committed.set()
        await self.may_answer.wait()
        return answer


class SweptStore(MemoryTaskStore):
    """Says when the first sweep is over: what a sweeper does after it."""

    def __init__(self) -> None:
        super().__init__()
        self.swept = asyncio.Event()

    async def expire_idempotency_keys(self) -> int:
        self.swept.set()
        return await super().expire_idempotency_keys()


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


def reasons(answers: list[Answer]) -> list[str | None]:
    return [answer.refusal and answer.refusal.reason for answer in answers]


class TestOpenAttempts:
    async def test_answers_each_item_in_order(self, bridge: Bridge) -> None:
        done, free, taken = await bridge.running(), await bridge.queued(), await bridge.running()
        await bridge.delivery.complete_attempts([Ending(done, 1, end())])
        unknown = new_identifier()
        answers = await bridge.delivery.open_attempts(
            [Opening(task_id, "b") for task_id in (unknown, done, free, "no id", taken, free)]
        )
        assert reasons(answers) == [
            "NOT_FOUND", "TASK_TERMINAL", None, "NOT_FOUND", "LEASE_HELD", "LEASE_HELD"
        ]  # fmt: skip
        opened = answers[2].task
        assert opened is not None
        assert (opened.fencing_token, opened.bridge_id) == (1, "b")
        assert answers[2].now is not None
        left = opened.timeout_time - answers[2].now
        assert timedelta(minutes=59) < left <= timedelta(hours=1)

    @pytest.mark.parametrize(
        ("age", "least", "most"),
        [
            (timedelta(0), timedelta(milliseconds=5), timedelta(seconds=5)),
            (timedelta(seconds=2), timedelta(seconds=2), timedelta(seconds=5)),
            (timedelta(seconds=20), timedelta(seconds=5), timedelta(seconds=5)),
            (timedelta(hours=1), timedelta(0), timedelta(0)),
            (timedelta(hours=-1), timedelta(0), timedelta(0)),
            (None, timedelta(0), timedelta(0)),
        ],
    )
    async def test_says_how_long_to_wait_for_a_task_that_may_yet_be_committed(
        self, bridge: Bridge, age: timedelta | None, least: timedelta, most: timedelta
    ) -> None:
        """A message comes before its task; ids tell how old they are. Later and later, so that
        one that was never committed is not asked for often."""
        made_ms = int((time.time() - age.total_seconds()) * 1000) if age is not None else 0
        task_id = f"{made_ms >> 16:08x}-{made_ms & 0xFFFF:04x}-7000-8000-000000000000"
        if age is None:
            task_id = str(uuid4())
        start = EarlyStart("bridge", timedelta(0))
        answers = [
            *await bridge.delivery.open_attempts([Opening(task_id, "bridge")]),
            *await bridge.delivery.complete_attempts([Ending(task_id, 1, end(), start)]),
        ]
        assert reasons(answers) == ["NOT_FOUND", "NOT_FOUND"]
        for answer in answers:
            assert answer.refusal is not None
            assert least <= answer.refusal.retry_after <= most

    async def test_knows_what_will_never_be_there(self, bridge: Bridge) -> None:
        task_id = new_identifier()
        bridge.store.turned_down.add(task_id)
        [answer] = await bridge.delivery.open_attempts([Opening(task_id, "bridge")])
        assert answer.refusal == Refusal("NOT_FOUND")

    async def test_opens_what_was_begun_early_unless_there_was_another_attempt(
        self, bridge: Bridge
    ) -> None:
        first, second = await bridge.queued(), await bridge.running()
        await bridge.delivery.complete_attempts(
            [Ending(second, 1, end(HandedBack("WORKER_LOST", "it died")))]
        )
        answers = await bridge.delivery.open_attempts(
            [Opening(task_id, "bridge", begun_early=True) for task_id in (first, second)]
        )
        assert reasons(answers) == [None, "LEASE_STALE"]
        assert bridge.state(second) is TaskState.QUEUED

    async def test_announces_what_changed(self, bridge: Bridge) -> None:
        task_id = await bridge.running()
        assert bridge.events.tasks == [bridge.store.tasks[task_id]]


class TestFetchPayload:
    async def test_gives_it_in_parts_to_the_holder_of_the_lease(self, bridge: Bridge) -> None:
        task_id = await bridge.running()
        payload = bytes(range(256)) * (2 * PART_BYTES // 256 + 1)
        bridge.store.payloads[task_id] = Body(Encoding.ZSTD, payload)
        parts: list[bytes] = []
        while sum(map(len, parts)) < len(payload):
            offset = sum(map(len, parts))
            part = await bridge.delivery.fetch_payload(Lease(task_id, 1), offset)
            assert part.total_bytes == len(payload)
            parts.append(part.data)
        assert b"".join(parts) == payload
        assert [len(part) for part in parts] == [PART_BYTES, PART_BYTES, 256]

    @pytest.mark.parametrize(
        ("token", "offset", "reason"),
        [
            (0, 0, Reason.LEASE_STALE),
            (2, 0, Reason.LEASE_STALE),
            (1, -1, Reason.INVALID_ARGUMENT),
            (1, len(PROBE_INPUT), Reason.INVALID_ARGUMENT),
        ],
    )
    async def test_refuses_others_and_offsets_outside(
        self, bridge: Bridge, token: int, offset: int, reason: Reason
    ) -> None:
        lease = Lease(await bridge.running(), token)
        with pytest.raises(GridpactError) as refused:
            await bridge.delivery.fetch_payload(lease, offset)
        assert refused.value.reason is reason

    @pytest.mark.parametrize("task_id", [new_identifier(), "no-id"])
    async def test_refuses_tasks_that_are_not_there(self, bridge: Bridge, task_id: str) -> None:
        with pytest.raises(GridpactError) as refused:
            await bridge.delivery.fetch_payload(Lease(task_id, 1), 0)
        assert refused.value.reason is Reason.NOT_FOUND

    async def test_says_that_a_payload_is_lost(self, bridge: Bridge) -> None:
        task_id = await bridge.running()
        del bridge.store.payloads[task_id]
        with pytest.raises(GridpactError) as refused:
            await bridge.delivery.fetch_payload(Lease(task_id, 1), 0)
        assert refused.value.reason is Reason.PAYLOAD_LOST


class TestRenewLeases:
    async def test_renews_the_newest_and_tells_of_a_wish_to_cancel(self, bridge: Bridge) -> None:
        task_id = await bridge.running()
        task = bridge.store.tasks[task_id]
        bridge.store.tasks[task_id] = task.request_cancel(bridge.store.now)[0]
        bridge.store.now += timedelta(seconds=5)
        answers = await bridge.delivery.renew_leases(
            [Lease(task_id, 1), Lease(task_id, 2), Lease(new_identifier(), 1)]
        )
        assert reasons(answers) == [None, "LEASE_STALE", "LEASE_STALE"]
        renewed = answers[0].task
        assert renewed is not None
        assert renewed.cancel_requested
        assert renewed.lease_end_time == bridge.store.now + POLICY.lease_duration


class TestReportProgress:
    async def test_keeps_the_newest_and_drops_the_stale(self, bridge: Bridge) -> None:
        task_id = await bridge.running()
        newest = Progress(0.5, "solve", objective=12.5, bound=12.25, relative_gap=0.02)
        await bridge.delivery.report_progress(
            [
                Report(task_id, 1, Progress(0.1, "build")),
                Report(task_id, 1, newest),
                Report(task_id, 9, Progress(0.9, "stale")),
                Report(new_identifier(), 1, Progress(0.9, "unknown")),
            ]
        )
        assert bridge.store.tasks[task_id].progress == newest
        assert bridge.events.tasks[-1].progress == newest


class TestCompleteAttempts:
    async def test_ends_each_task_its_own_way(self, bridge: Bridge) -> None:
        outcomes = [
            (Succeeded(PROBE_RESULT), TaskState.SUCCEEDED),
            (Failed(Failure("INFEASIBLE", "no plan")), TaskState.FAILED),
            (Cancelled("stopped"), TaskState.CANCELLED),
            (HandedBack("NODE_BUSY", "no free worker"), TaskState.QUEUED),
        ]
        task_ids = [await bridge.running() for _ in outcomes]
        answers = await bridge.delivery.complete_attempts(
            [
                Ending(task_id, 1, end(outcome))
                for task_id, (outcome, _) in zip(task_ids, outcomes, strict=True)
            ]
        )
        assert reasons(answers) == [None] * 4
        assert [bridge.state(task_id) for task_id in task_ids] == [state for _, state in outcomes]
        assert bridge.store.results == {task_ids[0]: PROBE_RESULT}

    async def test_tells_what_was_committed_although_the_bridge_has_hung_up(
        self, bridge: Bridge
    ) -> None:
        task_id = await bridge.running()
        store = SlowStore()
        store.tasks = bridge.store.tasks
        delivery = Delivery(store, GeneratedContract(), bridge.events, POLICY)
        call = asyncio.create_task(delivery.complete_attempts([Ending(task_id, 1, end())]))
        await store.committed.wait()
        call.cancel()
        await asyncio.sleep(0)
        store.may_answer.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert bridge.events.tasks[-1].state is TaskState.SUCCEEDED

    async def test_accepts_a_repetition_once_more_and_changes_nothing(self, bridge: Bridge) -> None:
        task_id = await bridge.running()
        await bridge.delivery.complete_attempts([Ending(task_id, 1, end())])
        done, announced = bridge.store.tasks[task_id], len(bridge.events.tasks)
        answers = await bridge.delivery.complete_attempts([Ending(task_id, 1, end())])
        assert reasons(answers) == [None]
        assert bridge.store.tasks[task_id] is done
        assert len(bridge.events.tasks) == announced

    async def test_refuses_the_result_of_an_attempt_that_was_overtaken(
        self, bridge: Bridge
    ) -> None:
        task_id = await bridge.running()
        bridge.store.now += POLICY.lease_duration
        await bridge.delivery.open_attempts([Opening(task_id, "other")])
        answers = await bridge.delivery.complete_attempts(
            [Ending(task_id, 1, end()), Ending(new_identifier(), 1, end())]
        )
        assert reasons(answers) == ["LEASE_STALE", "LEASE_STALE"]
        assert bridge.state(task_id) is TaskState.RUNNING
        assert not bridge.store.results

    @pytest.mark.parametrize(
        ("body", "fault"),
        [
            (Body(Encoding.IDENTITY, b"\xc1"), "cannot be decoded"),
            (Body(Encoding.IDENTITY, msgspec.msgpack.encode({"padding": ""})), "held_ms"),
            (Body(Encoding.ZSTD, PROBE_RESULT.data), "Zstandard"),
            # 8 kB that claim to be 256 MiB.
            (Body(Encoding.ZSTD, zstandard.compress(bytes(256 * 1024 * 1024))), "at most"),
        ],
    )
    async def test_fails_a_task_whose_result_breaks_the_contract(
        self, bridge: Bridge, body: Body, fault: str
    ) -> None:
        task_id = await bridge.running()
        ending = Ending(task_id, 1, end(Succeeded(body)))
        assert reasons(await bridge.delivery.complete_attempts([ending])) == [None]
        task = bridge.store.tasks[task_id]
        assert task.failure is not None
        assert (task.state, task.failure.reason) == (TaskState.FAILED, "INTERNAL")
        assert fault in task.failure.message
        assert not bridge.store.results
        assert reasons(await bridge.delivery.complete_attempts([ending])) == [None]


class TestSweep:
    async def test_ends_a_task_that_is_late(self, bridge: Bridge) -> None:
        task_ids = [await bridge.queued(), await bridge.running()]
        bridge.store.now += timedelta(hours=1)
        await bridge.sweeper.sweep()
        for task_id in task_ids:
            failure = bridge.store.tasks[task_id].failure
            assert failure is not None
            assert failure.reason == "TASK_TIMEOUT"
        assert bridge.events.tasks[-2:] == [bridge.store.tasks[task_id] for task_id in task_ids]

    async def test_lets_attempts_that_outlived_an_outage_renew_first(self, bridge: Bridge) -> None:
        task_id = await bridge.running()
        bridge.store.now += timedelta(minutes=5)
        brief = replace(POLICY, lease_duration=timedelta(milliseconds=100))
        store = SweptStore()
        store.tasks, store.now = bridge.store.tasks, bridge.store.now
        async with running(Sweeper(store, bridge.events, brief).run(), "sweeper"):
            await asyncio.sleep(0)
            await bridge.delivery.renew_leases([Lease(task_id, 1)])
            await store.swept.wait()
        assert bridge.state(task_id) is TaskState.RUNNING

    async def test_publishes_again_what_seems_lost(self, bridge: Bridge) -> None:
        waiting, silent = await bridge.queued(), await bridge.running()
        assert await bridge.sweeper.sweep() == []
        bridge.store.now += timedelta(seconds=45)
        await bridge.sweeper.sweep()
        assert bridge.store.outbox == [silent]
        # With the silent one back in the queue nothing is running: the other one is lost too.
        await bridge.sweeper.sweep()
        assert bridge.store.outbox == [silent, waiting]
        await bridge.sweeper.sweep()
        assert bridge.store.outbox == [silent, waiting]


class TestReplay:
    async def test_makes_one_new_task_of_one_that_failed(self, bridge: Bridge) -> None:
        task_id = await bridge.running()
        failed = Failed(Failure("SOLVER_FAILED", "for the test"))
        await bridge.delivery.complete_attempts([Ending(task_id, 1, end(failed))])
        [first] = await bridge.delivery.replay([task_id])
        [again] = await bridge.delivery.replay([task_id])
        assert first.refusal is None
        assert first.task is not None
        assert again.task == first.task == bridge.events.tasks[-1]
        assert (first.task.state, first.task.replay_of) == (TaskState.QUEUED, task_id)
        assert bridge.store.outbox == [first.task.task_id]
        assert bridge.state(task_id) is TaskState.FAILED

    async def test_refuses_what_has_not_failed_or_is_not_there(self, bridge: Bridge) -> None:
        queued, unknown = await bridge.queued(), new_identifier()
        answers = await bridge.delivery.replay([queued, unknown, "no identifier", queued])
        assert reasons(answers) == ["TASK_NOT_FAILED", "NOT_FOUND", "NOT_FOUND", "TASK_NOT_FAILED"]
        assert bridge.store.outbox == []
