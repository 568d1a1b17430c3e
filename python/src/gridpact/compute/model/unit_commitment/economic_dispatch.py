"""What the units that are on produce and hold in reserve, and what one more MW would cost.

With the commitment given, production is a linear program. It is written down here from the limits
as PGLib-UC gives them, not from the mixed-integer program: what the one allows and the other does
not would show as a plan without a dispatch, or as a cost that is not the search's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.unit_commitment.fleet import Commitment, Fleet, Series, ThermalUnit
from gridpact.compute.solve.highs import Block, LinearProgram, Outcome, SolverError

Table = NDArray[np.float64]
"""One row a unit, one column a slot."""

TIME_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Powers in MW; prices per MWh, and per MW of reserve held for an hour."""

    power_mw: Table
    reserve_mw: Table
    renewable_mw: Series
    energy_price_per_mwh: Series
    reserve_price_per_mw_h: Series


@dataclass(frozen=True, slots=True)
class _Blocks:
    above: Block  # production above minimum
    reserve: Block


def economic_dispatch(fleet: Fleet, commitment: Commitment) -> Dispatch:
    """The cheapest production of the units that are on. Raises SolverError where there is none."""
    program, hours = LinearProgram(), fleet.slot_hours
    fixed = np.array([unit.min_power_mw for unit in fleet.units]) @ commitment
    renewable = program.variables(
        fleet.slots, lower=fleet.min_renewable_mw, upper=fleet.max_renewable_mw
    )
    units = [
        _unit(program, hours, unit, on) for unit, on in zip(fleet.units, commitment, strict=True)
    ]
    balance = program.equal(
        fleet.demand_mw - fixed, (1.0, renewable), *[(1.0, unit.above) for unit in units]
    )
    held = program.rows(
        fleet.reserve_requirement_mw, np.inf, *[(1.0, unit.reserve) for unit in units]
    )
    found = program.solve(time_limit_s=TIME_LIMIT_S)
    if found.outcome is not Outcome.OPTIMAL:
        raise SolverError(f"no dispatch of the commitment found ({found.outcome.value})")
    above = np.array([found.value(unit.above) for unit in units])
    lowest = np.array([[unit.min_power_mw] for unit in fleet.units])
    highest = np.array([[unit.max_power_mw] for unit in fleet.units])
    # Within the solver's tolerance of a limit is on it.
    power = np.where(commitment, np.clip(lowest + above, lowest, highest), 0.0)
    reserve = np.array([found.value(unit.reserve) for unit in units])
    return Dispatch(
        power,
        np.where(commitment, np.clip(reserve, 0.0, highest - power), 0.0),
        np.clip(found.value(renewable), fleet.min_renewable_mw, fleet.max_renewable_mw),
        found.dual(balance) / hours + 0.0,
        found.dual(held) / hours + 0.0,
    )


def _unit(
    program: LinearProgram, hours: float, unit: ThermalUnit, on: NDArray[np.bool_]
) -> _Blocks:
    slots = len(on)
    # Power and reserve above minimum: less in the slot of a start, and in the one before a stop.
    started = on & ~np.append(unit.initially_on, on[:-1])
    stops = on & ~np.append(on[1:], True)
    most = np.where(on, unit.range_mw, 0.0)
    most[started] = np.minimum(most[started], unit.startup_limit_mw - unit.min_power_mw)
    most[stops] = np.minimum(most[stops], unit.shutdown_limit_mw - unit.min_power_mw)

    above = program.variables(slots, upper=most)
    reserve = program.variables(slots, upper=most)
    program.at_most(most, (1.0, above), (1.0, reserve))
    segments = [
        program.variables(
            slots, upper=np.where(on, segment.width_mw, 0.0), cost=hours * segment.cost_per_mwh
        )
        for segment in unit.segments
    ]
    program.equal(0.0, (1.0, above), *[(-1.0, segment) for segment in segments])
    before = np.zeros(slots)
    before[0] = unit.initial_range_mw
    if unit.ramp_up_mw < unit.range_mw:
        rows = program.at_most(before + unit.ramp_up_mw, (1.0, above), (1.0, reserve))
        program.extend(rows[1:], (-1.0, above[:-1]))
    if unit.ramp_down_mw < unit.range_mw:
        rows = program.at_most(unit.ramp_down_mw - before, (-1.0, above))
        program.extend(rows[1:], (1.0, above[:-1]))
    return _Blocks(above, reserve)
