"""One or several futures in one program, with what joins them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gridpact.compute.model.dispatch.draft import Decisions, Power, add_power
from gridpact.compute.model.dispatch.formulation import Formulation, formulate
from gridpact.compute.model.dispatch.relief import Goal, Relief
from gridpact.compute.model.dispatch.site import Site
from gridpact.compute.solve.highs import Block, Floats, LinearProgram, Solution

LITTLE = 1e-6
"""Cost of a discharged kWh where cost is not the aim: of equal ways, the one that moves least."""


@dataclass(frozen=True, slots=True)
class Future:
    """A way that things may go."""

    name: str
    probability: float
    site: Site


@dataclass(frozen=True, slots=True)
class Problem:
    """What is planned for: one site, or several futures of it that share their first slots."""

    futures: tuple[Future, ...]
    shared_slots: int = 0
    risk_weight: float = 0.0
    tail_probability: float = 1.0

    @classmethod
    def certain(cls, site: Site) -> Problem:
        return cls((Future("", 1.0, site),))


@dataclass(frozen=True, slots=True)
class Share:
    """The variables of a future, and what they cost, whatever weight it has."""

    variables: Block
    costs: Floats


@dataclass(frozen=True, slots=True)
class Written:
    """The program of a problem, and where in it everything stands."""

    program: LinearProgram
    formulations: tuple[Formulation, ...]
    relief: Block  # one variable for each limit that may give way
    shares: tuple[Share, ...] = ()  # of each of several futures

    def cost_of(self, future: int, solution: Solution) -> float:
        """What one of several futures costs in a solution of them all."""
        share = self.shares[future]
        return float(share.costs @ solution.value(share.variables))


def write(problem: Problem, decisions: tuple[Decisions, ...], relief: Relief) -> Written:
    """The program of all futures, ``decisions`` being those of each."""
    program = LinearProgram()
    amounts = _relief(program, relief)
    by_field = {limit.field: amounts[i : i + 1] for i, limit in enumerate(relief.limits)}
    formulations: list[Formulation] = []
    own: list[Block] = []
    for future, its_decisions in zip(problem.futures, decisions, strict=True):
        first = program.variable_count
        formulations.append(formulate(program, future.site, its_decisions, by_field))
        own.append(np.arange(first, program.variable_count, dtype=np.int32))
    shares: list[Share] = []
    if len(problem.futures) > 1:
        for one, another in pairwise(formulations):
            _share(program, problem.shared_slots, one, another)
        costs = program.costs()
        shares = [Share(variables, costs[variables]) for variables in own]
        _weigh(program, problem, own)
    if relief.goal is not Goal.LEAST_COST:
        _replace_goal(program, formulations, amounts, relief.goal)
    return Written(program, tuple(formulations), amounts, tuple(shares))


def _relief(program: LinearProgram, relief: Relief) -> Block:
    if relief.amounts is not None:
        amounts = np.array(relief.amounts)
        return program.variables(len(relief.limits), lower=amounts, upper=amounts)
    amounts = program.variables(len(relief.limits))
    if relief.most_in_all is not None:
        program.sum(-np.inf, relief.most_in_all, (1.0, amounts))
    return amounts


def _share(program: LinearProgram, slots: int, one: Formulation, another: Formulation) -> None:
    """What is done in the first slots is the same in both."""
    for name, power in one.powers.items():
        if name in decided_names(one.site):
            _equal(program, slots, power, another.powers[name])
    for generator in one.site.generators:
        key = f"generator {generator.name}"
        if key in one.whole:
            pair = (1.0, one.whole[key][:slots]), (-1.0, another.whole[key][:slots])
            program.equal(0.0, *pair)


def decided_names(site: Site) -> set[str]:
    """The assets whose power does not follow from what comes; PV and the grid balance the rest."""
    return {
        asset.name
        for assets in (
            site.batteries,
            site.vehicles,
            site.flexible_loads,
            site.cycles,
            site.heat_pumps,
            site.generators,
        )
        for asset in assets
    }


def _equal(program: LinearProgram, slots: int, one: Power, another: Power) -> None:
    rows = program.empty_rows(slots, 0.0, 0.0)
    add_power(program, rows, 1.0, one)
    add_power(program, rows, -1.0, another)


def _weigh(program: LinearProgram, problem: Problem, own: list[Block]) -> None:
    """(1 − risk_weight)·expected cost + risk_weight·CVaR, by Rockafellar and Uryasev."""
    costs = program.costs()
    weighted = costs.copy()
    for future, variables in zip(problem.futures, own, strict=True):
        weighted[variables] *= (1.0 - problem.risk_weight) * future.probability
    program.replace_costs(weighted)
    if problem.risk_weight == 0.0:
        return
    probabilities = np.array([future.probability for future in problem.futures])
    threshold = program.variables(1, lower=-np.inf, cost=problem.risk_weight)
    beyond = program.variables(
        len(own), cost=problem.risk_weight * probabilities / problem.tail_probability
    )
    for i, variables in enumerate(own):
        priced = variables[costs[variables] != 0.0]
        program.sum(
            0.0,
            np.inf,
            (1.0, beyond[i : i + 1]),
            (1.0, threshold),
            (-costs[priced], priced),
        )


def _replace_goal(
    program: LinearProgram, formulations: Iterable[Formulation], amounts: Block, goal: Goal
) -> None:
    costs = np.zeros(program.variable_count)
    for formulation in formulations:
        for _, storage in formulation.storages:
            costs[storage.flows.backward] = LITTLE * formulation.site.slot_hours
    if goal is Goal.LEAST_RELIEF:
        costs[amounts] = 1.0
    program.replace_costs(costs)
