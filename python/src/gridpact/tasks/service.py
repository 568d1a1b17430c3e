"""What the owner of a task does with it. Everything acts within one organisation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import msgspec

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError, not_found
from gridpact.kit.group_commit import GroupCommit
from gridpact.kit.identifiers import is_identifier, new_identifier
from gridpact.kit.pages import Cursor
from gridpact.kit.trace import traceparent
from gridpact.kit.uninterrupted import uninterrupted
from gridpact.kit.violation import ContractError, Violation
from gridpact.tasks.domain import Body, Encoding, Task, TaskState
from gridpact.tasks.ports import (
    Batch,
    Events,
    PackedInput,
    Queue,
    Request,
    Sites,
    Submission,
    Submitted,
    TaskContract,
    TaskStore,
)

# What one transaction of submitted tasks may hold.
_GROUP_COUNT = 256
_GROUP_BYTES = 16 * 1024 * 1024


class TaskService:
    """The use cases of gridpact.tasks.v1.TasksService."""

    def __init__(
        self, store: TaskStore, contract: TaskContract, sites: Sites, queue: Queue, events: Events
    ) -> None:
        self._store = store
        self._contract = contract
        self._sites = sites
        self._queue = queue
        self._events = events
        self._submissions: GroupCommit[Submission, Submitted] = GroupCommit(
            self._submit_and_tell,
            weight=lambda submission: len(submission.payload.data),
            max_count=_GROUP_COUNT,
            max_weight=_GROUP_BYTES,
        )

    async def submit(self, organisation_id: str, request: Request) -> Submitted:
        """Stores a task and queues it; gives the stored one when the key names it already.

        INVALID_ARGUMENT, MESSAGE_MALFORMED or MESSAGE_TOO_LARGE for the request, NOT_FOUND for its
        site, IDEMPOTENCY_KEY_REUSED when the key names another request.
        """
        submission = await self._submission(organisation_id, request)
        return _of_this_request(submission, await self._submissions.add(submission))

    async def submit_all(
        self, organisation_id: str, requests: Sequence[Request]
    ) -> list[Submitted | GridpactError]:
        """Submits many at once, in one transaction; each has what ``submit`` gives or raises."""
        outcomes: dict[int, Submitted | GridpactError] = {}
        submissions: dict[int, Submission] = {}
        for i, request in enumerate(requests):
            try:
                submissions[i] = await self._submission(organisation_id, request)
            except GridpactError as error:
                outcomes[i] = error
        if submissions:
            submitted = await uninterrupted(self._submit_and_tell([*submissions.values()]))
            for (i, submission), each in zip(submissions.items(), submitted, strict=True):
                try:
                    outcomes[i] = _of_this_request(submission, each)
                except GridpactError as error:
                    outcomes[i] = error
        return [outcomes[i] for i in range(len(requests))]

    async def get(self, organisation_id: str, task_id: str) -> Task:
        """The task; NOT_FOUND when the organisation has none of that id."""
        task = await self._store.find(organisation_id, task_id) if is_identifier(task_id) else None
        if task is None:
            raise not_found("task", task_id)
        return task

    async def list_page(
        self,
        organisation_id: str,
        *,
        cursor: str,
        site_id: str | None,
        state: TaskState | None,
        page_size: int,
    ) -> tuple[list[Task], str]:
        """A page, newest first, and the cursor of the next one (empty on the last)."""
        if site_id is not None and not is_identifier(site_id):
            return [], ""
        tasks = await self._store.list_page(
            organisation_id,
            before=Cursor.decode(cursor),
            site_id=site_id,
            state=state,
            limit=page_size + 1,
        )
        if len(tasks) <= page_size:
            return tasks, ""
        last = tasks[page_size - 1]
        return tasks[:page_size], Cursor(last.submitted_time, last.task_id).encode()

    async def cancel(self, organisation_id: str, task_id: str) -> Task:
        """Cancels a task or asks its worker to stop.

        NOT_FOUND when the organisation has none of that id; TASK_NOT_CANCELLABLE when it SUCCEEDED
        or FAILED.
        """

        def decide(batch: Batch) -> Task:
            task = batch.get(task_id)
            if task is None or task.organisation_id != organisation_id:
                raise not_found("task", task_id)
            cancelled, refusal = task.request_cancel(batch.now)
            if refusal is not None:
                words = f"the task has {task.state}"
                raise GridpactError(Reason(refusal.reason), words, state=task.state)
            batch.put(cancelled)
            return cancelled

        if not is_identifier(task_id):
            raise not_found("task", task_id)

        async def cancel_and_tell() -> Task:
            task, changed = await self._store.change([task_id], decide)
            self._events.publish(changed)
            return task

        return await uninterrupted(cancel_and_tell())

    async def get_result(self, organisation_id: str, task_id: str) -> tuple[Task, Body]:
        """A task that SUCCEEDED and its result; RESULT_NOT_READY for any other, or NOT_FOUND."""
        task = await self.get(organisation_id, task_id)
        found = await self._store.find_result(organisation_id, task_id)
        if found is None:
            words = f"the task is {task.state}"
            raise GridpactError(Reason.RESULT_NOT_READY, words, state=task.state)
        return found

    async def _submission(self, organisation_id: str, request: Request) -> Submission:
        packed = self._checked_input(request)
        if request.site_id is not None:
            await self._sites.require(request.site_id)
        same = replace(request, input=Body(Encoding.IDENTITY, packed.digest))
        task_id = new_identifier()
        affinity_key = _affinity_key(organisation_id, request, packed)
        # The clock knows nothing shorter, and a task must not end as it begins.
        timeout = max(timedelta(seconds=request.timeout_s), timedelta.resolution)
        now = self._store.clock()
        return Submission(
            task_id=task_id,
            organisation_id=organisation_id,
            idempotency_key=request.idempotency_key,
            fingerprint=hashlib.sha256(msgspec.msgpack.encode(same)).digest(),
            kind=request.kind,
            engine_choice=request.engine_choice,
            site_id=request.site_id,
            label=request.label,
            timeout=timeout,
            payload=packed.payload,
            message=self._contract.first_message(
                task_id,
                request.kind,
                request.engine_choice,
                packed.payload,
                affinity_key=affinity_key,
                traceparent=traceparent(),
                timeout_time=None if now is None else now + timeout,
            ),
            affinity_key=affinity_key,
        )

    async def _submit_and_tell(self, submissions: Sequence[Submission]) -> list[Submitted]:
        messages = [each.message for each in submissions]
        outbox_ids: dict[str, int] = {}
        try:
            submitted = await self._store.submit(submissions, lambda: self._queue.publish(messages))
            outbox_ids = {
                each.task.task_id: each.outbox_id
                for each in submitted
                if each.outbox_id is not None
            }
        finally:
            self._queue.settle(messages, outbox_ids)
        self._events.publish([each.task for each in submitted if each.created])
        return submitted

    def _checked_input(self, request: Request) -> PackedInput:
        violations = self._contract.check_request(request)
        try:
            if not any(violation.field == "kind" for violation in violations):
                packed = self._contract.pack_input(request.kind, request.input)
                if not violations:
                    return packed
        except ContractError as error:
            if not error.violations:
                raise GridpactError(Reason(error.reason), f"the input: {error.message}") from error
            violations += [_of_input(violation) for violation in error.violations]
        raise GridpactError.invalid(violations)


def _of_this_request(submission: Submission, submitted: Submitted) -> Submitted:
    if submitted.fingerprint != submission.fingerprint:
        task_id = submitted.task.task_id
        words = f"the key was used for another request, which made task {task_id}"
        raise GridpactError(Reason.IDEMPOTENCY_KEY_REUSED, words, task_id=task_id)
    return submitted


def _affinity_key(organisation_id: str, request: Request, packed: PackedInput) -> str | None:
    """What tasks of one organisation and kind share that build on the same model, if any do."""
    model = packed.affinity or request.site_id
    if packed.affinity is None or model is None:
        return None
    # A digest: names may hold what a header may not.
    parts = msgspec.msgpack.encode((organisation_id, request.kind, model))
    return hashlib.sha256(parts).hexdigest()[:32]


def _of_input(violation: Violation) -> Violation:
    field = f"input.{violation.field}" if violation.field else "input"
    return Violation(field, violation.rule, violation.message)
