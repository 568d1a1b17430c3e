"""The schedule as a linear program: docs/compute/dispatch.md, "Formulation", line by line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.site import Battery, Series, Site
from gridpact.compute.solve.highs import Block, LinearProgram


class Way(IntEnum):
    """Which of two opposite flows may run in a slot. Forward is import, and charging."""

    BOTH = 0
    CHOICE = 1
    FORWARD = 2
    BACKWARD = 3


Ways = NDArray[np.int8]
"""A `Way` for every slot."""


Directions = tuple[Ways, ...]
"""The ways of the grid connection, then of each battery."""


def free_directions(site: Site) -> Directions:
    """Everything may run both ways: the linear relaxation."""
    return tuple(np.full((1 + len(site.batteries), site.slots), Way.BOTH, dtype=np.int8))


@dataclass(frozen=True, slots=True)
class Flows:
    """The variables of two opposite flows in kW, forward and backward as in `Way`."""

    forward: Block
    backward: Block


@dataclass(frozen=True, slots=True)
class Slack:
    """What may be given up where no plan exists."""

    grid_limits: bool
    final_energies: bool


@dataclass(frozen=True, slots=True)
class Formulation:
    """The program and where in it everything stands. Without slack the slack blocks are empty."""

    program: LinearProgram
    flows: tuple[Flows, ...]  # of the grid connection, then of each battery
    stored: tuple[Block, ...]  # energy before the first slot, then at the end of each
    used_pv: tuple[Block, ...]  # of the curtailable plants only
    balance: Block
    energy: tuple[Block, ...]
    grid_slack: Block  # how much the import and the export limit grow, in kW
    final_slack: tuple[Block, ...]  # how far each final energy is missed downward and upward, kWh


def formulate(site: Site, directions: Directions, slack: Slack | None = None) -> Formulation:
    """Builds the program. With slack, cost is what is given up instead of money."""
    hours, slots = site.slot_hours, site.slots
    program = LinearProgram()
    money = 0.0 if slack else hours
    grid_ways, *battery_ways = directions

    grid = _opposite_flows(
        program,
        grid_ways,
        limits_kw=_grid_limits(site, slack),
        most_kw=_greatest_exchange(site),
        costs=(money * site.import_price_per_kwh, -money * site.export_price_per_kwh),
    )
    grid_slack = _grid_slack(program, site, grid, slack)

    batteries: list[Flows] = []
    stored: list[Block] = []
    energy: list[Block] = []
    final_slack: list[Block] = []
    for battery, ways in zip(site.batteries, battery_ways, strict=True):
        limits_kw = (battery.max_charge_power_kw, battery.max_discharge_power_kw)
        flows = _opposite_flows(
            program,
            ways,
            limits_kw=limits_kw,
            most_kw=(np.full(slots, limits_kw[0]), np.full(slots, limits_kw[1])),
            # Among equal ways out of infeasibility, the one that moves the least energy.
            costs=(0.0, 1e-6 * hours if slack else money * battery.wear_cost_per_kwh),
        )
        levels, missed = _stored_energy(program, battery, slots, slack)
        rows = program.equal(
            0.0,
            (1.0, levels[1:]),
            (-1.0, levels[:-1]),
            (-hours * battery.charge_efficiency, flows.forward),
            (hours / battery.discharge_efficiency, flows.backward),
        )
        batteries.append(flows)
        stored.append(levels)
        energy.append(rows)
        final_slack.append(missed)

    used_pv = [
        program.variables(slots, upper=pv.available_power_kw) for pv in site.pv if pv.curtailable
    ]
    balance = program.equal(
        site.net_load_power_kw,
        (1.0, grid.forward),
        (-1.0, grid.backward),
        *[(-1.0, flows.forward) for flows in batteries],
        *[(1.0, flows.backward) for flows in batteries],
        *[(1.0, used) for used in used_pv],
    )
    return Formulation(
        program,
        (grid, *batteries),
        tuple(stored),
        tuple(used_pv),
        balance,
        tuple(energy),
        grid_slack,
        tuple(final_slack),
    )


def _opposite_flows(
    program: LinearProgram,
    ways: Ways,
    *,
    limits_kw: tuple[float, float],
    most_kw: tuple[Series, Series],
    costs: tuple[Series | float, Series | float],
) -> Flows:
    """Two flows within their limits, and a binary variable for every slot that is a choice.

    ``most_kw`` is what can flow in a slot in any case. It stands in the rows of the choices only:
    as a bound it would take part in the duals.
    """
    forward_limit, backward_limit = limits_kw
    forward = program.variables(
        len(ways), upper=np.where(ways == Way.BACKWARD, 0.0, forward_limit), cost=costs[0]
    )
    backward = program.variables(
        len(ways), upper=np.where(ways == Way.FORWARD, 0.0, backward_limit), cost=costs[1]
    )
    chosen = np.flatnonzero(ways == Way.CHOICE)
    if chosen.size:
        runs_forward = program.variables(chosen.size, upper=1.0, whole=True)
        most_forward = np.minimum(forward_limit, most_kw[0])[chosen]
        most_backward = np.minimum(backward_limit, most_kw[1])[chosen]
        program.at_most(0.0, (1.0, forward[chosen]), (-most_forward, runs_forward))
        program.at_most(most_backward, (1.0, backward[chosen]), (most_backward, runs_forward))
    return Flows(forward, backward)


def _grid_limits(site: Site, slack: Slack | None) -> tuple[float, float]:
    if slack and slack.grid_limits:
        return np.inf, np.inf
    return site.max_import_power_kw, site.max_export_power_kw


def _greatest_exchange(site: Site) -> tuple[Series, Series]:
    """The import with every battery charging, and the export with every battery discharging."""
    charging = sum(battery.max_charge_power_kw for battery in site.batteries)
    discharging = sum(battery.max_discharge_power_kw for battery in site.batteries)
    net = site.net_load_power_kw
    return (
        np.maximum(net, 0.0) + charging,
        np.maximum(-net, 0.0) + site.curtailable_power_kw + discharging,
    )


def _grid_slack(program: LinearProgram, site: Site, grid: Flows, slack: Slack | None) -> Block:
    if slack is None or not slack.grid_limits:
        return program.variables(0)
    growth = program.variables(2, cost=1.0)
    limits = (site.max_import_power_kw, site.max_export_power_kw)
    for flow, limit, more in zip((grid.forward, grid.backward), limits, growth, strict=True):
        program.at_most(limit, (1.0, flow), (-1.0, np.full(site.slots, more)))
    return growth


def _stored_energy(
    program: LinearProgram, battery: Battery, slots: int, slack: Slack | None
) -> tuple[Block, Block]:
    """Stored energy, from before the first slot on, and how far the final energy may be missed."""
    lower = np.full(slots + 1, battery.min_energy_kwh)
    upper = np.full(slots + 1, battery.max_energy_kwh)
    lower[0] = upper[0] = battery.initial_energy_kwh
    final = battery.final_energy_kwh
    may_miss = slack is not None and slack.final_energies
    if final is not None and not may_miss:
        lower[-1] = upper[-1] = final
    levels = program.variables(slots + 1, lower=lower, upper=upper)
    if final is None or not may_miss:
        return levels, program.variables(0)
    missed = program.variables(2, cost=1.0)
    program.equal(final, (1.0, levels[-1:]), (1.0, missed[:1]), (-1.0, missed[1:]))
    return levels, missed
