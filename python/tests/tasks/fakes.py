"""Stand-ins for what the use cases of tasks need. The store passes the suite of the real one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from gridpact.kit.errors import not_found
from gridpact.kit.pages import Cursor
from gridpact.tasks.domain import Body, Policy, Task, TaskState
from gridpact.tasks.ports import (
    Batch,
    PayloadPart,
    QueueMessage,
    Replayed,
    Submission,
    Submitted,
)
from tests.tasks.examples import START

Decided = TypeVar("Decided")


@dataclass
class MemoryBatch:
    """The Batch of a MemoryTaskStore."""

    now: datetime
    loaded: dict[str, Task]
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


class MemoryTaskStore:
    """A TaskStore with a clock of its own, ``now``, which goes on a bit with every call."""

    def __init__(self) -> None:
        self.now = START
        self.tasks: dict[str, Task] = {}
        self.payloads: dict[str, Body] = {}
        self.affinity_keys: dict[str, str | None] = {}
        self.results: dict[str, Body] = {}
        self.keys: dict[tuple[str, str], tuple[str, bytes, datetime]] = {}
        self.outbox: list[str] = []
        self.turned_down: set[str] = set()

    def clock(self) -> datetime | None:
        return self.now

    def has_turned_down(self, task_id: str) -> bool:
        return task_id in self.turned_down

    async def submit(
        self,
        submissions: Sequence[Submission],
        begins: Callable[[], Awaitable[None]] | None = None,
    ) -> list[Submitted]:
        self._tick()
        if begins is not None:
            await begins()
        return [self._submit(submission) for submission in submissions]

    def _submit(self, submission: Submission) -> Submitted:
        key = submission.organisation_id, submission.idempotency_key
        known = self.keys.get(key)
        if known is not None and known[2] > self.now - timedelta(hours=24):
            return Submitted(self.tasks[known[0]], known[1], created=False)
        task = Task(
            task_id=submission.task_id,
            organisation_id=submission.organisation_id,
            kind=submission.kind,
            engine_choice=submission.engine_choice,
            site_id=submission.site_id,
            label=submission.label,
            submitted_time=self.now,
            timeout_time=self.now + submission.timeout,
            queued_time=self.now,
        )
        self.tasks[task.task_id] = task
        self.payloads[task.task_id] = submission.payload
        self.affinity_keys[task.task_id] = submission.affinity_key
        self.keys[key] = task.task_id, submission.fingerprint, self.now
        self.outbox.append(task.task_id)
        outbox_id = len(self.outbox)
        return Submitted(task, submission.fingerprint, created=True, outbox_id=outbox_id)

    async def change(
        self, task_ids: Sequence[str], decide: Callable[[Batch], Decided]
    ) -> tuple[Decided, list[Task]]:
        self._tick()
        loaded = {task_id: self.tasks[task_id] for task_id in task_ids if task_id in self.tasks}
        batch = MemoryBatch(self.now, loaded)
        decided = decide(batch)
        for task in batch.changed.values():
            if task.publish_count > self.tasks[task.task_id].publish_count:
                self.outbox.append(task.task_id)
        self.tasks |= batch.changed
        self.results |= batch.results
        return decided, [*batch.changed.values()]

    async def find(self, organisation_id: str, task_id: str) -> Task | None:
        task = self.tasks.get(task_id)
        return task if task is not None and task.organisation_id == organisation_id else None

    async def payload_part(
        self, task_id: str, offset: int, size: int
    ) -> tuple[Task, PayloadPart | None] | None:
        task, payload = self.tasks.get(task_id), self.payloads.get(task_id)
        if task is None:
            return None
        if payload is None:
            return task, None
        return task, PayloadPart(payload.data[offset : offset + size], len(payload.data))

    async def find_result(self, organisation_id: str, task_id: str) -> tuple[Task, Body] | None:
        task = await self.find(organisation_id, task_id)
        body = self.results.get(task_id)
        return (task, body) if task is not None and body is not None else None

    async def replay(self, task_ids: Mapping[str, str]) -> list[Replayed]:
        self._tick()
        replayed: list[Replayed] = []
        for task_id, new_id in task_ids.items():
            original = self.tasks.get(task_id)
            task = next((it for it in self.tasks.values() if it.replay_of == task_id), None)
            created = task is None and original is not None and original.state is TaskState.FAILED
            if created:
                task = self._once_more(self.tasks[task_id], new_id)
            replayed.append(Replayed(original, task, created))
        return replayed

    def _once_more(self, original: Task, task_id: str) -> Task:
        task = Task(
            task_id=task_id,
            organisation_id=original.organisation_id,
            kind=original.kind,
            engine_choice=original.engine_choice,
            site_id=original.site_id,
            label=original.label,
            submitted_time=self.now,
            timeout_time=self.now + (original.timeout_time - original.submitted_time),
            queued_time=self.now,
            replay_of=original.task_id,
        )
        self.tasks[task_id] = task
        self.payloads[task_id] = self.payloads[original.task_id]
        self.affinity_keys[task_id] = self.affinity_keys[original.task_id]
        self.outbox.append(task_id)
        return task

    async def list_page(
        self,
        organisation_id: str,
        *,
        before: Cursor | None,
        site_id: str | None,
        state: TaskState | None,
        limit: int,
    ) -> list[Task]:
        found = [
            task
            for task in self.tasks.values()
            if task.organisation_id == organisation_id
            and (before is None or _position(task) < (before.time, before.identifier))
            and (site_id is None or task.site_id == site_id)
            and (state is None or task.state is state)
        ]
        return sorted(found, key=_position, reverse=True)[:limit]

    def _tick(self) -> None:
        self.now += timedelta(milliseconds=1)

    async def due(self, policy: Policy, limit: int) -> list[str]:
        self._tick()

        def is_due(task: Task) -> bool:
            swept = task.time_out(self.now).reclaim(self.now, policy)
            return swept != task or self._seems_lost(task, policy)

        return [task.task_id for task in self.tasks.values() if is_due(task)][:limit]

    def _seems_lost(self, task: Task, policy: Policy) -> bool:
        peers = [
            peer
            for peer in self.tasks.values()
            if (peer.engine_choice, peer.kind) == (task.engine_choice, task.kind)
        ]
        overtaken = any(
            peer.attempt_count > 0 and peer.queued_time - task.queued_time >= policy.republish_delay
            for peer in peers
        )
        idle = not any(
            peer.state is TaskState.RUNNING
            or (peer.started_time and self.now - policy.republish_delay <= peer.started_time)
            for peer in self.tasks.values()
        )
        waited = task.republish(self.now, policy) != task
        return waited and (overtaken or idle) and task.task_id not in self.outbox

    async def expire_idempotency_keys(self) -> int:
        kept = {
            key: held for key, held in self.keys.items() if held[2] > self.now - timedelta(hours=24)
        }
        expired = len(self.keys) - len(kept)
        self.keys = kept
        return expired


class RecordedQueue:
    """A Queue that only writes down: what is to be published, and the rows of what is stored."""

    def __init__(self) -> None:
        self.messages: list[QueueMessage] = []
        self.outbox_ids: dict[str, int] = {}
        self.unsettled: set[str] = set()

    async def publish(self, messages: Sequence[QueueMessage]) -> None:
        self.messages += messages
        self.unsettled |= {message.key for message in messages}

    def settle(self, messages: Sequence[QueueMessage], outbox_ids: Mapping[str, int]) -> None:
        self.unsettled -= {message.key for message in messages}
        self.outbox_ids |= outbox_ids


class RecordedEvents:
    """Events that are only written down."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def publish(self, tasks: Sequence[Task]) -> None:
        self.tasks += tasks


class KnownSites:
    """Sites of which some are there."""

    def __init__(self, *site_ids: str) -> None:
        self._site_ids = site_ids

    async def require(self, site_id: str) -> None:
        if site_id not in self._site_ids:
            raise not_found("site", site_id)


def _position(task: Task) -> tuple[datetime, str]:
    return task.submitted_time, task.task_id
