"""gridpact.tasks.v1.TasksService: decode, call, encode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from gridpact.contracts.proto.gridpact.tasks.v1 import (
    CancelTaskRequest,
    CancelTaskResponse,
    GetTaskRequest,
    GetTaskResponse,
    GetTaskResultRequest,
    GetTaskResultResponse,
    ListTasksRequest,
    ListTasksResponse,
    SubmitTaskRequest,
    SubmitTaskResponse,
    SubmitTasksRequest,
    SubmitTasksResponse,
    SubmittedTask,
    TasksServiceBase,
)
from gridpact.contracts.proto.gridpact.tasks.v1 import Encoding as EncodingMessage
from gridpact.contracts.proto.gridpact.tasks.v1 import Task as TaskMessage
from gridpact.contracts.proto.gridpact.tasks.v1 import TaskFailure as FailureMessage
from gridpact.contracts.proto.gridpact.tasks.v1 import TaskProgress as ProgressMessage
from gridpact.contracts.proto.gridpact.tasks.v1 import TaskState as StateMessage
from gridpact.contracts.proto.gridpact.tasks.v1 import Violation as ViolationMessage
from gridpact.kit.caller import Access, caller
from gridpact.kit.errors import GridpactError
from gridpact.kit.pages import checked_page_size
from gridpact.kit.violation import Violation
from gridpact.tasks.domain import Body, Encoding, Failure, Progress, Task, TaskState
from gridpact.tasks.ports import Request, Submitted
from gridpact.tasks.service import TaskService

ENCODINGS = {Encoding.IDENTITY: EncodingMessage.IDENTITY, Encoding.ZSTD: EncodingMessage.ZSTD}

_ENCODINGS = {message: encoding for encoding, message in ENCODINGS.items()}

_STATES = {
    TaskState.QUEUED: StateMessage.QUEUED,
    TaskState.RUNNING: StateMessage.RUNNING,
    TaskState.SUCCEEDED: StateMessage.SUCCEEDED,
    TaskState.FAILED: StateMessage.FAILED,
    TaskState.CANCELLED: StateMessage.CANCELLED,
}

_DEFAULT_TIMEOUT_S = 3600.0

_MAX_ITEMS = 256


class TasksRpc(TasksServiceBase):
    """The service of a task's owner."""

    ACCESS: ClassVar[Mapping[str, Access]] = {
        "SubmitTask": Access.OPERATOR,
        "SubmitTasks": Access.OPERATOR,
        "GetTask": Access.VIEWER,
        "ListTasks": Access.VIEWER,
        "CancelTask": Access.OPERATOR,
        "GetTaskResult": Access.VIEWER,
    }

    def __init__(self, service: TaskService) -> None:
        self._service = service

    async def submit_task(self, message: SubmitTaskRequest) -> SubmitTaskResponse:
        submitted = await self._service.submit(caller().organisation_id, _request(message))
        return SubmitTaskResponse(task=_task(submitted.task), created=submitted.created)

    async def submit_tasks(self, message: SubmitTasksRequest) -> SubmitTasksResponse:
        check_count("tasks", message.tasks)
        outcomes = await self._service.submit_all(
            caller().organisation_id, [_request(each) for each in message.tasks]
        )
        return SubmitTasksResponse(tasks=[_submitted(outcome) for outcome in outcomes])

    async def get_task(self, message: GetTaskRequest) -> GetTaskResponse:
        task = await self._service.get(caller().organisation_id, message.task_id)
        return GetTaskResponse(task=_task(task))

    async def list_tasks(self, message: ListTasksRequest) -> ListTasksResponse:
        tasks, next_cursor = await self._service.list_page(
            caller().organisation_id,
            cursor=message.cursor,
            site_id=message.site_id or None,
            state=_wanted_state(message.state),
            page_size=checked_page_size(message.page_size),
        )
        return ListTasksResponse(tasks=[_task(task) for task in tasks], next_cursor=next_cursor)

    async def cancel_task(self, message: CancelTaskRequest) -> CancelTaskResponse:
        task = await self._service.cancel(caller().organisation_id, message.task_id)
        return CancelTaskResponse(task=_task(task))

    async def get_task_result(self, message: GetTaskResultRequest) -> GetTaskResultResponse:
        task, body = await self._service.get_result(caller().organisation_id, message.task_id)
        return GetTaskResultResponse(
            task=_task(task), encoding=ENCODINGS[body.encoding], result=body.data
        )


def check_count(field: str, items: Sequence[object]) -> None:
    """Refuses a batch that is empty or has more items than one may have."""
    if not 1 <= len(items) <= _MAX_ITEMS:
        words = f"must have 1 to {_MAX_ITEMS} items; it has {len(items)}"
        raise GridpactError.invalid([Violation(field, "items", words)])


def _request(message: SubmitTaskRequest) -> Request:
    return Request(
        idempotency_key=message.idempotency_key,
        kind=message.kind,
        input=Body(_input_encoding(message), message.input),
        engine_choice=message.engine_choice or "auto",
        site_id=message.site_id or None,
        label=message.label or None,
        timeout_s=message.timeout_s or _DEFAULT_TIMEOUT_S,
    )


def _input_encoding(message: SubmitTaskRequest) -> Encoding:
    if message.input_encoding == EncodingMessage.UNSPECIFIED:
        return Encoding.IDENTITY
    encoding = _ENCODINGS.get(message.input_encoding)
    if encoding is None:
        words = "must be UNSPECIFIED, IDENTITY or ZSTD"
        raise GridpactError.invalid([Violation("input_encoding", "enum", words)])
    return encoding


def _submitted(outcome: Submitted | GridpactError) -> SubmittedTask:
    if isinstance(outcome, Submitted):
        return SubmittedTask(task_id=outcome.task.task_id, created=outcome.created)
    refusal = Failure(outcome.reason, outcome.message, outcome.violations)
    return SubmittedTask(refusal=_failure(refusal))


def _wanted_state(message: StateMessage) -> TaskState | None:
    if message == StateMessage.UNSPECIFIED:
        return None
    for state, known in _STATES.items():
        if message == known:
            return state
    raise GridpactError.invalid([Violation("state", "enum", "must be a state that there is")])


def _task(task: Task) -> TaskMessage:
    return TaskMessage(
        task_id=task.task_id,
        kind=task.kind,
        engine_choice=task.engine_choice,
        state=_STATES[task.state],
        site_id=task.site_id or "",
        label=task.label or "",
        attempt_count=task.attempt_count,
        cancel_requested=task.cancel_requested,
        progress=_progress(task.progress) if task.progress else None,
        submitted_time=task.submitted_time,
        started_time=task.started_time,
        finished_time=task.finished_time,
        engine=task.engine or "",
        engine_version=task.engine_version or "",
        solve_ms=task.solve_ms,
        failure=_failure(task.failure) if task.failure else None,
        replay_of=task.replay_of or "",
    )


def _progress(progress: Progress) -> ProgressMessage:
    return ProgressMessage(
        fraction=progress.fraction,
        stage=progress.stage,
        objective=progress.objective,
        bound=progress.bound,
        relative_gap=progress.relative_gap,
    )


def _failure(failure: Failure) -> FailureMessage:
    return FailureMessage(
        reason=failure.reason,
        message=failure.message,
        violations=[
            ViolationMessage(field=found.field, rule=found.rule, message=found.message)
            for found in failure.violations
        ],
    )
