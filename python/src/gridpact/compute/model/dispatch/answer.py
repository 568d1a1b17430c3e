"""The whole way from a problem to its plan: search, or relax, and price each future."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gridpact.compute.model.dispatch.conflict import Broken, broken_limits, infeasible, relaxed
from gridpact.compute.model.dispatch.plan import Plan, plan_of
from gridpact.compute.model.dispatch.problem import Problem, decided_names
from gridpact.compute.model.dispatch.relief import NO_RELIEF, Relief
from gridpact.compute.model.dispatch.search import NoPlanError, Priced, Stop, cheapest
from gridpact.compute.model.dispatch.site import Held, Series, Site
from gridpact.compute.solve.highs import Listener
from gridpact.compute.solve.warm_program import WarmProgram

HELD_TOLERANCES_KW = (1e-7, 1e-6, 1e-5)
"""How far a shared power may move where it is held, the smallest first."""
COST_TOLERANCE = 1e-5
"""Of what a future costs by itself and with the others, relative."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The plan with the prices behind it, and that of every other future.

    ``chosen`` is the index of the future that ``priced`` and ``plan`` belong to.
    """

    priced: Priced
    plan: Plan
    broken: tuple[Broken, ...]
    relative_gap: float
    proven: bool
    chosen: int
    plans: tuple[Plan, ...]  # of each future


def answer(
    problem: Problem,
    stop: Stop,
    *,
    relax: bool,
    on_progress: Listener | None = None,
    warm: WarmProgram | None = None,
) -> Answer:
    """The cheapest plan; where there is none, the relaxed one, or INFEASIBLE unless ``relax``.

    Raises GridpactError: INFEASIBLE, TASK_TIMEOUT, SOLVER_FAILED.
    """
    relief = NO_RELIEF
    try:
        together = cheapest(problem, stop, on_progress=on_progress, warm=warm)
    except NoPlanError:
        together, relief = relaxed(problem, stop, on_progress)
    futures = [together]
    if len(problem.futures) > 1:
        held, whole = _held(problem, together), together.solved
        costs = [whole.written.cost_of(i, whole.solution) for i in range(len(problem.futures))]
        futures = [
            _on_its_own(future.site, held, stop, relief, cost)
            for future, cost in zip(problem.futures, costs, strict=True)
        ]
    chosen = int(np.argmax([future.probability for future in problem.futures]))
    plans = tuple(map(plan_of, futures))
    broken = tuple(broken_limits(futures[chosen], plans[chosen], relief))
    if broken and not relax:
        raise infeasible(broken)
    return Answer(
        priced=futures[chosen],
        plan=plans[chosen],
        broken=broken,
        relative_gap=max(together.relative_gap, futures[chosen].relative_gap),
        proven=together.proven and all(priced.proven for priced in futures),
        chosen=chosen,
        plans=plans,
    )


def conditional_value_at_risk(
    costs: Series, probabilities: Series, tail_probability: float
) -> float:
    """The mean cost of the worst ``tail_probability`` of cases."""
    worst_first = np.argsort(-costs, kind="stable")
    left, total = tail_probability, 0.0
    for cost, probability in zip(costs[worst_first], probabilities[worst_first], strict=True):
        part = min(left, float(probability))
        total += part * float(cost)
        left -= part
    # Rounding may leave a part of the tail behind the last case.
    total += max(0.0, left) * float(costs[worst_first[-1]])
    return total / tail_probability


def _held(problem: Problem, together: Priced) -> Held:
    """What is shared, as the first future has it."""
    first, solution = together.solved.written.formulations[0], together.solution
    shared = slice(0, problem.shared_slots)
    powers: Mapping[str, Series] = {
        name: first.powers[name].value(solution)[shared] for name in decided_names(first.site)
    }
    running = {
        generator.name: np.round(solution.value(first.whole[key])[shared])
        for generator in first.site.generators
        if (key := f"generator {generator.name}") in first.whole
    }
    return Held(powers, running, 0.0)


def _on_its_own(site: Site, held: Held, stop: Stop, relief: Relief, at_most: float) -> Priced:
    """The best answer of a future to what is shared; its part of the whole is ``at_most``.

    What is shared is a number with the solver's error in it, which must not make a plan impossible;
    nor dearer: HiGHS 1.16 has taken a worse plan for the best where it is held so closely.
    """
    best: Priced | None = None
    room = COST_TOLERANCE * max(1.0, abs(at_most))
    for tolerance in HELD_TOLERANCES_KW:
        forgives = best is None and tolerance == HELD_TOLERANCES_KW[-1]
        try:
            found = cheapest(_holding(site, held, tolerance), stop, relief, forgives=forgives)
        except NoPlanError:
            continue
        if best is None or found.solution.objective < best.solution.objective:
            best = found
        if best.solution.objective <= at_most + room or not found.proven:
            break
    assert best is not None, "the last one forgives"
    return best


def _holding(site: Site, held: Held, tolerance_kw: float) -> Problem:
    return Problem.certain(replace(site, held=replace(held, tolerance_kw=tolerance_kw)))
