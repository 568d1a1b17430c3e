"""Why a battery does what it does: docs/compute/dispatch.md, "Duals" and "Reasons"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.plan import TOLERANCE, BatteryPlan, Plan
from gridpact.compute.model.site import Battery, Series, Site

Slots = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What stored energy is worth, and the reason of each slot."""

    more_per_kwh: Series  # what one more stored kWh at the end of the slot saves
    less_per_kwh: Series  # what one stored kWh less costs
    reasons: tuple[str, ...]


def explain(site: Site, plan: Plan, index: int) -> Explanation:
    """Explains the plan of the battery at ``index``."""
    battery, its_plan = site.batteries[index], plan.batteries[index]
    price = plan.grid_price_per_kwh
    more = _value_of_more(battery, its_plan, price)
    less = _cost_of_less(battery, its_plan, price)
    reasons = _reasons(site, plan, battery, its_plan, more, less)
    return Explanation(more, less, tuple(reasons.tolist()))


def _value_of_more(battery: Battery, plan: BatteryPlan, price: Series) -> Series:
    """μ⁻, the smallest value of stored energy that the plan and the grid prices allow."""
    charges = plan.may_charge & (plan.charge_power_kw > TOLERANCE)
    could_discharge = plan.may_discharge & (
        plan.discharge_power_kw < battery.max_discharge_power_kw - TOLERANCE
    )
    bound = np.maximum(
        np.where(charges, _charged_at(battery, price), -np.inf),
        np.where(could_discharge, _discharged_at(battery, price), -np.inf),
    )
    not_empty, not_full = _not_empty(battery, plan), _not_full(battery, plan)
    return _spread(bound, -np.inf, battery, plan, back=not_full, on=not_empty)


def _cost_of_less(battery: Battery, plan: BatteryPlan, price: Series) -> Series:
    """μ⁺, the largest value: the same with all signs turned round."""
    could_charge = plan.may_charge & (
        plan.charge_power_kw < battery.max_charge_power_kw - TOLERANCE
    )
    discharges = plan.may_discharge & (plan.discharge_power_kw > TOLERANCE)
    bound = np.minimum(
        np.where(could_charge, _charged_at(battery, price), np.inf),
        np.where(discharges, _discharged_at(battery, price), np.inf),
    )
    not_empty, not_full = _not_empty(battery, plan), _not_full(battery, plan)
    return _spread(bound, np.inf, battery, plan, back=not_empty, on=not_full)


def _charged_at(battery: Battery, price: Series) -> Series:
    """What a stored kWh costs that is charged at the grid price."""
    return price / battery.charge_efficiency


def _discharged_at(battery: Battery, price: Series) -> Series:
    """What a stored kWh earns that is discharged at the grid price."""
    return (price - battery.wear_cost_per_kwh) * battery.discharge_efficiency


def _not_empty(battery: Battery, plan: BatteryPlan) -> Slots:
    return plan.energy_kwh > battery.min_energy_kwh + TOLERANCE


def _not_full(battery: Battery, plan: BatteryPlan) -> Slots:
    return plan.energy_kwh < battery.max_energy_kwh - TOLERANCE


def _spread(
    bound: Series, no_bound: float, battery: Battery, plan: BatteryPlan, *, back: Slots, on: Slots
) -> Series:
    """The tightest bound of any slot that reaches each one, backward or on along the chain.

    Slots that no bound reaches keep the solver's value, which then counts as a bound of its own.
    """
    reached = _carried(bound, no_bound, battery, back, on)
    if not np.isfinite(reached).all():
        bound = np.where(np.isfinite(reached), reached, plan.value_per_kwh)
        reached = _carried(bound, no_bound, battery, back, on)
    return reached


def _carried(bound: Series, no_bound: float, battery: Battery, back: Slots, on: Slots) -> Series:
    tightest = max if no_bound < 0 else min
    from_later, from_earlier = bound.tolist(), bound.tolist()
    # After the last slot stored energy is worth nothing, unless the final energy is given.
    if battery.final_energy_kwh is None and back[-1]:
        from_later[-1] = tightest(from_later[-1], 0.0)
    for t in range(len(bound) - 2, -1, -1):
        if back[t]:
            from_later[t] = tightest(from_later[t], from_later[t + 1])
    for t in range(len(bound) - 1):
        if on[t]:
            from_earlier[t + 1] = tightest(from_earlier[t + 1], from_earlier[t])
    return np.array([tightest(pair) for pair in zip(from_later, from_earlier, strict=True)])


def _reasons(
    site: Site, plan: Plan, battery: Battery, its: BatteryPlan, more: Series, less: Series
) -> NDArray[np.str_]:
    """The first row that applies, in the order of the page's tables."""
    price = plan.grid_price_per_kwh
    charge, discharge, energy = its.charge_power_kw, its.discharge_power_kw, its.energy_kwh
    charging, discharging = charge > TOLERANCE, discharge > TOLERANCE
    holding = ~charging & ~discharging

    imports_at_limit = (plan.grid_power_kw >= site.max_import_power_kw - TOLERANCE) & (
        price > site.import_price_per_kwh + TOLERANCE
    )
    exports_at_limit = (plan.grid_power_kw <= -site.max_export_power_kw + TOLERANCE) & (
        price < site.export_price_per_kwh - TOLERANCE
    )
    at_grid_limit = imports_at_limit | exports_at_limit
    kept_for_the_end, dropped_for_the_end = _decided_by_final_energy(
        battery, more, charging, discharging
    )
    bought, sold = battery.charge_efficiency * more, _discharged_at(battery, price)

    rules: tuple[tuple[str, Slots], ...] = (
        ("FINAL_ENERGY", charging & kept_for_the_end),
        (
            "POWER_LIMIT",
            charging
            & (charge >= battery.max_charge_power_kw - TOLERANCE)
            & (bought > price + TOLERANCE),
        ),
        ("GRID_LIMIT", charging & at_grid_limit),
        ("CHARGE_FROM_GRID", charging & (plan.grid_power_kw > TOLERANCE)),
        ("CHARGE_FROM_SURPLUS", charging),
        ("FINAL_ENERGY", discharging & dropped_for_the_end),
        (
            "POWER_LIMIT",
            discharging
            & (discharge >= battery.max_discharge_power_kw - TOLERANCE)
            & (sold > less + TOLERANCE),
        ),
        ("GRID_LIMIT", discharging & at_grid_limit),
        ("DISCHARGE_TO_EXPORT", discharging & (plan.grid_power_kw < -TOLERANCE)),
        ("DISCHARGE_TO_LOAD", discharging),
        (
            "HOLD_FULL",
            holding
            & (energy >= battery.max_energy_kwh - TOLERANCE)
            & (price <= battery.charge_efficiency * less + TOLERANCE),
        ),
        (
            "HOLD_EMPTY",
            holding & (energy <= battery.min_energy_kwh + TOLERANCE) & (sold >= more - TOLERANCE),
        ),
        ("FINAL_ENERGY", holding & kept_for_the_end),
        (
            "GRID_LIMIT",
            holding & imports_at_limit & (site.import_price_per_kwh < bought - TOLERANCE),
        ),
        (
            "GRID_LIMIT",
            holding
            & exports_at_limit
            & (_discharged_at(battery, site.export_price_per_kwh) > less + TOLERANCE),
        ),
    )
    return np.select([slots for _, slots in rules], [name for name, _ in rules], "HOLD_NO_GAIN")


def _decided_by_final_energy(
    battery: Battery, more: Series, charging: Slots, discharging: Slots
) -> tuple[Slots, Slots]:
    """Where energy is only kept, and only let go, because the final energy is required.

    From there to the end no energy limit decides, and nothing undoes it.
    """
    nowhere = np.zeros(len(more), dtype=np.bool_)
    if battery.final_energy_kwh is None:
        return nowhere, nowhere
    unchanged = np.append(np.abs(np.diff(more)) <= TOLERANCE, True)
    to_the_end = _from_here_on(unchanged)
    keeps = to_the_end & np.append(_from_here_on(~discharging)[1:], True)
    drops = to_the_end & np.append(_from_here_on(~charging)[1:], True)
    return (
        keeps if more[-1] > TOLERANCE else nowhere,
        drops if more[-1] < -TOLERANCE else nowhere,
    )


def _from_here_on(slots: Slots) -> Slots:
    """Where something holds in the slot and in every later one."""
    return np.logical_and.accumulate(slots[::-1])[::-1]
