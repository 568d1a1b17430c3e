"""HiGHS behind the blocks of a program: what it tells while it searches."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

from gridpact.compute.solve.highs import LinearProgram, Outcome


def knapsack(count: int) -> LinearProgram:
    """Several dimensions at once: 60 items take minutes, 10 a moment."""
    dice = np.random.default_rng(1)
    program = LinearProgram()
    weights = dice.integers(5, 50, size=(8, count)).astype(np.float64)
    items = program.variables(
        count, upper=1.0, cost=-weights.mean(axis=0) - dice.uniform(0, 5, count), whole=True
    )
    for row in weights:
        terms = [(float(weight), items[i : i + 1]) for i, weight in enumerate(row)]
        program.rows(-math.inf, 12.5 * count, *terms)
    return program


def test_search_tells_what_it_has_found_and_proven() -> None:
    heard: list[tuple[float | None, float | None, float | None]] = []
    threads: set[int] = set()

    def listen(*found: float | None) -> None:
        objective, bound, gap = found
        heard.append((objective, bound, gap))
        threads.add(threading.get_ident())

    solution = knapsack(60).solve(time_limit_s=1.5, on_progress=listen)
    assert solution.outcome is Outcome.TIME_LIMIT
    assert threads == {threading.get_ident()}
    assert 5 <= len(heard) <= 16  # ten a second
    assert heard[0] == (None, None, None)
    told = [(o, b, g) for o, b, g in heard if o is not None and b is not None and g is not None]
    assert len(told) >= 3
    for objective, bound, gap in told:
        assert bound <= solution.objective <= objective
        assert gap == pytest.approx((objective - bound) / abs(objective))
    assert [o for o, _, _ in told] == sorted((o for o, _, _ in told), reverse=True)
    assert [b for _, b, _ in told] == sorted(b for _, b, _ in told)


def test_what_hears_of_a_search_may_end_it() -> None:
    def refuse(*_: float | None) -> None:
        raise LookupError("enough")

    started = time.monotonic()
    with pytest.raises(LookupError):
        knapsack(60).solve(time_limit_s=60.0, on_progress=refuse)
    assert time.monotonic() - started < 10
    assert knapsack(10).solve(time_limit_s=60.0).outcome is Outcome.OPTIMAL


def test_linear_program_has_nothing_to_tell_on_its_way() -> None:
    program = LinearProgram()
    program.equal(2.0, (1.0, program.variables(1, cost=1.0)))

    def listen(*_: float | None) -> None:
        pytest.fail("called")

    assert program.solve(time_limit_s=10.0, on_progress=listen).objective == 2.0
