"""What must give way where no plan exists: docs/compute/dispatch.md, "No plan"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gridpact.compute.model.dispatch.plan import Plan
from gridpact.compute.model.dispatch.problem import Problem
from gridpact.compute.model.dispatch.relief import Goal, Limit, Relief, limits_of
from gridpact.compute.model.dispatch.search import (
    TOLERANCE,
    NoPlanError,
    Priced,
    Stop,
    again,
    cheapest,
    search,
)
from gridpact.compute.model.dispatch.site import Series
from gridpact.compute.solve.highs import Listener
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.violation import Violation

MORE_RELIEF = (1e-6, 1e-5)
"""By how much more than the least the limits may give way in all, in kW and kWh; the second where
rounding leaves no plan within the first."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A limit that a relaxed plan does not keep, and what one unit more of relief would save."""

    field: str
    name: str | None
    slot: int | None
    message: str
    amount: float
    unit: Literal["kW", "kWh"]
    price_per_unit: float


def relaxed(
    problem: Problem, stop: Stop, on_progress: Listener | None = None
) -> tuple[Priced, Relief]:
    """The cheapest plan in which a smallest set of limits gives way by the least, fixed as it is.

    Raises GridpactError: INFEASIBLE where no limit that may give way mends the problem, and as
    `cheapest`.
    """
    limits = _conflict(problem, stop)
    # That there is a plan was found with other costs: here and below only rounding can deny it.
    found = search(problem, stop.closer(1e-9), Relief(limits, Goal.LEAST_RELIEF), forgives=True)
    least = float(found.relief_amounts.sum())
    little, more = (Relief(limits, most_in_all=least + room) for room in MORE_RELIEF)
    try:
        priced = cheapest(problem, stop, little, on_progress)
    except NoPlanError:
        priced = cheapest(problem, stop, more, on_progress, forgives=True)
    amounts = np.maximum(priced.solved.relief_amounts, 0.0)
    fixed = Relief(limits, amounts=tuple(amounts.tolist()), least_in_all=least)
    return again(priced, fixed), fixed


def _conflict(problem: Problem, stop: Stop) -> tuple[Limit, ...]:
    """An irreducible set of limits that must give way, the easiest to change among them."""
    limits = limits_of(problem.futures[0].site)

    def enough(given: list[Limit], first: int) -> bool:
        """Whether a plan exists when these give way, and all from ``first`` on."""
        wanted = [limit for limit in limits if limit in given or limit in limits[first:]]
        try:
            search(problem, stop, Relief(tuple(wanted), Goal.ANY_PLAN))
        except NoPlanError:
            return False
        return True

    if not enough([], 0):
        words = "no plan satisfies every limit, whichever of the limits gives way that may"
        raise GridpactError(Reason.INFEASIBLE, words)
    found: list[Limit] = []
    while not enough(found, len(limits)):
        # The last limit from which on, itself included, a plan exists: it is necessary.
        low, high = 0, len(limits) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if enough(found, middle) else (low, middle - 1)
        found.append(limits[low])
    return tuple(limit for limit in limits if limit in found)


def broken_limits(priced: Priced, plan: Plan, relief: Relief) -> list[Broken]:
    """What gives way in a relaxed plan, with the numbers that would do, and prices."""
    solved = priced.solved
    prices = -solved.solution.bound_dual(solved.written.relief) + 0.0
    amounts = relief.amounts or ()
    found: list[Broken] = []
    for limit, amount, price in zip(relief.limits, amounts, prices.tolist(), strict=True):
        # One alone would do with the least.
        enough = relief.least_in_all if len(amounts) == 1 else amount
        slot, words = _broken(priced, plan, limit, enough)
        found.append(Broken(limit.field, limit.name, slot, words, amount, limit.unit, price))
    return found


def infeasible(broken: Sequence[Broken]) -> GridpactError:
    """INFEASIBLE with each limit that would have to give way."""
    named = [Violation(one.field, "feasible", one.message) for one in broken]
    ways = " and ".join(f"{one.field} {one.message}" for one in broken)
    words = f"no plan satisfies every limit: {ways}"
    return GridpactError(Reason.INFEASIBLE, words[:4096], violations=named[:100])


def _broken(priced: Priced, plan: Plan, limit: Limit, amount: float) -> tuple[int, str]:
    """The first slot in which a limit is broken, and by what number it would hold."""
    site, at = plan.site, limit.at
    match limit.member:
        case "heat_pumps[].tank.min_energy_kwh":
            least = site.heat_pumps[at[0]].tank.min_energy_kwh
            slot = _first(plan.heat_pumps[at[0]].missing_kwh > TOLERANCE)
            words = f"{_up(amount)} kWh of heat are missing to keep at least {least:g} in the tank"
            return slot, f"{words} (slot {slot})"
        case "electric_vehicles[].stays[].required_energy_kwh":
            stay = site.vehicles[at[0]].stays[at[1]]
            return stay.stop - 1, _too_little(stay.required_energy_kwh, amount)
        case "flexible_loads[].energy_kwh":
            load = site.flexible_loads[at[0]]
            return load.stop - 1, _too_little(load.energy_kwh, amount)
        case "heat_pumps[].tank.final_energy_kwh":
            final = site.heat_pumps[at[0]].tank.final_energy_kwh
            return site.slots - 1, _too_little(final, amount)
        case "batteries[].final_energy_kwh":
            final = site.batteries[at[0]].final_energy_kwh
            if final is not None and plan.batteries[at[0]].energy_kwh[-1] > final:
                return site.slots - 1, f"must be at least {_up(final + amount)}; it is {final:g}"
            return site.slots - 1, _too_little(final, amount)
        case "reserve.upward_power_kw" | "reserve.downward_power_kw":
            required, held = _reserve(priced, limit.member.removeprefix("reserve."))
            slot = _first(held < required - TOLERANCE)
            words = _too_little(float(required[slot]), amount)
            return slot, f"{words} (slot {slot})"
        case _:
            power, limits = _flow(plan, limit)
            slot = _first(power > limits + TOLERANCE)
            given = float(limits[slot])
            words = f"must be at least {_up(given + amount)}; it is {given:g} (slot {slot})"
            return slot, words


def _flow(plan: Plan, limit: Limit) -> tuple[Series, Series]:
    """What flows in the direction of a limit of the grid or a group, and the limit."""
    site = plan.site
    whose, _, member = limit.member.rpartition(".")
    owner = site if whose == "grid" else site.groups[limit.at[0]]
    power = (
        plan.grid_power_kw
        if whose == "grid"
        else np.sum([plan.power_kw[name] for name in site.groups[limit.at[0]].members], axis=0)
    )
    sign = 1.0 if "import" in member else -1.0
    return sign * power, np.broadcast_to(np.asarray(getattr(owner, member)), site.slots)


def _reserve(priced: Priced, member: str) -> tuple[Series, Series]:
    """What reserve is required, and what is held."""
    formulation = priced.formulation
    (block,) = (its for its in formulation.reserves if member.startswith(its.direction))
    held = sum(
        (priced.solution.value(share.held) for share in block.shares.values()),
        start=np.zeros(formulation.site.slots),
    )
    return getattr(formulation.site.reserve, member), held


def _too_little(wanted: float | None, amount: float) -> str:
    given = wanted or 0.0
    return f"must be at most {_down(given - amount)}; it is {given:g}"


def _first(slots: np.ndarray) -> int:
    return int(np.argmax(slots))


def _up(value: float) -> str:
    """Rounded to 1e-6 so that the number is still enough."""
    return f"{math.ceil(value * 1e6 - 1e-3) / 1e6:.10g}"


def _down(value: float) -> str:
    return f"{math.floor(value * 1e6 + 1e-3) / 1e6:.10g}"
