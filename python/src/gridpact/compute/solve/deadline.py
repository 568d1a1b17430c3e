"""When the task at hand has to be done."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar


class Deadline:
    """A moment of time.monotonic, ``given_s`` after the task began; ``cut_short`` tells whether it
    kept a solver from its limit."""

    def __init__(self, given_s: float) -> None:
        self.given_s = given_s
        self.moment = time.monotonic() + given_s
        self.cut_short = False


_DEADLINE: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def stopped_in(seconds: float) -> Generator[Deadline]:
    """What is entered knows that it will be stopped then."""
    deadline = Deadline(seconds)
    token = _DEADLINE.set(deadline)
    try:
        yield deadline
    finally:
        _DEADLINE.reset(token)


def allowed_s(time_limit_s: float, *, is_search: bool) -> float:
    """How long a solver may run: as long as it was told, but not beyond the deadline.

    A search for whole numbers ends some time before it, so that its best point can still be
    priced, explained and sent: that takes as long after the last of several searches as after the
    first, so the time is a part of what the task was given, and not of what is left.
    """
    deadline = _DEADLINE.get()
    if deadline is None:
        return time_limit_s
    left = deadline.moment - time.monotonic()
    if is_search:
        reserve = min(_clamp(0.2 * deadline.given_s, 0.3, 15.0), max(0.3, 0.5 * left))
    else:
        reserve = _clamp(0.05 * left, 0.05, 1.0)
    deadline.cut_short |= left - reserve < time_limit_s
    return _clamp(left - reserve, 0.001, time_limit_s)


def out_of_time(seconds: float) -> str:
    """What a task is told that its deadline has ended."""
    words = f"the task was not done within the {seconds:g} s that it had left"
    return f"{words}; raise timeout_s or make it smaller"


def _clamp(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
