"""HiGHS behind the blocks of a program: what it tells while it searches."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

from gridpact.compute.solve.deadline import allowed_s, stopped_in
from gridpact.compute.solve.highs import Block, LinearProgram, Outcome, SolverError


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


class Transport:
    """Goods from six places to eight, at random costs."""

    def __init__(self, dice: np.random.Generator) -> None:
        self.costs = dice.uniform(0, 9, (6, 8))
        self.upper = dice.uniform(1, 8, (6, 8))
        self.supply = dice.uniform(6.5, 13.0, 6)
        self.demand = dice.uniform(1, 11, 8)
        self.factor = np.ones((6, 8))

    def program(self) -> tuple[LinearProgram, Block, Block, Block]:
        program = LinearProgram()
        flows = program.variables(48, upper=self.upper.ravel(), cost=self.costs.ravel())
        grid = flows.reshape(6, 8)
        supplies = program.rows(
            0.0, self.supply, *((self.factor[:, to], grid[:, to]) for to in range(8))
        )
        demands = program.rows(self.demand, math.inf, *((1.0, grid[i, :]) for i in range(6)))
        return program, flows, supplies, demands


def test_changed_model_gives_what_a_new_one_gives() -> None:
    dice = np.random.default_rng(5)
    now = Transport(dice)
    program, flows, supplies, demands = now.program()
    model = program.model()
    outcomes: list[Outcome] = []
    for _ in range(100):
        then = Transport(dice)
        part = slice(int(dice.integers(0, 48)), None)
        now.costs.ravel()[part] = then.costs.ravel()[part]
        model.change_costs(flows[part], then.costs.ravel()[part])
        now.upper.ravel()[part] = then.upper.ravel()[part]
        model.change_bounds(flows[part], 0.0, then.upper.ravel()[part])
        now.supply, now.demand = then.supply, then.demand
        model.change_rows(supplies, 0.0, now.supply)
        model.change_rows(demands, now.demand, math.inf)
        place, to = dice.integers(0, 6, 1), dice.integers(0, 8, 1)
        now.factor[place, to] = dice.uniform(0.5, 1.5)
        model.change_coefficients(
            supplies[place], flows.reshape(6, 8)[place, to], now.factor[place, to]
        )
        if dice.integers(0, 10) == 0:
            model.start_anew()
        warm = model.solve(time_limit_s=10.0)
        cold = now.program()[0].solve(time_limit_s=10.0)
        assert warm.outcome is cold.outcome
        outcomes.append(warm.outcome)
        if warm.has_values:
            assert warm.objective == pytest.approx(cold.objective, abs=1e-7)
    assert set(outcomes) == {Outcome.OPTIMAL, Outcome.INFEASIBLE}


def test_model_has_its_time_limit_again_in_every_run() -> None:
    model = knapsack(60).model()
    for _ in range(3):
        started = time.monotonic()
        found = model.solve(time_limit_s=0.4)
        assert found.outcome is Outcome.TIME_LIMIT
        assert found.has_values
        assert 0.3 < time.monotonic() - started < 20


@pytest.mark.parametrize("left_s", [0.6, 1.5])
def test_deadline_of_the_task_ends_a_search_before_it_with_the_best_point(left_s: float) -> None:
    started = time.monotonic()
    with stopped_in(left_s):
        found = knapsack(60).solve(time_limit_s=60.0)
    took_s = time.monotonic() - started
    assert found.outcome is Outcome.TIME_LIMIT
    assert found.has_values
    assert left_s / 3 < took_s < 20  # of 60


def test_search_leaves_a_part_of_what_is_left_for_its_answer() -> None:
    for left_s, most_s in ((0.6, 0.3), (10.0, 8.0), (100.0, 85.0)):
        with stopped_in(left_s):
            assert left_s / 3 < allowed_s(600.0, is_search=True) <= most_s


def test_later_search_leaves_as_much_for_its_answer_as_the_first() -> None:
    for left_s, most_s in ((30.0, 18.0), (20.0, 10.0), (0.5, 0.2)):
        with stopped_in(60.0) as deadline:
            deadline.moment = time.monotonic() + left_s
            assert left_s / 3 < allowed_s(600.0, is_search=True) <= most_s


def test_deadline_that_has_passed_leaves_next_to_no_time() -> None:
    with stopped_in(-1.0):
        assert allowed_s(60.0, is_search=True) == allowed_s(60.0, is_search=False) == 0.001
    assert allowed_s(60.0, is_search=True) == 60.0


def test_nothing_is_told_to_whoever_listened_to_another_run() -> None:
    heard: list[object] = []
    model = knapsack(60).model()
    model.solve(time_limit_s=0.3, on_progress=lambda *found: heard.append(found))
    count = len(heard)
    assert count
    model.solve(time_limit_s=0.3)
    assert len(heard) == count


def test_change_that_highs_does_not_take_is_refused() -> None:
    program = LinearProgram()
    block = program.variables(2, cost=1.0)
    program.equal(2.0, (1.0, block[:1]))
    model = program.model()
    with pytest.raises(SolverError, match="costs"):
        model.change_costs(block + 7, 1.0)


def nearly(missing: float) -> tuple[LinearProgram, Block]:
    """At most 1 and at least a little more than 1; at the same time not below 3 of another."""
    program = LinearProgram()
    both = program.variables(2, cost=1.0)
    program.at_most(1.0, (1.0, both[:1]))
    program.rows(1.0 + missing, np.inf, (1.0, both[:1]))
    program.rows(3.0, np.inf, (1.0, both[1:]))
    return program, both


def test_rows_that_rounding_contradicts_are_widened_by_that() -> None:
    program, both = nearly(2e-6)
    assert program.solve(time_limit_s=9).outcome is Outcome.INFEASIBLE
    assert program.widen()
    found = program.solve(time_limit_s=9)
    assert found.outcome is Outcome.OPTIMAL
    assert found.value(both).tolist() == pytest.approx([1.0, 3.0], abs=3e-6)


def test_rows_that_contradict_each_other_by_more_are_left_alone() -> None:
    program, _ = nearly(1e-3)
    assert not program.widen()
    assert program.solve(time_limit_s=9).outcome is Outcome.INFEASIBLE
