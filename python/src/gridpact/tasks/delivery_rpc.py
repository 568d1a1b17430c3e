"""gridpact.tasks.v1.DeliveryService: decode, call, encode."""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

import msgspec

from gridpact.contracts.proto.gridpact.tasks.v1 import (
    CompleteAttempt,
    CompleteAttemptsRequest,
    CompleteAttemptsResponse,
    CompletedAttempt,
    DeliveryServiceBase,
    FetchPayloadRequest,
    FetchPayloadResponse,
    OpenAttemptsRequest,
    OpenAttemptsResponse,
    OpenedAttempt,
    RenewedLease,
    RenewLeasesRequest,
    RenewLeasesResponse,
    ReplayedTask,
    ReplayTasksRequest,
    ReplayTasksResponse,
    ReportProgressRequest,
    ReportProgressResponse,
    TaskFailure,
    TaskProgress,
)
from gridpact.contracts.proto.gridpact.tasks.v1 import Lease as LeaseMessage
from gridpact.contracts.proto.gridpact.tasks.v1 import Refusal as RefusalMessage
from gridpact.kit.caller import Access
from gridpact.kit.errors import GridpactError
from gridpact.kit.violation import Violation
from gridpact.tasks.delivery import Answer, Delivery, Ending, Lease, Opening, Report
from gridpact.tasks.domain import (
    AttemptEnd,
    Body,
    Cancelled,
    EarlyStart,
    Failed,
    Failure,
    HandedBack,
    Outcome,
    Progress,
    Refusal,
    Succeeded,
)
from gridpact.tasks.rpc import ENCODINGS, check_count

# No task is given longer: a day.
_LONGEST_MS = 86_400_000

_ENCODINGS = {message: encoding for encoding, message in ENCODINGS.items()}


class DeliveryRpc(DeliveryServiceBase):
    """The service of the bridge. It has checked every message of a worker against asyncapi.yaml."""

    ACCESS: ClassVar[Mapping[str, Access]] = {
        "OpenAttempts": Access.SERVICE,
        "FetchPayload": Access.SERVICE,
        "RenewLeases": Access.SERVICE,
        "ReportProgress": Access.SERVICE,
        "CompleteAttempts": Access.SERVICE,
        "ReplayTasks": Access.SERVICE,
    }

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._lease_ms = _milliseconds(delivery.policy.lease_duration)

    async def open_attempts(self, message: OpenAttemptsRequest) -> OpenAttemptsResponse:
        check_count("attempts", message.attempts)
        answers = await self._delivery.open_attempts(
            [
                Opening(item.task_id, _text(item.bridge_id, 128), item.begun_early)
                for item in message.attempts
            ]
        )
        now = _now(answers)
        opened: list[OpenedAttempt] = []
        for answer in answers:
            if answer.refusal is not None or answer.task is None or now is None:
                opened.append(
                    OpenedAttempt(
                        task_id=answer.task_id,
                        refusal=_refusal(answer.refusal),
                        dead_letter_error=_dead_letter_error(answer),
                    )
                )
                continue
            opened.append(
                OpenedAttempt(
                    task_id=answer.task_id,
                    refusal=_refusal(None),
                    fencing_token=answer.task.fencing_token,
                    attempt=answer.task.attempt_count,
                    lease_ms=self._lease_ms,
                    remaining_ms=_milliseconds(answer.task.timeout_time - now),
                    cancel_requested=answer.task.cancel_requested,
                )
            )
        return OpenAttemptsResponse(attempts=opened, now=now)

    async def fetch_payload(self, message: FetchPayloadRequest) -> FetchPayloadResponse:
        lease = _lease(message.lease, "")
        part = await self._delivery.fetch_payload(lease, message.offset)
        return FetchPayloadResponse(part=part.data, total_bytes=part.total_bytes)

    async def renew_leases(self, message: RenewLeasesRequest) -> RenewLeasesResponse:
        check_count("leases", message.leases)
        answers = await self._delivery.renew_leases(
            [Lease(item.task_id, item.fencing_token) for item in message.leases]
        )
        return RenewLeasesResponse(
            leases=[
                RenewedLease(
                    task_id=answer.task_id,
                    refusal=_refusal(answer.refusal),
                    lease_ms=0 if answer.refusal else self._lease_ms,
                    cancel_requested=answer.task is not None and answer.task.cancel_requested,
                )
                for answer in answers
            ]
        )

    async def report_progress(self, message: ReportProgressRequest) -> ReportProgressResponse:
        check_count("reports", message.reports)
        reports: list[Report] = []
        for i, item in enumerate(message.reports):
            lease = _lease(item.lease, f"reports[{i}]")
            progress = _progress(item.progress, f"reports[{i}].progress")
            reports.append(Report(lease.task_id, lease.fencing_token, progress))
        await self._delivery.report_progress(reports)
        return ReportProgressResponse()

    async def complete_attempts(
        self, messages: AsyncIterator[CompleteAttemptsRequest]
    ) -> AsyncIterator[CompleteAttemptsResponse]:
        async for message in messages:
            yield await self._complete_attempts(message)

    async def _complete_attempts(
        self, message: CompleteAttemptsRequest
    ) -> CompleteAttemptsResponse:
        check_count("attempts", message.attempts)
        endings: list[Ending] = []
        for i, item in enumerate(message.attempts):
            lease = _lease(item.lease, f"attempts[{i}]")
            end = _end(item, f"attempts[{i}]")
            early = _early_start(item, f"attempts[{i}]")
            endings.append(Ending(lease.task_id, lease.fencing_token, end, early))
        answers = await self._delivery.complete_attempts(endings)
        return CompleteAttemptsResponse(
            attempts=[
                CompletedAttempt(
                    task_id=answer.task_id,
                    refusal=_refusal(answer.refusal),
                    task_ended=answer.task is not None and answer.task.has_ended,
                    dead_letter_error=_dead_letter_error(answer),
                )
                for answer in answers
            ],
            now=_now(answers),
        )

    async def replay_tasks(self, message: ReplayTasksRequest) -> ReplayTasksResponse:
        check_count("task_ids", message.task_ids)
        answers = await self._delivery.replay(message.task_ids)
        return ReplayTasksResponse(
            tasks=[
                ReplayedTask(
                    task_id=answer.task_id,
                    refusal=_refusal(answer.refusal),
                    new_task_id=answer.task.task_id if answer.task else "",
                )
                for answer in answers
            ]
        )


def _refusal(refusal: Refusal | None) -> RefusalMessage:
    if refusal is None:
        return RefusalMessage()
    return RefusalMessage(reason=refusal.reason, retry_after_ms=_milliseconds(refusal.retry_after))


def _now(answers: Sequence[Answer]) -> datetime | None:
    """The clock by which the tasks of a batch were judged."""
    return next((answer.now for answer in answers if answer.now is not None), None)


def _dead_letter_error(answer: Answer) -> str:
    return "" if answer.task is None else answer.task.dead_letter_error


def _lease(lease: LeaseMessage | None, at: str) -> Lease:
    if lease is None:
        raise _invalid(f"{at}.lease".lstrip("."), "required", "is required")
    return Lease(lease.task_id, lease.fencing_token)


def _progress(progress: TaskProgress | None, at: str) -> Progress:
    if progress is None:
        raise _invalid(at, "required", "is required")
    if not 0 <= progress.fraction <= 1:
        raise _invalid(f"{at}.fraction", "range", "must be between 0 and 1")
    for name in ("objective", "bound", "relative_gap"):
        if not math.isfinite(getattr(progress, name) or 0.0):
            raise _invalid(f"{at}.{name}", "type", "must be a finite number")
    return Progress(
        fraction=progress.fraction,
        stage=_text(progress.stage, 64),
        objective=progress.objective,
        bound=progress.bound,
        relative_gap=progress.relative_gap,
    )


def _end(item: CompleteAttempt, at: str) -> AttemptEnd:
    if item.engine not in ("", "julia", "python"):
        raise _invalid(f"{at}.engine", "enum", "must be empty or one of julia, python")
    if not 0 <= item.solve_ms < math.inf:
        raise _invalid(f"{at}.solve_ms", "minimum", "must be at least 0 and finite")
    outcome = _outcome(item, at)
    content = msgspec.msgpack.encode((type(outcome).__name__, outcome))
    return AttemptEnd(
        outcome=outcome,
        digest=hashlib.sha256(content).hexdigest(),
        engine=item.engine or None,
        engine_version=_text(item.engine_version, 64) or None,
        solve_ms=item.solve_ms if item.engine else None,
    )


def _early_start(item: CompleteAttempt, at: str) -> EarlyStart | None:
    early = item.early_start
    if early is None:
        return None
    if item.lease is None or item.lease.fencing_token != 1:
        words = "must be 1: only a first attempt begins early"
        raise _invalid(f"{at}.lease.fencing_token", "const", words)
    if not 0 <= early.elapsed_ms <= _LONGEST_MS:
        raise _invalid(f"{at}.early_start.elapsed_ms", "range", f"must be 0 to {_LONGEST_MS}")
    return EarlyStart(_text(early.bridge_id, 128), timedelta(milliseconds=early.elapsed_ms))


def _outcome(item: CompleteAttempt, at: str) -> Outcome:
    if item.succeeded is not None:
        encoding = _ENCODINGS.get(item.succeeded.encoding)
        if encoding is None:
            raise _invalid(f"{at}.succeeded.encoding", "enum", "must be IDENTITY or ZSTD")
        return Succeeded(Body(encoding, item.succeeded.result))
    if item.failed is not None:
        return Failed(_failure(item.failed))
    if item.cancelled is not None:
        return Cancelled(_text(item.cancelled.message, 4096))
    if item.handed_back is not None:
        given = item.handed_back
        return HandedBack(_text(given.reason, 64), _text(given.message, 2048), given.excused)
    raise _invalid(f"{at}.outcome", "required", "is required")


def _failure(failure: TaskFailure) -> Failure:
    return Failure(
        _text(failure.reason, 64),
        _text(failure.message, 4096),
        tuple(
            Violation(_text(found.field, 256), _text(found.rule, 64), _text(found.message, 1024))
            for found in failure.violations[:100]
        ),
    )


def _text(text: str, limit: int) -> str:
    """What a worker wrote, as the database can hold it."""
    return text[:limit].replace("\x00", "\ufffd")


def _invalid(field: str, rule: str, message: str) -> GridpactError:
    return GridpactError.invalid([Violation(field, rule, message)])


def _milliseconds(duration: timedelta) -> int:
    return max(0, math.ceil(duration / timedelta(milliseconds=1)))
