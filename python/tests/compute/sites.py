"""Random sites, a second formulation of their problem, and a check of plans that shares no code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from gridpact.compute.model.plan import Plan
from gridpact.compute.model.site import Battery, Pv, Series, Site

POWERS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.3, 5.0])
PRICES = st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.3, 0.4])
ODD_PRICES = st.sampled_from([-0.3, -0.1, 0.0, 0.05, 0.2, 0.3])
EFFICIENCIES = st.sampled_from([0.7, 0.9, 0.95, 1.0])


@st.composite
def batteries(draw: st.DrawFn, name: str) -> Battery:
    capacity = draw(st.sampled_from([1.0, 4.0, 10.0]))
    lowest = draw(st.sampled_from([0.0, 0.1])) * capacity
    energy = st.floats(lowest, capacity).map(lambda value: round(value, 2))
    initial = min(capacity, max(lowest, draw(energy)))
    final = draw(st.one_of(st.none(), st.just(initial), energy))
    return Battery(
        name=name,
        min_energy_kwh=lowest,
        max_energy_kwh=capacity,
        max_charge_power_kw=draw(POWERS),
        max_discharge_power_kw=draw(POWERS),
        charge_efficiency=draw(EFFICIENCIES),
        discharge_efficiency=draw(EFFICIENCIES),
        wear_cost_per_kwh=draw(st.sampled_from([0.0, 0.02])),
        initial_energy_kwh=initial,
        final_energy_kwh=None if final is None else min(capacity, max(lowest, final)),
    )


@st.composite
def sites(draw: st.DrawFn, *, odd_prices: bool = True, most_batteries: int = 2) -> Site:
    """A small site; ``odd_prices`` may be negative, and export may pay more than import costs."""
    slots = draw(st.integers(1, 8))

    def series(values: st.SearchStrategy[float]) -> Series:
        return np.array(draw(st.lists(values, min_size=slots, max_size=slots)), dtype=np.float64)

    import_price = series(ODD_PRICES if odd_prices else PRICES)
    export_price = series(ODD_PRICES) if odd_prices else import_price * draw(st.floats(0, 0.9))
    limits = st.sampled_from([1.0, 3.0, 6.0, 30.0])
    return Site(
        slot_hours=draw(st.sampled_from([0.25, 1.0])),
        load_power_kw=series(POWERS),
        import_price_per_kwh=import_price,
        export_price_per_kwh=export_price,
        max_import_power_kw=draw(limits),
        max_export_power_kw=draw(limits),
        batteries=tuple(
            draw(batteries(f"battery {index}"))
            for index in range(draw(st.integers(0, most_batteries)))
        ),
        pv=tuple(
            Pv(f"pv {index}", series(POWERS), draw(st.booleans()))
            for index in range(draw(st.integers(0, 2)))
        ),
    )


@dataclass(frozen=True)
class Change:
    """A disturbance in one slot: more load, or energy put into a battery at the slot's end."""

    slot: int
    load_kwh: float = 0.0
    battery: int = 0
    stored_kwh: float = 0.0


def least_cost(site: Site, change: Change | None = None) -> float | None:
    """The minimal cost by a dense mixed-integer program; None where no plan exists.

    Another formulation than the engine's: stored energy is no variable but a running sum, PV is
    measured by what is thrown away, and every pair of flows has a binary variable in every slot.
    """
    slots, hours = site.slots, site.slot_hours
    zero, one = np.zeros((slots, slots)), np.eye(slots)
    running_sum = np.tril(np.ones((slots, slots)))
    count = len(site.batteries)
    # As small as can be: what a binary variable misses of being whole, it lets through so often.
    most = max(site.max_import_power_kw, site.max_export_power_kw, 5.0)

    # Columns, a block of all slots each: import, export, its binary, thrown-away PV, then for each
    # battery charge, discharge and its binary.
    def row_block(parts: dict[int, NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.hstack([parts.get(index, zero) for index in range(4 + 3 * count)])

    curtailable = sum((pv.available_power_kw for pv in site.pv if pv.curtailable), np.zeros(slots))
    available = sum((pv.available_power_kw for pv in site.pv), np.zeros(slots))
    needed = site.load_power_kw - available
    injected = np.zeros((count, slots))
    if change is not None:
        needed = needed.copy()
        needed[change.slot] += change.load_kwh / hours
        if count:
            injected[change.battery, change.slot :] += change.stored_kwh

    cost = [
        hours * site.import_price_per_kwh,
        -hours * site.export_price_per_kwh,
        np.zeros(slots),
        np.zeros(slots),
    ]
    upper = [
        np.full(slots, site.max_import_power_kw),
        np.full(slots, site.max_export_power_kw),
        np.ones(slots),
        curtailable,
    ]
    balance = {0: one, 1: -one, 3: -one}
    rows = [
        LinearConstraint(row_block({0: one, 2: -most * one}), -np.inf, 0),
        LinearConstraint(row_block({1: one, 2: most * one}), -np.inf, most),
    ]
    for index, battery in enumerate(site.batteries):
        charge, discharge, binary = (4 + 3 * index + offset for offset in range(3))
        cost += [
            np.zeros(slots),
            np.full(slots, hours * battery.wear_cost_per_kwh),
            np.zeros(slots),
        ]
        upper += [
            np.full(slots, battery.max_charge_power_kw),
            np.full(slots, battery.max_discharge_power_kw),
            np.ones(slots),
        ]
        balance |= {charge: -one, discharge: one}
        energy = row_block(
            {
                charge: hours * battery.charge_efficiency * running_sum,
                discharge: -hours / battery.discharge_efficiency * running_sum,
            }
        )
        start = battery.initial_energy_kwh + injected[index]
        lowest = np.full(slots, battery.min_energy_kwh)
        highest = np.full(slots, battery.max_energy_kwh)
        if battery.final_energy_kwh is not None:
            lowest[-1] = highest[-1] = battery.final_energy_kwh
        rows += [
            LinearConstraint(energy, lowest - start, highest - start),
            LinearConstraint(row_block({charge: one, binary: -most * one}), -np.inf, 0),
            LinearConstraint(row_block({discharge: one, binary: most * one}), -np.inf, most),
        ]
    rows.append(LinearConstraint(row_block(balance), needed, needed))
    whole = np.concatenate(
        [
            np.full(slots, index == 2 or (index > 3 and (index - 4) % 3 == 2))
            for index in range(4 + 3 * count)
        ]
    )
    found = milp(
        np.concatenate(cost),
        integrality=whole.astype(int),
        bounds=Bounds(0, np.concatenate(upper)),
        constraints=rows,
        options={"mip_rel_gap": 0.0},
    )
    assert found.status in (0, 2), found.message
    return float(found.fun) if found.status == 0 else None


def faults(site: Site, plan: Plan, tolerance: float = 1e-6) -> list[str]:
    """What is wrong with a plan, from its powers alone."""
    found: list[str] = []

    def need(holds: NDArray[np.bool_] | bool, fault: str) -> None:
        if not np.all(holds):
            found.append(fault)

    used = sum(plan.pv_power_kw, np.zeros(site.slots))
    charged = sum((battery.power_kw for battery in plan.batteries), np.zeros(site.slots))
    need(np.abs(plan.grid_power_kw - (site.load_power_kw + charged - used)) <= tolerance, "balance")
    need(plan.grid_power_kw <= site.max_import_power_kw + tolerance, "import limit")
    need(plan.grid_power_kw >= -site.max_export_power_kw - tolerance, "export limit")
    for pv, power in zip(site.pv, plan.pv_power_kw, strict=True):
        need(power <= pv.available_power_kw + tolerance, f"{pv.name} delivers too much")
        least = np.zeros(site.slots) if pv.curtailable else pv.available_power_kw
        need(power >= least - tolerance, f"{pv.name} is curtailed")
    for battery, its in zip(site.batteries, plan.batteries, strict=True):
        need(its.power_kw <= battery.max_charge_power_kw + tolerance, f"{battery.name} charge")
        need(its.power_kw >= -battery.max_discharge_power_kw - tolerance, f"{battery.name} power")
        gained = np.where(
            its.power_kw > 0,
            its.power_kw * battery.charge_efficiency,
            its.power_kw / battery.discharge_efficiency,
        )
        energy = battery.initial_energy_kwh + np.cumsum(gained) * site.slot_hours
        need(np.abs(energy - its.energy_kwh) <= 10 * tolerance, f"{battery.name} energy")
        need(energy >= battery.min_energy_kwh - 10 * tolerance, f"{battery.name} too empty")
        need(energy <= battery.max_energy_kwh + 10 * tolerance, f"{battery.name} too full")
        if battery.final_energy_kwh is not None:
            final = abs(float(energy[-1]) - battery.final_energy_kwh)
            need(final <= 10 * tolerance, f"{battery.name} final energy")
    return found
