"""The life of a task as pure rules.

    QUEUED ──open_attempt──► RUNNING ──end_attempt──► SUCCEEDED, FAILED, CANCELLED
       ▲                        │
       └── handed back, lease lapsed

Every transition takes a task and the time, and gives the task as it is afterwards; nothing else
changes a task. SUCCEEDED, FAILED and CANCELLED never change again.

**The fencing token of an attempt is its number.** It grows with every attempt of a task, and only
the newest attempt, while the task is RUNNING, may renew, report or end.

**The first attempt may begin early**, before it is opened: it is nobody's until it ends, and counts
only if the task has had no other attempt by then (`Task.end_early_attempt`).

**Leases** say from when on another attempt may take over; safety rests on the fencing token alone.
`now` is always the clock of the database, so that any number of processes agree. When that clock is
set forward, leases end early: at worst a second worker computes, and the first one is refused. When
it is set back, a lease would last as much longer: the next sweep cuts it to what a lease can be
(`Task.reclaim`), and an attempt that is alive renews it from there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from gridpact.kit.violation import Violation

MOST_ATTEMPTS = 1000
"""The most that a task may have, excused ones included: the contract numbers no more."""

_EXHAUSTED = "ATTEMPTS_EXHAUSTED"


class TaskState(StrEnum):
    """Where a task is in its life."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Encoding(StrEnum):
    """How a body is packed."""

    IDENTITY = "identity"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class Body:
    """MsgPack bytes as they travel."""

    encoding: Encoding
    data: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the newest attempt is; ``fraction`` is 0 to 1."""

    fraction: float
    stage: str
    objective: float | None = None
    bound: float | None = None
    relative_gap: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task ended FAILED or CANCELLED."""

    reason: str
    message: str
    violations: tuple[Violation, ...] = ()


UNSTORED_MAX = timedelta(seconds=30)
"""A message may come before its task is stored: so long after the task got its id, it may yet be.

Also how far apart the clocks of two processes may be.
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an attempt may not be opened, renewed or ended."""

    reason: str
    retry_after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The attempt brought a result, the MsgPack of the kind's result schema."""

    result: Body


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt showed that the task cannot be done."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The worker was stopped."""

    message: str


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The attempt came to nothing; another may do better.

    ``excused``: neither task nor worker is to blame, and the attempt does not count.
    """

    reason: str
    message: str
    excused: bool = False


Outcome = Succeeded | Failed | Cancelled | HandedBack


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """How an attempt ended. The same end has the same ``digest``, another end another one."""

    outcome: Outcome
    digest: str
    engine: str | None = None
    engine_version: str | None = None
    solve_ms: float | None = None


@dataclass(frozen=True, slots=True)
class EarlyStart:
    """An attempt that a worker got before it was opened; it began ``elapsed`` ago."""

    bridge_id: str
    elapsed: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The numbers that the rules go by.

    lease_duration: how long an attempt may be silent before another may take over.
    max_attempts: how many attempts a task has, besides those that are excused.
    reclaim_delay: how long after the end of its lease a RUNNING task goes back to the queue by
        itself. Until then its message is expected to come back and to open the next attempt.
    republish_delay: how long a QUEUED task waits for its first sign of delivery before its message
        counts as lost; doubles with each publication, up to ``republish_delay_max``.
    """

    lease_duration: timedelta
    max_attempts: int
    reclaim_delay: timedelta
    republish_delay: timedelta
    republish_delay_max: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A computation that was asked for, and how it stands."""

    task_id: str
    organisation_id: str
    kind: str
    engine_choice: str
    site_id: str | None = None
    label: str | None = None
    submitted_time: datetime
    timeout_time: datetime
    state: TaskState = TaskState.QUEUED
    # When its message was last put into the outbox, and how often that was.
    queued_time: datetime
    publish_count: int = 1
    attempt_count: int = 0
    # How many of them do not count to the maximum.
    excused_count: int = 0
    lease_end_time: datetime | None = None
    bridge_id: str | None = None
    cancel_requested: bool = False
    progress: Progress | None = None
    started_time: datetime | None = None
    finished_time: datetime | None = None
    engine: str | None = None
    engine_version: str | None = None
    solve_ms: float | None = None
    failure: Failure | None = None
    # How the newest attempt ended; None while it has not.
    outcome_digest: str | None = None
    # The task whose input is computed once more.
    replay_of: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.state not in (TaskState.QUEUED, TaskState.RUNNING)

    @property
    def fencing_token(self) -> int:
        return self.attempt_count

    @property
    def dead_letter_error(self) -> str:
        """What became of the last attempt, when the task FAILED for want of another; else empty."""
        if self.failure is None or self.failure.reason != _EXHAUSTED:
            return ""
        return self.failure.message

    def is_current(self, fencing_token: int) -> bool:
        """Whether the attempt with this token may renew, report and end."""
        return self.state is TaskState.RUNNING and fencing_token == self.fencing_token

    # What the bridge does

    def open_attempt(
        self, now: datetime, policy: Policy, bridge_id: str
    ) -> tuple[Task, Refusal | None]:
        """Takes the lease for a new attempt, which has the next fencing token."""
        if self.has_ended:
            return self, Refusal("TASK_TERMINAL")
        if self.lease_end_time is not None and now < self.lease_end_time:
            wait = min(self.lease_end_time - now, policy.lease_duration)
            return self, Refusal("LEASE_HELD", wait)
        if self.cancel_requested:
            return self._cancelled(now), Refusal("TASK_TERMINAL")
        if now >= self.timeout_time:
            return self.time_out(now), Refusal("TASK_TIMEOUT")
        if self._has_no_attempt_left(policy):
            return self._exhausted(now, _FELL_SILENT), Refusal(_EXHAUSTED)
        opened = replace(
            self,
            state=TaskState.RUNNING,
            attempt_count=self.attempt_count + 1,
            lease_end_time=now + policy.lease_duration,
            bridge_id=bridge_id,
            started_time=self.started_time or now,
            progress=None,
            outcome_digest=None,
        )
        return opened, None

    def renew_lease(
        self, fencing_token: int, now: datetime, policy: Policy
    ) -> tuple[Task, Refusal | None]:
        """Extends the lease of the newest attempt, even one that has lapsed meanwhile."""
        if not self.is_current(fencing_token):
            return self, Refusal("LEASE_STALE")
        return replace(self, lease_end_time=now + policy.lease_duration), None

    def report(self, fencing_token: int, progress: Progress) -> Task:
        """Takes note of progress; that of a stale attempt is dropped."""
        return replace(self, progress=progress) if self.is_current(fencing_token) else self

    def end_attempt(
        self, fencing_token: int, end: AttemptEnd, now: datetime, policy: Policy
    ) -> tuple[Task, Refusal | None]:
        """Ends the newest attempt. The same end once more is accepted and changes nothing."""
        if fencing_token == self.fencing_token and end.digest == self.outcome_digest:
            return self, None
        if self.has_ended:
            return self, Refusal("TASK_TERMINAL")
        if not self.is_current(fencing_token):
            return self, Refusal("LEASE_STALE")
        match end.outcome:
            case HandedBack() as handed_back:
                ended = replace(self, outcome_digest=end.digest)
                return ended._handed_back(handed_back, now, policy), None
            case Cancelled(message):
                ended = replace(self, outcome_digest=end.digest)
                return ended._cancelled(now, message), None
            case Failed(failure):
                state, progress = TaskState.FAILED, self.progress
            case Succeeded():
                # A worker that is done has no reason to report it: what it said last is outdated.
                state, failure, progress = TaskState.SUCCEEDED, None, None
        return self._ended(
            state,
            now,
            failure,
            outcome_digest=end.digest,
            progress=progress,
            engine=end.engine,
            engine_version=end.engine_version,
            solve_ms=end.solve_ms,
        ), None

    def open_early_attempt(
        self, now: datetime, policy: Policy, bridge_id: str
    ) -> tuple[Task, Refusal | None]:
        """Opens the first attempt, which a worker has already; for its bridge, once more."""
        if self.is_current(1) and self.bridge_id == bridge_id:
            # It was committed, and the answer was lost.
            return self.renew_lease(1, now, policy)
        if self.attempt_count > 0 and not self.has_ended:
            return self, Refusal("LEASE_STALE")
        return self.open_attempt(now, policy, bridge_id)

    def end_early_attempt(
        self, start: EarlyStart, end: AttemptEnd, now: datetime, policy: Policy
    ) -> tuple[Task, Refusal | None]:
        """Opens the first attempt and ends it at once, as if it had been opened when it began."""
        if self.attempt_count == 1 and self.bridge_id == start.bridge_id:
            # It may have been committed, and the answer have been lost.
            return self.end_attempt(1, end, now, policy)
        if self.has_ended:
            return self, Refusal("TASK_TERMINAL")
        if self.attempt_count > 0:
            return self, Refusal("LEASE_STALE")
        opened, refusal = self.open_attempt(now, policy, start.bridge_id)
        if refusal is not None:
            return opened, refusal
        began = max(self.submitted_time, now - start.elapsed)
        return replace(opened, started_time=began).end_attempt(1, end, now, policy)

    # What the owner does

    def request_cancel(self, now: datetime) -> tuple[Task, Refusal | None]:
        """Ends a QUEUED task; a RUNNING one ends when its worker has stopped."""
        match self.state:
            case TaskState.QUEUED:
                return replace(self, cancel_requested=True)._cancelled(now), None
            case TaskState.RUNNING:
                return replace(self, cancel_requested=True), None
            case TaskState.CANCELLED:
                return self, None
            case _:
                return self, Refusal("TASK_NOT_CANCELLABLE")

    # What time does

    def time_out(self, now: datetime) -> Task:
        """Ends a task that is past its timeout, queued or running."""
        if self.has_ended or now < self.timeout_time:
            return self
        seconds = (self.timeout_time - self.submitted_time).total_seconds()
        message = f"not done {seconds:g} s after its submission"
        return self._ended(TaskState.FAILED, now, Failure("TASK_TIMEOUT", message))

    def reclaim(self, now: datetime, policy: Policy) -> Task:
        """Puts a task whose lease lapsed long ago back into the queue and publishes it again.

        Normally its message comes back and opens the next attempt; this is for a message that
        was lost with its broker. A lease that lasts longer than one can was given before the clock
        was set back; it is cut.
        """
        if self.lease_end_time is None:
            return self
        longest_lease_end = now + policy.lease_duration
        if self.lease_end_time > longest_lease_end:
            return replace(self, lease_end_time=longest_lease_end)
        if now < self.lease_end_time + policy.reclaim_delay:
            return self
        queued = self._handed_back(_FELL_SILENT, now, policy)
        return queued if queued.has_ended else queued._published(now)

    def republish(self, now: datetime, policy: Policy) -> Task:
        """Publishes a QUEUED task again when its message may have been lost.

        Harmless when it was not: whichever message comes second finds the lease held or the task
        ended. The delay doubles, so that a platform without workers does not fill its broker.
        """
        doublings = min(self.publish_count - 1, 16)
        delay = min(policy.republish_delay * 2**doublings, policy.republish_delay_max)
        if self.state is not TaskState.QUEUED or now < self.queued_time + delay:
            return self
        return self._published(now)

    def _handed_back(self, why: HandedBack, now: datetime, policy: Policy) -> Task:
        if self.cancel_requested:
            return self._cancelled(now)
        judged = replace(self, excused_count=self.excused_count + why.excused)
        if judged._has_no_attempt_left(policy):
            return judged._exhausted(now, why)
        return replace(judged, state=TaskState.QUEUED, lease_end_time=None, progress=None)

    def _has_no_attempt_left(self, policy: Policy) -> bool:
        counted = self.attempt_count - self.excused_count
        return counted >= policy.max_attempts or self.attempt_count >= MOST_ATTEMPTS

    def _published(self, now: datetime) -> Task:
        return replace(self, queued_time=now, publish_count=self.publish_count + 1)

    def _exhausted(self, now: datetime, last: HandedBack) -> Task:
        message = (
            f"none of {self.attempt_count} attempts succeeded; "
            f"the last one: {last.reason}: {last.message}"
        )
        return self._ended(TaskState.FAILED, now, Failure(_EXHAUSTED, message))

    def _cancelled(self, now: datetime, message: str = "cancelled as requested") -> Task:
        return self._ended(TaskState.CANCELLED, now, Failure("CANCELLED", message))

    def _ended(
        self, state: TaskState, now: datetime, failure: Failure | None = None, **others: Any
    ) -> Task:
        assert not self.has_ended, "a terminal state is never rewritten"
        return replace(
            self, state=state, finished_time=now, lease_end_time=None, failure=failure, **others
        )


_FELL_SILENT = HandedBack("WORKER_LOST", "its lease ended without a word")
