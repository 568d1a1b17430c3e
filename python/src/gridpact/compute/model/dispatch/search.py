"""From the problem to the cheapest plan: relax, look where both ways pay, decide only there."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.draft import Decisions, Flows, Way, Ways
from gridpact.compute.model.dispatch.formulation import Formulation
from gridpact.compute.model.dispatch.problem import Problem, Written, write
from gridpact.compute.model.dispatch.relief import NO_RELIEF, Goal, Relief
from gridpact.compute.model.dispatch.site import Mask, Series, Site
from gridpact.compute.solve.highs import Listener, Outcome, Solution, SolverError
from gridpact.compute.solve.warm_program import WarmProgram
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError

TOLERANCE = 1e-6
"""Below this, power (kW) and energy (kWh) are none, and prices (per kWh) equal."""

PRICING_TIME_LIMIT_S = 60.0
"""For the linear program that remains when every choice is made, however late that is."""


class NoPlanError(Exception):
    """The limits of the problem exclude each other."""


class Stop:
    """When the search must end, and how close to the optimum it may."""

    def __init__(self, time_limit_s: float = 60.0, relative_gap: float = 1e-6) -> None:
        self.time_limit_s = time_limit_s
        self.relative_gap = relative_gap
        self._end = time.monotonic() + time_limit_s

    @property
    def left_s(self) -> float:
        return max(0.01, self._end - time.monotonic())

    def closer(self, relative_gap: float) -> Stop:
        """The same end, and a smaller gap."""
        other = Stop(self.time_limit_s, relative_gap)
        other._end = self._end
        return other

    def missed(self) -> GridpactError:
        words = (
            f"no plan was found within options.time_limit_s = {self.time_limit_s:g} s; "
            "raise it or make the problem smaller"
        )
        return GridpactError(Reason.TASK_TIMEOUT, words, timeout_s=self.time_limit_s)


@dataclass(frozen=True, slots=True)
class Solved:
    """A solved program, and what had been decided in it."""

    problem: Problem
    relief: Relief
    decisions: tuple[Decisions, ...]
    written: Written
    solution: Solution

    @property
    def is_linear(self) -> bool:
        return not self.solution.is_mixed

    @property
    def in_time(self) -> bool:
        return self.solution.outcome is Outcome.OPTIMAL

    @property
    def relief_amounts(self) -> Series:
        return self.solution.value(self.written.relief)


@dataclass(frozen=True, slots=True)
class Priced:
    """The linear program that remains when everything is decided, solved: schedule and duals.

    ``relative_gap`` is what the search left open; ``proven`` means not more than was asked for.
    """

    solved: Solved
    relative_gap: float
    proven: bool

    @property
    def formulation(self) -> Formulation:
        """That of the only future."""
        (only,) = self.solved.written.formulations
        return only

    @property
    def solution(self) -> Solution:
        return self.solved.solution


def cheapest(
    problem: Problem,
    stop: Stop,
    relief: Relief = NO_RELIEF,
    on_progress: Listener | None = None,
    warm: WarmProgram | None = None,
    *,
    forgives: bool = False,
) -> Priced:
    """The cheapest plan in which nothing runs both ways at once.

    With ``forgives`` a plan is known to exist but for rounding: rows are widened by that. Raises
    NoPlanError where there is none, and GridpactError: TASK_TIMEOUT when none was found in time,
    SOLVER_FAILED when HiGHS gave up.
    """
    found = search(problem, stop, relief, on_progress, warm, forgives=forgives)
    if found.is_linear and found.in_time:
        return Priced(found, 0.0, proven=True)
    fixed = _fixed(found, stop)
    objective, bound = fixed.solution.objective, found.solution.bound
    gap = max(0.0, objective - bound) / max(abs(objective), 1e-9)
    return Priced(fixed, gap, proven=found.in_time or gap <= stop.relative_gap)


def again(priced: Priced, relief: Relief) -> Priced:
    """The linear program of a plan once more, with its decisions and another relief."""
    solved = priced.solved
    found = _solve(
        solved.problem, solved.decisions, relief, PRICING_TIME_LIMIT_S, 0.0, forgives=True
    )
    if not found.solution.has_values:
        words = "the relaxed plan could not be priced; check the scale of the inputs"
        raise GridpactError(Reason.SOLVER_FAILED, words, solver_status=found.solution.outcome.value)
    return Priced(found, priced.relative_gap, priced.proven)


def search(
    problem: Problem,
    stop: Stop,
    relief: Relief = NO_RELIEF,
    on_progress: Listener | None = None,
    warm: WarmProgram | None = None,
    *,
    forgives: bool = False,
) -> Solved:
    """Solves relaxations, each with more choices, until no slot runs both ways or time is out.

    The last one is exact, because every one is a relaxation of the whole problem. Raises as
    `cheapest`.
    """
    decisions = tuple(Decisions() for _ in problem.futures)
    while True:
        found = _solve(
            problem,
            decisions,
            relief,
            stop.left_s,
            stop.relative_gap,
            on_progress,
            warm,
            forgives=forgives,
        )
        if found.solution.outcome is Outcome.INFEASIBLE:
            if forgives:
                words = "a plan that exists was not found again; check the scale of the inputs"
                raise GridpactError(Reason.SOLVER_FAILED, words, solver_status="infeasible")
            raise NoPlanError
        if not found.solution.has_values:
            raise stop.missed()
        more = _with_more_choices(found)
        if more is None or not found.in_time:
            return found
        decisions, warm = more, None


def _solve(
    problem: Problem,
    decisions: tuple[Decisions, ...],
    relief: Relief,
    time_limit_s: float,
    relative_gap: float,
    on_progress: Listener | None = None,
    warm: WarmProgram | None = None,
    *,
    forgives: bool = False,
) -> Solved:
    written = write(problem, decisions, relief)
    try:
        if warm is not None and not written.program.is_mixed and len(problem.futures) == 1:
            solution = warm.solve(written.program, time_limit_s=time_limit_s)
        else:
            solution = written.program.solve(
                time_limit_s=time_limit_s, relative_gap=relative_gap, on_progress=on_progress
            )
        if forgives and solution.outcome is Outcome.INFEASIBLE and written.program.widen():
            # Presolve takes no bound for less than it is; the simplex method has its tolerance.
            model = written.program.model()
            model.skip_presolve()
            solution = model.solve(time_limit_s=time_limit_s, relative_gap=relative_gap)
    except SolverError as error:
        words = f"HiGHS ended with: {error}; check the scale of the inputs and report the case"
        raise GridpactError(Reason.SOLVER_FAILED, words, solver_status=error) from error
    return Solved(problem, relief, decisions, written, solution)


def _with_more_choices(found: Solved) -> tuple[Decisions, ...] | None:
    """The decisions with a choice wherever both ways are run; None where nobody does.

    The first time that one slot of a pair does, the others whose prices can reward it follow.
    """
    more: list[Decisions] = []
    changed = False
    for formulation, decided in zip(found.written.formulations, found.decisions, strict=True):
        ways = dict(decided.ways)
        for key, flows in formulation.flows.items():
            broken = _runs_both_ways(found, formulation, key, flows)
            if broken.any():
                follows = broken
                if key not in decided.ways:
                    follows = broken | _may_pay(found, formulation, key)[flows.slots]
                ways[key] = np.where(follows, np.int8(Way.CHOICE), flows.ways)
                changed = True
        more.append(Decisions(ways))
    return tuple(more) if changed else None


def _runs_both_ways(found: Solved, formulation: Formulation, key: str, flows: Flows) -> Mask:
    """Where both ways run at once and it matters.

    At one price, or without losses, both at once is the same as their difference alone; and where
    cost is not the aim, trading both ways gains nothing.
    """
    site = formulation.site
    if key == "grid":
        matters = site.export_price_per_kwh > _least_import_price(site)
        matters &= found.relief.goal is Goal.LEAST_COST
    else:
        matters = np.full(len(flows.slots), flows.has_losses)
    forward, backward = flows.values(found.solution)
    return matters & (np.minimum(forward, backward) > TOLERANCE)


def _may_pay(found: Solved, formulation: Formulation, key: str) -> Mask:
    """Where prices can reward running both ways."""
    site = formulation.site
    if found.relief.goal is not Goal.LEAST_COST:
        return np.zeros(site.slots, dtype=np.bool_)
    least_import = _least_import_price(site)
    if key == "grid":
        return site.export_price_per_kwh > least_import
    burning_pays = (least_import <= 0) | (site.export_price_per_kwh <= 0)
    if found.is_linear:
        burning_pays |= found.solution.dual(formulation.balance) <= 0
    return burning_pays


def _least_import_price(site: Site) -> Series:
    return site.import_price_per_kwh + site.least_surcharge_per_kwh


def _fixed(found: Solved, stop: Stop) -> Solved:
    """The linear program with every choice made as ``found`` runs, solved.

    At a tie it may run both ways where ``found`` does not; there ``found`` decides, too.
    """
    ties = [
        {
            key: _runs_both_ways(found, formulation, key, flows)
            for key, flows in formulation.flows.items()
        }
        for formulation in found.written.formulations
    ]
    while True:
        decisions = tuple(
            Decisions(
                {key: _ways(found, flows, of[key]) for key, flows in formulation.flows.items()},
                {
                    key: np.round(found.solution.value(block)) + 0.0
                    for key, block in formulation.whole.items()
                },
            )
            for formulation, of in zip(found.written.formulations, ties, strict=True)
        )
        # What was nearly whole is whole now, and what it leaked is missing.
        fixed = _solve(
            found.problem, decisions, found.relief, PRICING_TIME_LIMIT_S, 0.0, forgives=True
        )
        if fixed.solution.outcome is Outcome.INFEASIBLE:
            words = "the plan that was found could not be priced; check the scale of the inputs"
            raise GridpactError(Reason.SOLVER_FAILED, words, solver_status="infeasible")
        if not fixed.solution.has_values:
            raise stop.missed()
        more = False
        for formulation, of in zip(fixed.written.formulations, ties, strict=True):
            for key, flows in formulation.flows.items():
                broken = _runs_both_ways(fixed, formulation, key, flows)
                more |= bool(broken.any())
                of[key] |= broken
        if not more:
            return fixed


def _ways(found: Solved, flows: Flows, ties: Mask) -> Ways:
    """Choices and ties as ``found`` runs; what is neither stays open."""
    forward = flows.net_kw(found.solution) >= 0
    chosen = flows.ways == Way.CHOICE
    forward[chosen] = found.solution.value(flows.runs_forward) > 0.5
    return np.where(
        chosen | ties, np.where(forward, np.int8(Way.FORWARD), np.int8(Way.BACKWARD)), flows.ways
    )
