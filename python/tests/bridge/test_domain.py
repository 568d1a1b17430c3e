"""What becomes of a message: the rules as a table."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.bridge.domain import (
    Acknowledge,
    Bury,
    Completed,
    Disposal,
    Leave,
    Refused,
    Return,
    after_ending,
    after_refused_opening,
)

WAIT = timedelta(seconds=3)


@pytest.mark.parametrize(
    ("reason", "disposal"),
    [
        ("NOT_FOUND", Return(WAIT)),
        ("TASK_TERMINAL", Acknowledge()),
        ("ATTEMPTS_EXHAUSTED", Acknowledge()),
        ("TASK_TIMEOUT", Acknowledge()),
        ("LEASE_HELD", Return(WAIT)),
    ],
)
def test_message_of_a_task_that_cannot_be_opened(reason: str, disposal: Disposal) -> None:
    assert after_refused_opening(Refused(reason, WAIT)) == disposal


def test_message_of_a_task_that_will_never_be_there() -> None:
    assert after_refused_opening(Refused("NOT_FOUND")) == Acknowledge()


@pytest.mark.parametrize("reason", ["TASK_TERMINAL", "ATTEMPTS_EXHAUSTED"])
def test_message_of_a_task_without_attempts_is_a_dead_letter(reason: str) -> None:
    refused = Refused(reason, dead_letter_error="the last word")
    assert after_refused_opening(refused) == after_ending(refused, 5) == Bury("the last word")
    ended = Completed(task_ended=True, dead_letter_error="the last word")
    assert after_ending(ended, 5) == Bury("the last word")


def test_message_of_an_attempt_that_does_not_count_is_back_at_once() -> None:
    assert after_ending(Completed(task_ended=False), 7, excused=True) == Return(timedelta(0))


@pytest.mark.parametrize(
    ("answer", "disposal"),
    [
        (Completed(task_ended=True), Acknowledge()),
        (Refused("TASK_TERMINAL"), Acknowledge()),
        (Refused("LEASE_STALE"), Leave()),
        (Refused("NOT_FOUND"), Leave()),
    ],
)
def test_message_of_an_attempt_that_is_over(
    answer: Completed | Refused, disposal: Disposal
) -> None:
    assert after_ending(answer, attempt=1) == disposal


@given(st.integers(1, 4))
def test_message_of_an_attempt_that_came_to_nothing_waits_longer_each_time(attempt: int) -> None:
    first, second = (
        after_ending(Completed(task_ended=False), number) for number in (attempt, attempt + 1)
    )
    assert isinstance(first, Return)
    assert isinstance(second, Return)
    assert timedelta(0) < first.delay < second.delay < timedelta(seconds=5)
