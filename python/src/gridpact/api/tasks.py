"""The operations tagged ``tasks``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, cast

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from gridpact.api.answers import answer, json_answer
from gridpact.api.bodies import json_body
from gridpact.api.event_stream import EVENT_STREAM, EventStreams
from gridpact.api.negotiation import answer_as
from gridpact.api.parameters import Cursor, IdempotencyKey, LastEventId, PageSize, TaskId
from gridpact.api.services import Services
from gridpact.contracts import rest
from gridpact.contracts.channels import BODY_BYTES, KINDS, LIMITS
from gridpact.contracts.errors import Reason
from gridpact.contracts.proto.gridpact.tasks.v1 import (
    CancelTaskRequest,
    Encoding,
    GetTaskRequest,
    GetTaskResultRequest,
    ListTasksRequest,
    SubmitTaskRequest,
    Task,
    TaskState,
)
from gridpact.kit import wire
from gridpact.kit.caller import caller
from gridpact.kit.compression import compress, decompress
from gridpact.kit.errors import GridpactError
from gridpact.kit.instants import format_instant
from gridpact.kit.series import Float64Series

NewTask = Annotated[rest.TaskSubmission, json_body(rest.TaskSubmission)]
AsEvents = Annotated[str, answer_as(EVENT_STREAM)]


class Tasks:
    """Submit, follow, cancel, and read results."""

    def __init__(self, services: Services, streams: EventStreams) -> None:
        self._tasks = services.tasks
        self._streams = streams

    async def list_tasks(
        self,
        site_id: Annotated[rest.Identifier | None, Query()] = None,
        state: Annotated[rest.TaskState | None, Query()] = None,
        page_size: PageSize = 50,
        cursor: Cursor = None,
    ) -> Response:
        response = await self._tasks.list_tasks(
            ListTasksRequest(
                site_id=site_id or "",
                state=TaskState[state] if state else TaskState.UNSPECIFIED,
                page_size=page_size,
                cursor=cursor or "",
            )
        )
        items = [_task(task) for task in response.tasks]
        return answer(rest.TaskPage(items=items, next_cursor=response.next_cursor or None))

    async def submit_task(self, submission: NewTask, key: IdempotencyKey) -> Response:
        encoding, packed = _packed(_message_of(submission))
        response = await self._tasks.submit_task(
            SubmitTaskRequest(
                idempotency_key=key,
                kind=submission.kind,
                input=packed,
                input_encoding=encoding,
                engine_choice=submission.engine,
                site_id=submission.site_id or "",
                label=submission.label or "",
                timeout_s=submission.timeout_s,
            )
        )
        task = _task(response.task)
        return answer(task, 202, location=f"/v1/tasks/{task.task_id}")

    async def get_task(self, task_id: TaskId) -> Response:
        return answer(await self._task(task_id))

    async def cancel_task(self, task_id: TaskId) -> Response:
        response = await self._tasks.cancel_task(CancelTaskRequest(task_id=task_id))
        return answer(_task(response.task), 202)

    async def get_task_result(self, task_id: TaskId) -> Response:
        return json_answer(await self._result(task_id))

    async def stream_task_events(
        self,
        request: Request,
        task_id: TaskId,
        _: AsEvents,
        last_event_id: LastEventId = None,
    ) -> Response:
        async def task() -> bytes:
            return (await self._task(task_id)).to_json()

        async def result() -> bytes:
            return await self._result(task_id)

        return await self._streams.of_task(
            caller(), request.state.token_expires, task_id, last_event_id, task, result
        )

    async def stream_events(
        self, request: Request, _: AsEvents, last_event_id: LastEventId = None
    ) -> Response:
        return await self._streams.of_organisation(
            caller(), request.state.token_expires, last_event_id
        )

    async def _task(self, task_id: str) -> rest.Task:
        response = await self._tasks.get_task(GetTaskRequest(task_id=task_id))
        return _task(response.task)

    async def _result(self, task_id: str) -> bytes:
        response = await self._tasks.get_task_result(GetTaskResultRequest(task_id=task_id))
        assert response.task is not None
        encoding = "zstd" if response.encoding == Encoding.ZSTD else "identity"
        packed = decompress(encoding, response.result, LIMITS.decoded_bytes)
        return wire.to_json(wire.decode(KINDS[response.task.kind].result, packed, LIMITS))


def _message_of(submission: rest.TaskSubmission) -> bytes:
    """The input as the worker gets it; the model has been checked, so this only converts."""
    plain = submission.input.model_dump(exclude_none=True)
    kind = KINDS[submission.kind].input
    return wire.encode(msgspec.convert(plain, kind, strict=False, dec_hook=_series_of))


def _packed(message: bytes) -> tuple[Encoding, bytes]:
    """The input as it fits into a call of `tasks`, which compresses whatever else it pays for."""
    if len(message) <= BODY_BYTES:
        return Encoding.IDENTITY, message
    encoding, packed = compress(message, BODY_BYTES)
    if len(message) > LIMITS.decoded_bytes or len(packed) > BODY_BYTES:
        words = f"the input has {len(message)} bytes as a message, {len(packed)} of them packed"
        raise GridpactError(Reason.MESSAGE_TOO_LARGE, words, limit_bytes=BODY_BYTES)
    return Encoding.ZSTD if encoding == "zstd" else Encoding.IDENTITY, packed


def _series_of(kind: type, value: Any) -> Float64Series:
    if kind is not Float64Series:
        raise NotImplementedError(f"no conversion to {kind}")
    return Float64Series(value)


def _task(task: Task | None) -> rest.Task:
    assert task is not None
    progress, failure = task.progress, task.failure
    return rest.Task(
        task_id=task.task_id,
        kind=cast("Any", task.kind),
        engine_choice=cast("Any", task.engine_choice),
        state=cast("Any", task.state.name),
        site_id=task.site_id or None,
        label=task.label or None,
        attempt_count=task.attempt_count,
        cancel_requested=task.cancel_requested,
        progress=None
        if progress is None
        else rest.TaskProgress(
            fraction=progress.fraction,
            stage=progress.stage,
            objective=progress.objective,
            bound=progress.bound,
            relative_gap=progress.relative_gap,
        ),
        submitted_time=_instant(task.submitted_time) or "",
        started_time=_instant(task.started_time),
        finished_time=_instant(task.finished_time),
        engine=cast("Any", task.engine or None),
        engine_version=task.engine_version or None,
        solve_ms=task.solve_ms,
        failure=None
        if failure is None
        else rest.TaskFailure(
            reason=failure.reason,
            message=failure.message,
            violations=[
                rest.Violation(field=each.field, rule=each.rule, message=each.message)
                for each in failure.violations
            ],
        ),
        replay_of=task.replay_of or None,
    )


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else format_instant(instant)
