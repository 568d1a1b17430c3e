"""What the same slots cost without a plan: docs/compute/dispatch.md, "Baselines"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.costs import Operation, costs_of
from gridpact.compute.model.dispatch.site import Battery, Series, Site, Vehicle


@dataclass(frozen=True, slots=True)
class Baseline:
    """A cost; ``within_grid_limits`` is False where the limits forbid what it stands for."""

    cost: float
    within_grid_limits: bool


def without_flexibility(site: Site) -> Baseline:
    """Everything as early as possible, batteries idle, generators off."""
    net = _unplanned_power_kw(site)
    grid, possible = _cheapest_exchange(site, net)
    wear = costs_of(site, Operation(grid))
    return Baseline(wear.total, possible)


def by_rule(site: Site) -> Baseline:
    """The same, but batteries store what would be exported and serve what would be imported."""
    curtailable = _curtailable_kw(site)
    net = _unplanned_power_kw(site)
    discharged: list[tuple[float, float]] = []
    for battery in site.batteries:
        power = _follow(battery, net - curtailable, site.slot_hours)
        net = net + power
        out_kwh = site.slot_hours * float(np.maximum(-power, 0.0).sum())
        discharged.append((out_kwh, battery.cell.wear_cost_per_kwh))
    grid, possible = _cheapest_exchange(site, net)
    return Baseline(costs_of(site, Operation(grid, tuple(discharged))).total, possible)


def _unplanned_power_kw(site: Site) -> Series:
    """What all but batteries and curtailable PV take, each as early as it can."""
    power = np.zeros(site.slots)
    for load in site.loads:
        power += load.power_kw
    for plant in site.pv:
        if not plant.curtailable:
            power -= plant.available_power_kw
    for vehicle in site.vehicles:
        power += _charged_at_once(vehicle, site)
    for load in site.flexible_loads:
        within = np.arange(load.stop - load.start)
        full_kwh = load.max_power_kw * site.slot_hours
        taken = np.clip(load.energy_kwh - within * full_kwh, 0.0, full_kwh)
        power[load.start : load.stop] += taken / site.slot_hours
    for cycle in site.cycles:
        power[cycle.start : cycle.start + len(cycle.power_kw)] += cycle.power_kw
    for pump in site.heat_pumps:
        power += np.minimum(pump.max_power_kw, pump.heat_demand_kw / pump.cop)
    return power


def _charged_at_once(vehicle: Vehicle, site: Site) -> Series:
    """Full power from plugging in until what is required is there."""
    cell, power = vehicle.cell, np.zeros(site.slots)
    for stay in vehicle.stays:
        if stay.required_energy_kwh is None:
            continue
        full_kwh = cell.max_charge_power_kw * cell.charge_efficiency * site.slot_hours
        missing = stay.required_energy_kwh - stay.initial_energy_kwh
        stored = np.clip(missing - np.arange(stay.stop - stay.start) * full_kwh, 0.0, full_kwh)
        power[stay.start : stay.stop] = stored / (cell.charge_efficiency * site.slot_hours)
    return power


def _curtailable_kw(site: Site) -> Series:
    plants = (plant.available_power_kw for plant in site.pv if plant.curtailable)
    return sum(plants, start=np.zeros(site.slots))


def _follow(battery: Battery, net_kw: Series, hours: float) -> Series:
    """Charging with surplus and discharging into deficit, as far as power and energy allow."""
    cell, energy = battery.cell, battery.initial_energy_kwh
    power = np.zeros(len(net_kw))
    for t, net in enumerate(net_kw.tolist()):
        if net < 0:
            room_kw = max(0.0, cell.max_energy_kwh - energy) / (hours * cell.charge_efficiency)
            charge = min(cell.max_charge_power_kw, -net, room_kw)
            energy += hours * cell.charge_efficiency * charge
            power[t] = charge
        else:
            stored_kw = max(0.0, energy - cell.min_energy_kwh) * cell.discharge_efficiency / hours
            discharge = min(cell.max_discharge_power_kw, net, stored_kw)
            energy -= hours / cell.discharge_efficiency * discharge
            power[t] = -discharge
    return power


def _cheapest_exchange(site: Site, net_kw: Series) -> tuple[Series, bool]:
    """The power at the grid connection that costs least in each slot, curtailing PV as it pays.

    ``net_kw`` is without any curtailable PV. Where some slot cannot keep the grid's limits, all
    slots are computed without them, and the answer is False.
    """
    highest, lowest = net_kw, net_kw - _curtailable_kw(site)
    limited_lowest = np.maximum(lowest, -site.export_limit_kw)
    limited_highest = np.minimum(highest, site.import_limit_kw)
    possible = bool((limited_lowest <= limited_highest).all())
    if possible:
        lowest, highest = limited_lowest, limited_highest
    # Least curtailment first: the first of equal costs is taken.
    candidates = np.stack([lowest, np.clip(0.0, lowest, highest), highest])
    price = np.where(candidates > 0, site.import_price_per_kwh, site.export_price_per_kwh)
    best = np.argmin(price * candidates, axis=0)
    return candidates[best, np.arange(site.slots)], possible
