"""From the problem to the cheapest commitment, its dispatch, its cost and its prices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.progress import Progress
from gridpact.compute.model.unit_commitment.conflict import infeasible
from gridpact.compute.model.unit_commitment.economic_dispatch import (
    Dispatch,
    Table,
    economic_dispatch,
)
from gridpact.compute.model.unit_commitment.first_plan import cheaper, first_plan
from gridpact.compute.model.unit_commitment.fleet import Commitment, Fleet, ThermalUnit
from gridpact.compute.model.unit_commitment.formulate import Formulation, formulate
from gridpact.compute.solve.highs import Listener, Outcome, Solution, SolverError
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError


@dataclass(frozen=True, slots=True)
class Stop:
    """When the search may end."""

    time_limit_s: float
    relative_gap: float


@dataclass(frozen=True, slots=True)
class Start:
    """A start: its slot, which start-up category counts, how long the unit was off, its cost."""

    slot: int
    category: int
    off_time_h: float
    cost: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a plan costs: being on, and producing above minimum, for each unit and slot; starts."""

    no_load: Table
    production: Table
    starts: tuple[tuple[Start, ...], ...]  # of each unit

    @property
    def startup(self) -> float:
        return sum(start.cost for starts in self.starts for start in starts)

    @property
    def total(self) -> float:
        return float(self.no_load.sum() + self.production.sum()) + self.startup


@dataclass(frozen=True, slots=True)
class Plan:
    """Which units are on, what they do, and what it costs. ``proven``: within the gap asked for."""

    proven: bool
    bound: float  # no plan costs less
    relative_gap: float
    commitment: Commitment
    dispatch: Dispatch
    cost: Cost


def cheapest_plan(fleet: Fleet, stop: Stop, progress: Progress) -> Plan:
    """The cheapest plan, as far as the time allows.

    Raises GridpactError: INFEASIBLE where there is none, with the demand and reserve that cannot
    be met, TASK_TIMEOUT when none was found in time, SOLVER_FAILED when HiGHS gave up.
    """

    def tell(objective: float | None, bound: float | None, gap: float | None) -> None:
        fraction = 0.1 + 0.8 * (1.0 - min(1.0, 1.0 if gap is None else gap))
        progress(fraction, "solve", objective=objective, bound=bound, relative_gap=gap)

    try:
        formulation = formulate(fleet)
        found = _search(fleet, formulation, stop, tell)
        if not found.has_values:
            raise _out_of_time(stop)
        commitment = np.array([found.value(unit.on) > 0.5 for unit in formulation.units])
        dispatch = economic_dispatch(fleet, commitment)
    except SolverError as error:
        words = f"HiGHS ended with: {error}; check the scale of the inputs and report the case"
        raise GridpactError(Reason.SOLVER_FAILED, words, solver_status=error) from error
    cost = priced(fleet, commitment, dispatch)
    gap = relative_gap(cost.total, found.bound)
    in_time = found.outcome is Outcome.OPTIMAL or gap <= stop.relative_gap
    return Plan(in_time, min(found.bound, cost.total), gap, commitment, dispatch, cost)


def _search(fleet: Fleet, formulation: Formulation, stop: Stop, tell: Listener) -> Solution:
    """The best commitment in the time given. Raises GridpactError (INFEASIBLE)."""
    deadline = time.monotonic() + stop.time_limit_s
    model = formulation.program.model()
    first = first_plan(formulation, model, stop.time_limit_s, stop.relative_gap, tell)
    if first is not None:
        if first.outcome is Outcome.OPTIMAL:
            return first
        model.start_from(first)

    def search(least_s: float) -> Solution:
        return model.solve(
            time_limit_s=max(least_s, deadline - time.monotonic()),
            relative_gap=stop.relative_gap,
            on_progress=tell,
        )

    found = search(0.01)
    if found.outcome is Outcome.INFEASIBLE:
        if (refused := infeasible(fleet)) is not None:
            raise refused
        # Rarely, HiGHS's presolve takes a program for infeasible that is not, and the elastic one
        # has just met all demand: then without presolve.
        model.skip_presolve()
        found = search(1.0)
        if found.outcome is Outcome.INFEASIBLE:
            raise SolverError("contradictory answers")
    if first is None:
        return found
    best = cheaper(first, found, formulation.program) if found.has_values else first
    return replace(best, outcome=found.outcome, bound=max(first.bound, found.bound))


def priced(fleet: Fleet, commitment: Commitment, dispatch: Dispatch) -> Cost:
    """The cost of a plan; it follows from the commitment and the powers alone."""
    hours = fleet.slot_hours
    no_load = np.array([[hours * unit.no_load_cost_per_h] for unit in fleet.units]) * commitment
    producing = np.array(
        [
            hours
            * np.interp(
                power,
                [point.power_mw for point in unit.cost_curve],
                [point.cost_per_h for point in unit.cost_curve],
            )
            for unit, power in zip(fleet.units, dispatch.power_mw, strict=True)
        ]
    )
    starts = tuple(
        tuple(_starts_of(unit, on, hours)) for unit, on in zip(fleet.units, commitment, strict=True)
    )
    return Cost(no_load, producing * commitment - no_load, starts)


def _starts_of(unit: ThermalUnit, on: NDArray[np.bool_], slot_hours: float) -> Iterator[Start]:
    off_time_h = 0.0 if unit.initially_on else unit.initial_duration_h
    was_on = unit.initially_on
    for slot, is_on in enumerate(on):
        if is_on and not was_on:
            category = unit.category_after(off_time_h)
            yield Start(slot, category, off_time_h, unit.categories[category].cost)
        off_time_h = 0.0 if is_on else off_time_h + slot_hours
        was_on = bool(is_on)


def relative_gap(cost: float, bound: float) -> float:
    """How much cheaper the cheapest plan may be, relative to this one."""
    return max(0.0, cost - bound) / max(abs(cost), 1e-9)


def _out_of_time(stop: Stop) -> GridpactError:
    words = (
        f"no plan was found within options.time_limit_s = {stop.time_limit_s:g} s; raise it, or "
        "commit fewer slots at once"
    )
    return GridpactError(Reason.TASK_TIMEOUT, words, timeout_s=stop.time_limit_s)
