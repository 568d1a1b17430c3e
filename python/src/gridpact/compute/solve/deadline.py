"""When the task at hand has to be done."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)  # by time.monotonic


@contextmanager
def stopped_in(seconds: float) -> Generator[None]:
    """What is entered knows that it will be stopped then."""
    token = _DEADLINE.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def allowed_s(time_limit_s: float, *, is_search: bool) -> float:
    """How long a solver may run: as long as it was told, but not beyond the deadline.

    A search for whole numbers ends some time before it, so that its best point can still be
    priced, explained and sent.
    """
    left = _DEADLINE.get() - time.monotonic()
    reserve = _clamp(0.1 * left, 0.2, 10.0) if is_search else _clamp(0.05 * left, 0.05, 1.0)
    return _clamp(left - reserve, 0.001, time_limit_s)


def _clamp(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
