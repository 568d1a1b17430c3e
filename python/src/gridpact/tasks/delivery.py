"""What the bridge does: attempts, leases, progress, ends. Each call is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError, not_found
from gridpact.kit.identifiers import age_of, is_identifier, new_identifier
from gridpact.kit.log import Log
from gridpact.kit.uninterrupted import uninterrupted
from gridpact.kit.violation import Violation
from gridpact.tasks.domain import (
    UNSTORED_MAX,
    AttemptEnd,
    EarlyStart,
    Failed,
    Failure,
    Policy,
    Progress,
    Refusal,
    Succeeded,
    Task,
)
from gridpact.tasks.ports import Batch, Events, PayloadPart, Replayed, TaskContract, TaskStore

log = Log(__name__)

# As contracts/proto/gridpact/tasks/v1/delivery.proto says.
PART_BYTES = 1024 * 1024

# How soon it is worth asking again for a task that may be committed meanwhile.
_FIRST_RETRY = timedelta(milliseconds=5)
_LAST_RETRY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a batch, about one task."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Opening(Item):
    """A delivery that wants the lease of its task; ``begun_early``: for its first attempt only."""

    bridge_id: str
    begun_early: bool = False


@dataclass(frozen=True, slots=True)
class Lease(Item):
    """What an attempt holds."""

    fencing_token: int


@dataclass(frozen=True, slots=True)
class Report(Lease):
    """How far an attempt is."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Ending(Lease):
    """An attempt that is over."""

    end: AttemptEnd
    # Of one that has not been opened.
    early_start: EarlyStart | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one item. ``task`` is the task afterwards, None when there is none."""

    task_id: str
    task: Task | None
    refusal: Refusal | None
    # The store's clock, where it matters for how long the task has left.
    now: datetime | None = None


AnItem = TypeVar("AnItem", bound=Item)
Outcome = TypeVar("Outcome")


class Delivery:
    """The use cases of gridpact.tasks.v1.DeliveryService."""

    def __init__(
        self, store: TaskStore, contract: TaskContract, events: Events, policy: Policy
    ) -> None:
        self._store = store
        self._contract = contract
        self._events = events
        self.policy = policy

    async def open_attempts(self, openings: Sequence[Opening]) -> list[Answer]:
        """Takes the leases of tasks for new attempts."""

        def open_attempt(batch: Batch, opening: Opening) -> Answer:
            task = batch.get(opening.task_id)
            if task is None:
                return Answer(opening.task_id, None, self._not_found(opening.task_id))
            begin = task.open_early_attempt if opening.begun_early else task.open_attempt
            opened, refusal = begin(batch.now, self.policy, opening.bridge_id)
            batch.put(opened)
            return Answer(task.task_id, opened, refusal, batch.now)

        return await self._each(openings, open_attempt)

    async def fetch_payload(self, lease: Lease, offset: int) -> PayloadPart:
        """The part of a payload that begins at ``offset``, for the holder of the task's lease.

        NOT_FOUND, LEASE_STALE or PAYLOAD_LOST; INVALID_ARGUMENT for an offset outside of it.
        """
        task_id = lease.task_id
        found = (
            await self._store.payload_part(task_id, max(offset, 0), PART_BYTES)
            if is_identifier(task_id)
            else None
        )
        if found is None:
            raise not_found("task", task_id)
        task, part = found
        if not task.is_current(lease.fencing_token):
            words, token = "another attempt owns the task", lease.fencing_token
            raise GridpactError(Reason.LEASE_STALE, words, task_id=task_id, fencing_token=token)
        if part is None:
            raise GridpactError(Reason.PAYLOAD_LOST, "the task has no payload", task_id=task_id)
        if not 0 <= offset < part.total_bytes:
            words = f"must be 0 to {part.total_bytes - 1}"
            raise GridpactError.invalid([Violation("offset", "range", words)])
        return part

    async def renew_leases(self, leases: Sequence[Lease]) -> list[Answer]:
        """Extends leases."""

        def renew(batch: Batch, lease: Lease) -> Answer:
            task = batch.get(lease.task_id)
            if task is None:
                return Answer(lease.task_id, None, Refusal("LEASE_STALE"))
            renewed, refusal = task.renew_lease(lease.fencing_token, batch.now, self.policy)
            batch.put(renewed)
            return Answer(task.task_id, renewed, refusal)

        return await self._each(leases, renew, publish=False)

    async def report_progress(self, reports: Sequence[Report]) -> None:
        """Stores and announces progress; stale reports are dropped."""

        def report(batch: Batch, item: Report) -> None:
            task = batch.get(item.task_id)
            if task is not None:
                batch.put(task.report(item.fencing_token, item.progress))

        await self._each(reports, report)

    async def complete_attempts(self, endings: Sequence[Ending]) -> list[Answer]:
        """Ends attempts; a result is stored only when it keeps to its kind's schema."""

        def complete(batch: Batch, ending: Ending) -> Answer:
            task, early = batch.get(ending.task_id), ending.early_start
            if task is None:
                stale = Refusal("LEASE_STALE")
                refusal = stale if early is None else self._not_found(ending.task_id)
                return Answer(ending.task_id, None, refusal)
            end = ending.end
            if task.is_current(ending.fencing_token) or early is not None:
                end = self._with_checked_result(task, end)
            if early is not None:
                ended, refusal = task.end_early_attempt(early, end, batch.now, self.policy)
            else:
                ended, refusal = task.end_attempt(ending.fencing_token, end, batch.now, self.policy)
            result = end.outcome.result if isinstance(end.outcome, Succeeded) else None
            # The end of an attempt that is not current changes nothing.
            batch.put(ended, None if ended is task or refusal is not None else result)
            return Answer(task.task_id, ended, refusal, batch.now)

        return await self._each(endings, complete)

    async def replay(self, task_ids: Sequence[str]) -> list[Answer]:
        """Submits the inputs of tasks that FAILED once more; ``task`` is the new one of each."""
        known = dict.fromkeys(task_id for task_id in task_ids if is_identifier(task_id))

        async def replay_and_tell() -> list[Replayed]:
            found = await self._store.replay({task_id: new_identifier() for task_id in known})
            self._events.publish([each.task for each in found if each.task and each.created])
            return found

        found = dict(zip(known, await uninterrupted(replay_and_tell()), strict=True))
        return [_of_replay(task_id, found.get(task_id)) for task_id in task_ids]

    async def _each(
        self,
        items: Sequence[AnItem],
        decide: Callable[[Batch, AnItem], Outcome],
        *,
        publish: bool = True,
    ) -> list[Outcome]:
        # The bridge takes ids from messages, which anybody with access to the broker can write.
        task_ids = [item.task_id for item in items if is_identifier(item.task_id)]

        async def commit_and_tell() -> list[Outcome]:
            outcomes, changed = await self._store.change(
                task_ids, lambda batch: [decide(batch, item) for item in items]
            )
            if publish:
                self._events.publish(changed)
            return outcomes

        # A bridge that dies hangs up, perhaps just after the commit.
        return await uninterrupted(commit_and_tell())

    def _not_found(self, task_id: str) -> Refusal:
        # Messages are published while their tasks are committed, perhaps by another process.
        age = age_of(task_id)
        if age is None or abs(age) > UNSTORED_MAX or self._store.has_turned_down(task_id):
            return Refusal("NOT_FOUND")
        return Refusal("NOT_FOUND", min(max(age, _FIRST_RETRY), _LAST_RETRY))

    def _with_checked_result(self, task: Task, end: AttemptEnd) -> AttemptEnd:
        if not isinstance(end.outcome, Succeeded):
            return end
        fault = self._contract.fault_of_result(task.kind, end.outcome.result)
        if fault is None:
            return end
        log.error("result-refused", task_id=task.task_id, engine=end.engine, fault=fault)
        words = f"the engine's result breaks its contract: {fault}"
        return replace(end, outcome=Failed(Failure("INTERNAL", words[:4096])))


def _of_replay(task_id: str, replayed: Replayed | None) -> Answer:
    if replayed is None or replayed.original is None:
        return Answer(task_id, None, Refusal("NOT_FOUND"))
    if replayed.task is None:
        return Answer(task_id, None, Refusal("TASK_NOT_FAILED"))
    return Answer(task_id, replayed.task, None)
