"""The owner of tasks over gRPC (contracts/proto/gridpact/tasks/v1/delivery.proto)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from gridpact.bridge.domain import (
    Completed,
    Ending,
    Failed,
    HandedBack,
    Lease,
    Opened,
    Opening,
    Progress,
    Refused,
    Renewed,
    Succeeded,
)
from gridpact.contracts.errors import REASONS, Reason
from gridpact.contracts.proto.gridpact.tasks import v1
from gridpact.kit.errors import GridpactError
from gridpact.kit.rpc.client import Conversation, RpcChannel

_ENCODINGS = {"identity": v1.Encoding.IDENTITY, "zstd": v1.Encoding.ZSTD}


class GrpcTaskOwner:
    """A TaskOwner at the other end of a channel."""

    def __init__(self, channel: RpcChannel, bridge_id: str) -> None:
        self._delivery = v1.DeliveryServiceStub(channel)
        self._completing = Conversation(
            channel,
            "/gridpact.tasks.v1.DeliveryService/CompleteAttempts",
            v1.CompleteAttemptsRequest,
            v1.CompleteAttemptsResponse,
        )
        self._bridge_id = bridge_id
        # How far the owner's clock, in seconds since 1970, is ahead of our monotonic one.
        self._ahead_s: float | None = None

    def remaining_ms(self, timeout_epoch_ms: int) -> int | None:
        if self._ahead_s is None:
            return None
        return timeout_epoch_ms - math.ceil((time.monotonic() + self._ahead_s) * 1000)

    def _note_clock(self, now: datetime | None) -> None:
        if now is not None:
            self._ahead_s = now.timestamp() - time.monotonic()

    async def open_attempts(self, openings: Sequence[Opening]) -> Sequence[Opened | Refused]:
        answer = await self._delivery.open_attempts(
            v1.OpenAttemptsRequest(
                attempts=[
                    v1.OpenAttempt(
                        task_id=opening.task_id,
                        bridge_id=self._bridge_id,
                        begun_early=opening.begun_early,
                    )
                    for opening in openings
                ]
            )
        )
        self._note_clock(answer.now)
        return [
            _refused(item.refusal, item.dead_letter_error)
            or Opened(
                lease=Lease(item.task_id, item.fencing_token),
                attempt=item.attempt,
                remaining_ms=item.remaining_ms,
                cancel_requested=item.cancel_requested,
            )
            for item in answer.attempts
        ]

    async def fetch_payload(self, lease: Lease, size: int) -> bytes | Refused:
        payload = bytearray()
        try:
            while True:
                answer = await self._delivery.fetch_payload(
                    v1.FetchPayloadRequest(lease=_lease(lease), offset=len(payload))
                )
                payload += answer.part
                if answer.total_bytes != size or len(payload) > size or not answer.part:
                    return Refused(Reason.MESSAGE_MALFORMED)
                if len(payload) == size:
                    return bytes(payload)
        except GridpactError as error:
            if REASONS[error.reason].retryable:
                raise
            return Refused(error.reason)

    async def renew_leases(self, leases: Sequence[Lease]) -> Sequence[Renewed | Refused]:
        answer = await self._delivery.renew_leases(
            v1.RenewLeasesRequest(leases=[_lease(lease) for lease in leases])
        )
        return [_refused(item.refusal) or Renewed(item.cancel_requested) for item in answer.leases]

    async def report_progress(self, reports: Sequence[tuple[Lease, Progress]]) -> None:
        await self._delivery.report_progress(
            v1.ReportProgressRequest(
                reports=[
                    v1.ProgressReport(
                        lease=_lease(lease),
                        progress=v1.TaskProgress(
                            fraction=progress.fraction,
                            stage=progress.stage,
                            objective=progress.objective,
                            bound=progress.bound,
                            relative_gap=progress.relative_gap,
                        ),
                    )
                    for lease, progress in reports
                ]
            )
        )

    async def complete_attempts(self, endings: Sequence[Ending]) -> Sequence[Completed | Refused]:
        answer = await self._completing.ask(
            v1.CompleteAttemptsRequest(
                attempts=[_complete(ending, self._bridge_id) for ending in endings]
            )
        )
        self._note_clock(answer.now)
        return [
            _refused(item.refusal, item.dead_letter_error)
            or Completed(item.task_ended, item.dead_letter_error)
            for item in answer.attempts
        ]


def _refused(refusal: v1.Refusal | None, dead_letter_error: str = "") -> Refused | None:
    if refusal is None or not refusal.reason:
        return None
    wait = timedelta(milliseconds=refusal.retry_after_ms)
    return Refused(refusal.reason, wait, dead_letter_error)


def _lease(lease: Lease) -> v1.Lease:
    return v1.Lease(task_id=lease.task_id, fencing_token=lease.fencing_token)


def _complete(ending: Ending, bridge_id: str) -> v1.CompleteAttempt:
    message = v1.CompleteAttempt(
        lease=_lease(ending.lease),
        engine=ending.engine,
        engine_version=ending.engine_version,
    )
    if ending.early_ms is not None:
        message.early_start = v1.EarlyStart(bridge_id=bridge_id, elapsed_ms=ending.early_ms)
    match ending.outcome:
        case Succeeded(encoding, body, solve_ms):
            message.solve_ms = solve_ms
            message.succeeded = v1.Succeeded(encoding=_ENCODINGS[encoding], result=body)
        case Failed(reason, text, violations):
            failure = v1.TaskFailure(
                reason=reason,
                message=text,
                violations=[
                    v1.Violation(field=item.field, rule=item.rule, message=item.message)
                    for item in violations
                ],
            )
            if reason == "CANCELLED":
                message.cancelled = failure
            else:
                message.failed = failure
        case HandedBack(reason, text, excused):
            message.handed_back = v1.HandedBack(reason=reason, message=text, excused=excused)
    return message


def ending_bytes(ending: Ending) -> int:
    """About how large an ending is in a request; batches must stay below the message limit."""
    return 1024 + (len(ending.outcome.body) if isinstance(ending.outcome, Succeeded) else 0)
