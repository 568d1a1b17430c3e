"""From the problem to the cheapest plan: relax, look where both ways pay, decide only there."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.dispatch import (
    Directions,
    Flows,
    Formulation,
    Slack,
    Way,
    formulate,
    free_directions,
)
from gridpact.compute.model.progress import Progress
from gridpact.compute.model.site import Battery, Series, Site
from gridpact.compute.solve.highs import Listener, Outcome, Solution, SolverError
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError

TOLERANCE = 1e-6
"""Below this, power (kW) and energy (kWh) are none, and prices (per kWh) equal."""

SNAP = 1e-9
"""Closer than this to a bound is on it."""

PRICING_TIME_LIMIT_S = 60.0
"""For the linear program that remains when every choice is made, however late that is."""


@dataclass(frozen=True, slots=True)
class Stop:
    """When the search may end."""

    time_limit_s: float = 60.0
    relative_gap: float = 1e-6


@dataclass(frozen=True, slots=True)
class BatteryPlan:
    """One battery's schedule with the dual values behind it."""

    power_kw: Series  # charging positive
    energy_kwh: Series  # at the end of each slot
    may_charge: NDArray[np.bool_]  # not set to 0 by a choice
    may_discharge: NDArray[np.bool_]
    value_per_kwh: Series  # −dual of the energy row, as the solver gave it

    @property
    def charge_power_kw(self) -> Series:
        return np.maximum(self.power_kw, 0.0)

    @property
    def discharge_power_kw(self) -> Series:
        return np.maximum(-self.power_kw, 0.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule for the site. ``proven`` means within the gap that was asked for."""

    proven: bool
    relative_gap: float
    energy_cost: float
    wear_cost: float
    grid_power_kw: Series  # import positive
    grid_price_per_kwh: Series
    batteries: tuple[BatteryPlan, ...]
    pv_power_kw: tuple[Series, ...]  # used power, not negative, one a plant

    @property
    def cost(self) -> float:
        return self.energy_cost + self.wear_cost


class NoPlanError(Exception):
    """The limits of the problem exclude each other."""


@dataclass(frozen=True, slots=True)
class Solved:
    """A solved relaxation, and which ways were left open in it."""

    site: Site
    directions: Directions
    formulation: Formulation
    solution: Solution

    def runs_both_ways(self) -> tuple[NDArray[np.bool_], ...]:
        """Where import and export, or charging and discharging, run at once and it matters.

        At one price, or without losses, both at once is the same as their difference alone.
        """
        site = self.site
        matters = (
            site.export_price_per_kwh > site.import_price_per_kwh,
            *(
                np.full(site.slots, battery.charge_efficiency * battery.discharge_efficiency < 1.0)
                for battery in site.batteries
            ),
        )
        return tuple(
            matter & (np.minimum(*self.flows_kw(flows)) > TOLERANCE)
            for matter, flows in zip(matters, self.formulation.flows, strict=True)
        )

    def flows_kw(self, flows: Flows) -> tuple[Series, Series]:
        return self.solution.value(flows.forward), self.solution.value(flows.backward)

    def net_kw(self, flows: Flows) -> Series:
        forward, backward = self.flows_kw(flows)
        return forward - backward


def cheapest_plan(site: Site, stop: Stop, progress: Progress) -> Plan:
    """The cheapest plan in which no battery and not the grid connection runs both ways at once.

    Raises NoPlanError where there is none, and GridpactError: TASK_TIMEOUT when none was found in
    time, SOLVER_FAILED when HiGHS gave up.
    """

    def tell(objective: float | None, bound: float | None, gap: float | None) -> None:
        fraction = 0.1 + 0.8 * (1.0 - min(1.0, 1.0 if gap is None else gap))
        progress(fraction, "solve", objective=objective, bound=bound, relative_gap=gap)

    found = search(site, stop, on_progress=tell)
    in_time = found.solution.outcome is Outcome.OPTIMAL
    is_linear = all((ways == Way.BOTH).all() for ways in found.directions)
    if in_time and is_linear:
        return _read(found, proven=True, bound=None)
    fixed = _solve(site, _decided(found), None, Stop(PRICING_TIME_LIMIT_S))
    if not fixed.solution.has_values:
        raise _out_of_time(stop)
    return _read(fixed, proven=in_time, bound=found.solution.bound)


def search(
    site: Site, stop: Stop, *, slack: Slack | None = None, on_progress: Listener | None = None
) -> Solved:
    """Solves relaxations, each with more choices, until no slot runs both ways or time is out.

    The last one is exact, because every one is a relaxation of the whole problem. With slack,
    what is given up is minimised instead of cost. Raises as `cheapest_plan`.
    """
    deadline = time.monotonic() + stop.time_limit_s
    directions = free_directions(site)
    while True:
        left = Stop(max(0.01, deadline - time.monotonic()), stop.relative_gap)
        found = _solve(site, directions, slack, left, on_progress)
        if found.solution.outcome is Outcome.INFEASIBLE:
            raise NoPlanError
        if not found.solution.has_values:
            raise _out_of_time(stop)
        more = _with_more_choices(found, slack)
        if more is None or found.solution.outcome is Outcome.TIME_LIMIT:
            return found
        directions = more


def _solve(
    site: Site,
    directions: Directions,
    slack: Slack | None,
    stop: Stop,
    on_progress: Listener | None = None,
) -> Solved:
    formulation = formulate(site, directions, slack)
    try:
        solution = formulation.program.solve(
            time_limit_s=stop.time_limit_s, relative_gap=stop.relative_gap, on_progress=on_progress
        )
    except SolverError as error:
        words = f"HiGHS ended with: {error}; check the scale of the inputs and report the case"
        raise GridpactError(Reason.SOLVER_FAILED, words, solver_status=error) from error
    return Solved(site, directions, formulation, solution)


def _with_more_choices(found: Solved, slack: Slack | None) -> Directions | None:
    """The directions with a choice wherever both ways are run; None where nobody does.

    Where one slot of a pair does, the others whose prices can reward it follow.
    """
    site = found.site
    imported, exported = site.import_price_per_kwh, site.export_price_per_kwh
    burning_may_pay = np.minimum(imported, exported) <= 0
    may_pay = (exported > imported, *(burning_may_pay for _ in site.batteries))
    broken = found.runs_both_ways()
    if slack:  # there are no prices then, and trading both ways gains nothing
        may_pay = tuple(np.zeros(site.slots, dtype=np.bool_) for _ in may_pay)
        broken = (may_pay[0], *broken[1:])
    if not any(slots.any() for slots in broken):
        return None
    return tuple(
        np.where(slots | pays, np.int8(Way.CHOICE), ways) if slots.any() else ways
        for ways, slots, pays in zip(found.directions, broken, may_pay, strict=True)
    )


def _decided(found: Solved) -> Directions:
    """Every choice made as the solution runs; out of time, so is what still runs both ways."""
    return tuple(
        np.where(
            (ways == Way.CHOICE) | broken,
            np.where(found.net_kw(flows) >= 0, np.int8(Way.FORWARD), np.int8(Way.BACKWARD)),
            ways,
        )
        for ways, broken, flows in zip(
            found.directions, found.runs_both_ways(), found.formulation.flows, strict=True
        )
    )


def _read(found: Solved, *, proven: bool, bound: float | None) -> Plan:
    """The plan of a solved linear program; ``bound`` is that of the choices made before it."""
    site, formulation, solution = found.site, found.formulation, found.solution
    grid_power, *battery_powers = (found.net_kw(flows) for flows in formulation.flows)
    grid_power = _tidy(grid_power, -site.max_export_power_kw, site.max_import_power_kw)
    batteries = tuple(
        BatteryPlan(
            power_kw=_tidy(power, -battery.max_discharge_power_kw, battery.max_charge_power_kw),
            energy_kwh=_tidy(
                solution.value(stored[1:]), battery.min_energy_kwh, battery.max_energy_kwh
            ),
            may_charge=ways != Way.BACKWARD,
            may_discharge=ways != Way.FORWARD,
            value_per_kwh=-solution.dual(energy),
        )
        for battery, power, ways, stored, energy in zip(
            site.batteries,
            battery_powers,
            found.directions[1:],
            formulation.stored,
            formulation.energy,
            strict=True,
        )
    )
    used = iter(formulation.used_pv)
    paid_for_energy = energy_cost(site, grid_power)
    paid_for_wear = sum(
        (wear_cost(site, *pair) for pair in zip(site.batteries, batteries, strict=True)), start=0.0
    )
    cost = paid_for_energy + paid_for_wear
    return Plan(
        proven=proven,
        relative_gap=0.0 if bound is None else max(0.0, cost - bound) / max(abs(cost), SNAP),
        energy_cost=paid_for_energy,
        wear_cost=paid_for_wear,
        grid_power_kw=grid_power,
        grid_price_per_kwh=solution.dual(formulation.balance) / site.slot_hours,
        batteries=batteries,
        pv_power_kw=tuple(
            _tidy(solution.value(next(used)), 0.0, pv.available_power_kw)
            if pv.curtailable
            else pv.available_power_kw
            for pv in site.pv
        ),
    )


def wear_cost(site: Site, battery: Battery, plan: BatteryPlan) -> float:
    """What the plan wears off the battery."""
    discharged_kwh = site.slot_hours * float(plan.discharge_power_kw.sum())
    return battery.wear_cost_per_kwh * discharged_kwh


def energy_cost(site: Site, grid_power_kw: Series) -> float:
    """What the power at the grid connection (import positive) costs."""
    price = np.where(grid_power_kw > 0, site.import_price_per_kwh, site.export_price_per_kwh)
    return site.slot_hours * float(np.dot(price, grid_power_kw))


def _tidy(values: Series, lower: float, upper: float | Series) -> Series:
    """Values that are on a bound, or clear of it; zero has no sign."""
    values = np.where(np.abs(values) < SNAP, 0.0, values)
    values = np.where(values < lower + SNAP, lower, values)
    return np.where(values > upper - SNAP, upper, values) + 0.0


def _out_of_time(stop: Stop) -> GridpactError:
    words = (
        f"no plan was found within options.time_limit_s = {stop.time_limit_s:g} s; "
        "raise it or make the problem smaller"
    )
    return GridpactError(Reason.TASK_TIMEOUT, words, timeout_s=stop.time_limit_s)
