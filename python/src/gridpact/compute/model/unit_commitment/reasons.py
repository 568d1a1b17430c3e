"""Why a unit is on or off in a slot: docs/compute/unit-commitment.md, "Reasons".

Judged by what a slot earns at the prices of the plan: energy, and the reserve held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.unit_commitment.economic_dispatch import Dispatch, Table
from gridpact.compute.model.unit_commitment.fleet import Commitment, Fleet, Series, ThermalUnit

TOLERANCE = 1e-6
"""In MW, or relative to what a slot at full power costs: less than this is nothing."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Margins:
    """What a unit earns less what it costs, in each slot."""

    energy: Series  # as it is dispatched
    with_reserve: Series
    best: Series  # at whichever power earns most in this slot alone
    tolerance: float


def reasons(fleet: Fleet, commitment: Commitment, dispatch: Dispatch) -> list[list[str]]:
    """One reason of contracts/schemas/unit-commitment-reason.yaml a slot, for each unit."""
    able = _able_mw(fleet, commitment)
    all_able = fleet.max_renewable_mw + able.sum(axis=0)
    wanted = fleet.demand_mw + fleet.reserve_requirement_mw
    found: list[list[str]] = []
    for index, unit in enumerate(fleet.units):
        on = commitment[index]
        margins = _margins(fleet.slot_hours, unit, index, dispatch)
        needed = all_able - able[index] < wanted - TOLERANCE
        above = dispatch.power_mw[index] - unit.min_power_mw
        before = np.append(unit.initial_range_mw, above[:-1])
        too_high = before > unit.last_power_mw + TOLERANCE
        found.append(
            [
                _why_on(unit, fleet.slot_hours, on, slot, margins, needed[slot], too_high[slot])
                if on[slot]
                else _why_off(unit, fleet.slot_hours, on, slot, margins)
                for slot in range(fleet.slots)
            ]
        )
    return found


def _able_mw(fleet: Fleet, commitment: Commitment) -> Table:
    """The most that each unit can give in a slot, power and reserve together; 0 where it is off."""
    able: list[Series] = []
    for unit, on in zip(fleet.units, commitment, strict=True):
        most = np.full(len(on), unit.max_power_mw)
        most[on & ~np.append(unit.initially_on, on[:-1])] = unit.min_power_mw + unit.first_slot_mw
        stops = on & ~np.append(on[1:], True)
        most[stops] = np.minimum(most[stops], unit.min_power_mw + unit.last_slot_mw)
        able.append(np.where(on, most, 0.0))
    return np.array(able)


def _margins(hours: float, unit: ThermalUnit, index: int, dispatch: Dispatch) -> _Margins:
    power, reserve = dispatch.power_mw[index], dispatch.reserve_mw[index]
    energy_price, reserve_price = dispatch.energy_price_per_mwh, dispatch.reserve_price_per_mw_h
    powers = np.array([point.power_mw for point in unit.cost_curve])
    costs = np.array([point.cost_per_h for point in unit.cost_curve])
    cost = hours * np.interp(power, powers, costs)
    energy = hours * energy_price * power - cost
    # What is best stands at a corner of the cost curve; what is not produced can be held.
    holdable = np.minimum(unit.max_power_mw - powers, unit.ramp_up_mw)
    corners = hours * (np.outer(energy_price, powers) + np.outer(reserve_price, holdable) - costs)
    return _Margins(
        energy,
        energy + hours * reserve_price * reserve,
        corners.max(axis=1),
        TOLERANCE * max(1.0, hours * float(np.abs(costs).max())),
    )


def _why_on(
    unit: ThermalUnit,
    hours: float,
    on: Flags,
    slot: int,
    margins: _Margins,
    needed: bool,
    too_high: bool,
) -> str:
    if unit.must_run:
        return "MUST_RUN"
    if margins.energy[slot] >= -margins.tolerance:
        return "ECONOMIC"
    if margins.with_reserve[slot] >= -margins.tolerance:
        return "RESERVE"
    if needed:
        return "CAPACITY"
    if _is_held(unit, on, slot, unit.min_up_slots):
        return "MIN_UP_TIME"
    if too_high:
        return "SHUTDOWN_LIMIT"
    first, last = _run(on & (margins.with_reserve < -margins.tolerance), slot)
    if last < len(on) and on[last]:  # afterwards it is on for its own sake
        if last - first < unit.min_down_slots:
            return "MIN_DOWN_TIME"
        restart = unit.startup_cost_after((last - first) * hours)
        if -margins.with_reserve[first:last].sum() <= restart + margins.tolerance:
            return "STARTUP_COST"
    return "SYSTEM_COST"


def _why_off(unit: ThermalUnit, hours: float, on: Flags, slot: int, margins: _Margins) -> str:
    if margins.best[slot] <= margins.tolerance:
        return "UNECONOMIC"
    if _is_held(unit, on, slot, unit.min_down_slots):
        return "MIN_DOWN_TIME"
    first, last = _run(~on & (margins.best > margins.tolerance), slot)
    if margins.best[first:last].sum() <= unit.startup_cost_after(
        _off_time_h(unit, on, first, hours)
    ):
        return "STARTUP_COST"
    return "MIN_UP_TIME" if last - first < unit.min_up_slots else "SYSTEM_COST"


def _is_held(unit: ThermalUnit, on: Flags, slot: int, at_least: int) -> bool:
    """Whether the unit may not have changed its state since the last time, or must keep it."""
    first, _ = _run(on == on[slot], slot)
    if first == 0 and bool(on[0]) == unit.initially_on:
        return slot < unit.held_slots
    return slot - first < at_least


def _off_time_h(unit: ThermalUnit, on: Flags, slot: int, hours: float) -> float:
    """How long the unit has been off when a slot begins in which it is off too."""
    first, _ = _run(~on, slot)
    initially = unit.initial_duration_h if first == 0 and not unit.initially_on else 0.0
    return initially + (slot - first) * hours


def _run(flags: Flags, slot: int) -> tuple[int, int]:
    """The slots around one for which the flag holds without a gap: first, and one past the last."""
    first = last = slot
    while first > 0 and flags[first - 1]:
        first -= 1
    while last < len(flags) and flags[last]:
        last += 1
    return first, last
