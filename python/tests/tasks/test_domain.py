"""The state machine of a task, alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gridpact.tasks.domain import (
    MOST_ATTEMPTS,
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
from tests.tasks.examples import POLICY, START, end, queued_task, running_task

SECOND = timedelta(seconds=1)
LOST = HandedBack("WORKER_LOST", "the worker died")
BUSY = HandedBack("NODE_BUSY", "no free worker", excused=True)

outcomes = st.sampled_from(
    [
        Succeeded(Body(Encoding.IDENTITY, b"one")),
        Succeeded(Body(Encoding.IDENTITY, b"two")),
        Failed(Failure("INFEASIBLE", "no plan")),
        Cancelled("stopped"),
        LOST,
        BUSY,
    ]
)


class TaskLife(RuleBasedStateMachine):
    """Whatever bridges, owners and time do, in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.task = queued_task()
        self.now = START
        self.tokens: list[int] = []
        self.holder: tuple[int, datetime] | None = None
        self.accepted: set[bytes] = set()
        self.end: Task | None = None

    def become(self, task: Task) -> None:
        if task.has_ended and self.end is None:
            self.end = task
        if task.state is not TaskState.RUNNING:
            self.holder = None
        self.task = task

    @rule(seconds=st.integers(-3700, 3700))
    def clock_moves(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule()
    def open_attempt(self) -> None:
        task, refusal = self.task.open_attempt(self.now, POLICY, "bridge")
        if refusal is None:
            if self.holder is not None:
                _, lease_end = self.holder
                assert self.now >= lease_end
            assert all(token < task.fencing_token for token in self.tokens)
            self.tokens.append(task.fencing_token)
            assert task.lease_end_time is not None
            self.holder = task.fencing_token, task.lease_end_time
        elif refusal.reason == "LEASE_HELD":
            assert timedelta(0) < refusal.retry_after <= POLICY.lease_duration
        self.become(task)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(self.tokens))
        task, refusal = self.task.renew_lease(token, self.now, POLICY)
        assert (refusal is None) == (self.holder is not None and self.holder[0] == token)
        if refusal is None:
            assert task.lease_end_time is not None
            self.holder = token, task.lease_end_time
        self.become(task)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), fraction=st.floats(0, 1))
    def report(self, data: st.DataObject, fraction: float) -> None:
        token = data.draw(st.sampled_from(self.tokens))
        task = self.task.report(token, Progress(fraction, "solve"))
        assert (task is self.task) == (self.holder is None or self.holder[0] != token)
        self.become(task)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), outcome=outcomes)
    def end_attempt(self, data: st.DataObject, outcome: Succeeded | Failed) -> None:
        token = data.draw(st.sampled_from(self.tokens))
        was_current = self.task.is_current(token)
        task, refusal = self.task.end_attempt(token, end(outcome), self.now, POLICY)
        if was_current:
            assert refusal is None
        if refusal is not None:
            assert task is self.task
        elif isinstance(outcome, Succeeded):
            self.accepted.add(outcome.result.data)
        self.become(task)

    @rule(bridge_id=st.sampled_from(["bridge", "other"]))
    def open_early_attempt(self, bridge_id: str) -> None:
        before = self.task
        task, refusal = before.open_early_attempt(self.now, POLICY, bridge_id)
        if refusal is None:
            if before.attempt_count == 0:
                self.tokens.append(1)
            else:
                assert self.holder is not None
                assert (self.holder[0], before.bridge_id) == (1, bridge_id)
            assert task.lease_end_time is not None
            self.holder = 1, task.lease_end_time
        elif before.attempt_count > 0:
            assert task is before
        self.become(task)

    @rule(
        start=st.builds(
            EarlyStart,
            st.sampled_from(["bridge", "other"]),
            st.integers(0, 100).map(SECOND.__mul__),
        ),
        outcome=outcomes,
    )
    def end_early_attempt(self, start: EarlyStart, outcome: Succeeded | Failed) -> None:
        before = self.task
        task, refusal = before.end_early_attempt(start, end(outcome), self.now, POLICY)
        if refusal is None:
            if before.attempt_count == 0:
                self.tokens.append(1)
            else:
                assert (before.attempt_count, before.bridge_id) == (1, start.bridge_id)
            if isinstance(outcome, Succeeded):
                self.accepted.add(outcome.result.data)
        elif before.attempt_count > 0:
            assert task is before
        self.become(task)

    @rule()
    def cancel(self) -> None:
        task, refusal = self.task.request_cancel(self.now)
        assert (refusal is None) == (
            self.task.state in (TaskState.QUEUED, TaskState.RUNNING, TaskState.CANCELLED)
        )
        self.become(task)

    @rule()
    def sweep(self) -> None:
        task = self.task.time_out(self.now).reclaim(self.now, POLICY)
        if self.holder is not None and task.lease_end_time is not None:
            assert task.lease_end_time <= self.now + POLICY.lease_duration
            self.holder = self.holder[0], task.lease_end_time
        self.become(task.republish(self.now, POLICY))

    @invariant()
    def the_end_is_final(self) -> None:
        if self.end is not None:
            assert self.task == self.end

    @invariant()
    def one_result_at_most(self) -> None:
        assert len(self.accepted) == (self.task.state is TaskState.SUCCEEDED)

    @invariant()
    def attempts_are_limited(self) -> None:
        assert len(self.tokens) == self.task.attempt_count
        assert self.task.attempt_count - self.task.excused_count <= POLICY.max_attempts

    @invariant()
    def members_fit_the_state(self) -> None:
        task = self.task
        assert (task.lease_end_time is not None) == (task.state is TaskState.RUNNING)
        assert (task.finished_time is not None) == task.has_ended
        assert (task.failure is not None) == (task.state in ("FAILED", "CANCELLED"))
        assert (task.started_time is not None) == (task.attempt_count > 0)


TestTaskLife = TaskLife.TestCase
TestTaskLife.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


class TestOpenAttempt:
    def test_refuses_while_the_lease_lasts_and_says_how_long(self) -> None:
        task = running_task()
        same, refusal = task.open_attempt(START + 4 * SECOND, POLICY, "bridge-2")
        assert same is task
        assert refusal is not None
        assert (refusal.reason, refusal.retry_after) == ("LEASE_HELD", 6 * SECOND)

    def test_takes_over_when_the_lease_has_ended(self) -> None:
        task, refusal = running_task().open_attempt(START + 10 * SECOND, POLICY, "bridge-2")
        assert refusal is None
        assert (task.fencing_token, task.bridge_id) == (2, "bridge-2")

    def test_fails_a_task_that_is_late(self) -> None:
        task, refusal = queued_task().open_attempt(START + 3600 * SECOND, POLICY, "b")
        assert refusal is not None
        assert refusal.reason == "TASK_TIMEOUT"
        assert task.failure is not None
        assert (task.state, task.failure.reason) == (TaskState.FAILED, "TASK_TIMEOUT")

    def test_fails_a_task_whose_attempts_all_fell_silent(self) -> None:
        task = queued_task()
        for attempt in range(POLICY.max_attempts):
            task, refusal = task.open_attempt(START + attempt * 10 * SECOND, POLICY, "b")
            assert refusal is None
        task, refusal = task.open_attempt(START + 60 * SECOND, POLICY, "b")
        assert refusal is not None
        assert refusal.reason == "ATTEMPTS_EXHAUSTED"
        assert task.state is TaskState.FAILED

    def test_ends_a_task_that_shall_be_cancelled_and_has_no_worker(self) -> None:
        asked, _ = running_task().request_cancel(START)
        task, refusal = asked.open_attempt(START + 60 * SECOND, POLICY, "b")
        assert refusal is not None
        assert refusal.reason == "TASK_TERMINAL"
        assert task.state is TaskState.CANCELLED


class TestOpenEarlyAttempt:
    def test_may_be_repeated_by_its_bridge_alone(self) -> None:
        opened, refusal = queued_task().open_early_attempt(START, POLICY, "bridge")
        assert refusal is None
        again, refusal = opened.open_early_attempt(START + SECOND, POLICY, "bridge")
        assert (again.fencing_token, refusal) == (1, None)
        same, refusal = opened.open_early_attempt(START + SECOND, POLICY, "other")
        assert (same, refusal) == (opened, Refusal("LEASE_STALE"))

    def test_is_refused_for_a_task_that_has_ended(self) -> None:
        done, _ = running_task().end_attempt(1, end(), START, POLICY)
        assert done.open_early_attempt(START, POLICY, "b") == (done, Refusal("TASK_TERMINAL"))


class TestEndEarlyAttempt:
    start = EarlyStart("bridge", 2 * SECOND)

    def test_is_as_if_it_had_been_opened_when_it_began(self) -> None:
        task = queued_task()
        done, refusal = task.end_early_attempt(self.start, end(), START + 5 * SECOND, POLICY)
        assert refusal is None
        opened, _ = task.open_attempt(START + 3 * SECOND, POLICY, "bridge")
        assert (done, None) == opened.end_attempt(1, end(), START + 5 * SECOND, POLICY)

    def test_cannot_have_begun_before_the_task_was_submitted(self) -> None:
        done, _ = queued_task().end_early_attempt(self.start, end(), START + SECOND, POLICY)
        assert done.started_time == done.submitted_time == START

    def test_is_accepted_twice_from_the_same_bridge_only(self) -> None:
        done, _ = queued_task().end_early_attempt(self.start, end(), START, POLICY)
        assert done.end_early_attempt(self.start, end(), START, POLICY) == (done, None)
        other = EarlyStart("other", SECOND)
        _, refusal = done.end_early_attempt(other, end(), START, POLICY)
        assert refusal == Refusal("TASK_TERMINAL")

    def test_is_refused_while_another_bridge_has_the_task(self) -> None:
        running = running_task()
        other = EarlyStart("other", SECOND)
        assert running.end_early_attempt(other, end(), START, POLICY) == (
            running,
            Refusal("LEASE_STALE"),
        )

    def test_is_refused_after_another_attempt(self) -> None:
        queued, _ = running_task().end_attempt(1, end(LOST), START, POLICY)
        other = EarlyStart("other", SECOND)
        assert queued.end_early_attempt(other, end(), START, POLICY) == (
            queued,
            Refusal("LEASE_STALE"),
        )

    def test_comes_too_late_for_a_task_that_timed_out(self) -> None:
        task = queued_task()
        failed, refusal = task.end_early_attempt(self.start, end(), task.timeout_time, POLICY)
        assert refusal == Refusal("TASK_TIMEOUT")
        assert failed.state is TaskState.FAILED


class TestEndAttempt:
    def test_accepts_the_same_end_twice_and_another_one_never(self) -> None:
        done, _ = running_task().end_attempt(1, end(), START, POLICY)
        assert done.end_attempt(1, end(), START + SECOND, POLICY) == (done, None)
        _, refusal = done.end_attempt(1, end(LOST), START + SECOND, POLICY)
        assert refusal is not None
        assert refusal.reason == "TASK_TERMINAL"

    def test_accepts_being_handed_back_twice(self) -> None:
        queued, _ = running_task().end_attempt(1, end(LOST), START, POLICY)
        assert queued.end_attempt(1, end(LOST), START + SECOND, POLICY) == (queued, None)

    def test_refuses_a_stale_attempt_with_the_same_words(self) -> None:
        queued, _ = running_task().end_attempt(1, end(LOST), START, POLICY)
        second, _ = queued.open_attempt(START, POLICY, "b")
        same, refusal = second.end_attempt(1, end(LOST), START, POLICY)
        assert same is second
        assert refusal is not None
        assert refusal.reason == "LEASE_STALE"

    def test_hands_back_until_attempts_are_used_up(self) -> None:
        task = queued_task()
        for _ in range(POLICY.max_attempts):
            assert task.state is TaskState.QUEUED
            task, _ = task.open_attempt(START, POLICY, "b")
            task, _ = task.end_attempt(task.fencing_token, end(LOST), START, POLICY)
        assert task.failure is not None
        assert task.failure.reason == "ATTEMPTS_EXHAUSTED"
        assert "WORKER_LOST" in task.failure.message

    def test_hands_back_for_ever_what_neither_task_nor_worker_is_to_blame_for(self) -> None:
        task = queued_task()
        for attempt in range(1, MOST_ATTEMPTS):
            task, _ = task.open_attempt(START, POLICY, "b")
            task, _ = task.end_attempt(attempt, end(BUSY), START, POLICY)
            assert (task.state, task.dead_letter_error) == (TaskState.QUEUED, "")
        for _ in range(POLICY.max_attempts):
            task, _ = task.open_attempt(START, POLICY, "b")
            task, _ = task.end_attempt(task.fencing_token, end(LOST), START, POLICY)
        # The contract numbers no more attempts than these.
        assert (task.state, task.attempt_count) == (TaskState.FAILED, MOST_ATTEMPTS)
        assert "WORKER_LOST: the worker died" in task.dead_letter_error

    def test_cancels_a_task_that_is_handed_back_and_shall_be_cancelled(self) -> None:
        asked, _ = running_task().request_cancel(START)
        task, _ = asked.end_attempt(1, end(LOST), START, POLICY)
        assert task.state is TaskState.CANCELLED

    def test_takes_a_result_that_was_quicker_than_the_wish_to_cancel(self) -> None:
        asked, _ = running_task().request_cancel(START)
        task, _ = asked.end_attempt(1, end(), START, POLICY)
        assert task.state is TaskState.SUCCEEDED


class TestReclaim:
    @given(seconds=st.integers(0, 39))
    def test_leaves_a_task_alone_whose_message_may_come_back(self, seconds: int) -> None:
        task = running_task()
        assert task.reclaim(START + seconds * SECOND, POLICY) is task

    def test_cuts_a_lease_that_was_given_before_the_clock_was_set_back(self) -> None:
        now = START - 3600 * SECOND
        cut = running_task().reclaim(now, POLICY)
        assert cut.lease_end_time == now + POLICY.lease_duration
        assert cut.renew_lease(1, now, POLICY)[1] is None

    def test_publishes_a_task_again_whose_bridge_has_been_silent_for_long(self) -> None:
        task = running_task().reclaim(START + 40 * SECOND, POLICY)
        assert (task.state, task.publish_count) == (TaskState.QUEUED, 2)
        _, refusal = task.end_attempt(1, end(), START + 41 * SECOND, POLICY)
        assert refusal is not None
        assert refusal.reason == "LEASE_STALE"


class TestRepublish:
    @pytest.mark.parametrize(("publish_count", "delay_s"), [(1, 30), (2, 60), (3, 120), (9, 300)])
    def test_waits_longer_each_time(self, publish_count: int, delay_s: int) -> None:
        task = replace(queued_task(), publish_count=publish_count)
        assert task.republish(START + (delay_s - 1) * SECOND, POLICY) is task
        again = task.republish(START + delay_s * SECOND, POLICY)
        assert again.publish_count == publish_count + 1
        assert again.queued_time == START + delay_s * SECOND
