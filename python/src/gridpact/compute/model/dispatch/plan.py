"""The schedule of a site as the program has it, and as numbers that keep their bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gridpact.compute.model.dispatch.costs import Costs, Operation, costs_of
from gridpact.compute.model.dispatch.formulation import Formulation
from gridpact.compute.model.dispatch.grid import GridLimit
from gridpact.compute.model.dispatch.level import Level
from gridpact.compute.model.dispatch.search import TOLERANCE, Priced
from gridpact.compute.model.dispatch.site import Generator, Series, Site, Vehicle
from gridpact.compute.model.dispatch.storage import StorageBlock
from gridpact.compute.solve.highs import Solution

SNAP = 1e-9
"""Closer than this to a bound is on it."""


@dataclass(frozen=True, slots=True)
class StoragePlan:
    """A battery, or a vehicle during a stay; series of its own slots."""

    power_kw: Series  # charging positive
    energy_kwh: Series  # at the end of each slot

    @property
    def charge_power_kw(self) -> Series:
        return np.maximum(self.power_kw, 0.0)

    @property
    def discharge_power_kw(self) -> Series:
        return np.maximum(-self.power_kw, 0.0)


@dataclass(frozen=True, slots=True)
class TankPlan:
    """A heat pump and its tank."""

    power_kw: Series
    energy_kwh: Series
    missing_kwh: Series  # heat not delivered


@dataclass(frozen=True, slots=True)
class GeneratorPlan:
    """A generator; output is not negative."""

    output_kw: Series
    running: Series


@dataclass(frozen=True)
class Plan:
    """A schedule for the site, in the order of its lists; consumption is positive."""

    site: Site
    grid_power_kw: Series  # import positive
    batteries: tuple[StoragePlan, ...]
    used_pv_kw: tuple[Series, ...]  # not negative, one a plant
    flexible_loads: tuple[Series, ...]
    cycle_starts: tuple[int, ...]
    stays: tuple[tuple[StoragePlan, ...], ...]  # of each vehicle
    heat_pumps: tuple[TankPlan, ...]
    generators: tuple[GeneratorPlan, ...]
    power_kw: Mapping[str, Series]  # of every asset and load
    operation: Operation
    costs: Costs


def plan_of(priced: Priced) -> Plan:
    """Reads the schedule of a solved program."""
    formulation, solution = priced.formulation, priced.solution
    site = formulation.site
    imported, exported = formulation.grid.flows.values(solution)
    import_limit, export_limit = granted_kw(formulation, solution)
    grid = _tidy(imported - exported, -export_limit, import_limit)
    batteries = tuple(_storage_plan(block.storage, solution) for block in formulation.batteries)
    stays = tuple(
        tuple(_storage_plan(stay, solution) for stay in block.stays)
        for block in formulation.vehicles
    )
    loads = tuple(
        _tidy(block.power.value(solution), 0.0, load.max_power_kw)
        for load, block in zip(site.flexible_loads, formulation.flexible_loads, strict=True)
    )
    cycle_starts = tuple(
        cycle.start + int(np.argmax(solution.value(block.starts)))
        for cycle, block in zip(site.cycles, formulation.cycles, strict=True)
    )
    pumps = tuple(
        TankPlan(
            _tidy(block.power.value(solution), 0.0, pump.max_power_kw),
            level_kwh(block.level, solution),
            solution.value(block.missing),
        )
        for pump, block in zip(site.heat_pumps, formulation.heat_pumps, strict=True)
    )
    generators = tuple(
        _generator_plan(generator, -block.power.value(solution), solution.value(block.running))
        for generator, block in zip(site.generators, formulation.generators, strict=True)
    )
    used_pv = _used_pv(formulation, solution)
    operation = Operation(
        grid,
        tuple(
            (site.slot_hours * float(its.discharge_power_kw.sum()), cell.wear_cost_per_kwh)
            for cell, its in (
                *((b.cell, its) for b, its in zip(site.batteries, batteries, strict=True)),
                *(
                    (v.cell, its)
                    for v, all_its in zip(site.vehicles, stays, strict=True)
                    for its in all_its
                ),
            )
        ),
        tuple(
            (generator, its.output_kw, its.running)
            for generator, its in zip(site.generators, generators, strict=True)
        ),
    )
    return Plan(
        site=site,
        grid_power_kw=grid,
        batteries=batteries,
        used_pv_kw=used_pv,
        flexible_loads=loads,
        cycle_starts=cycle_starts,
        stays=stays,
        heat_pumps=pumps,
        generators=generators,
        power_kw=_powers(
            site,
            {load.name: load.power_kw for load in site.loads},
            zip(site.batteries, (its.power_kw for its in batteries), strict=True),
            zip(site.pv, (-used for used in used_pv), strict=True),
            zip(site.flexible_loads, loads, strict=True),
            (
                (cycle, placed(site, start, cycle.power_kw))
                for cycle, start in zip(site.cycles, cycle_starts, strict=True)
            ),
            (
                (vehicle, stay_series(site, vehicle, [its.power_kw for its in all_its]))
                for vehicle, all_its in zip(site.vehicles, stays, strict=True)
            ),
            zip(site.heat_pumps, (its.power_kw for its in pumps), strict=True),
            zip(site.generators, (-its.output_kw for its in generators), strict=True),
        ),
        operation=operation,
        costs=costs_of(site, operation),
    )


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def _powers(
    site: Site, loads: dict[str, Series], *pairs: Iterable[tuple[_Named, Series]]
) -> Mapping[str, Series]:
    return loads | {asset.name: power + 0.0 for assets in pairs for asset, power in assets}


def placed(site: Site, start: int, values: Series) -> Series:
    """A series of all slots with ``values`` from slot ``start`` on, and 0 elsewhere."""
    series = np.zeros(site.slots)
    series[start : start + len(values)] = values
    return series


def stay_series(site: Site, vehicle: Vehicle, values: Sequence[Series]) -> Series:
    """A series of all slots from those of each stay, 0 while the vehicle is away."""
    return sum(
        (placed(site, stay.start, its) for stay, its in zip(vehicle.stays, values, strict=True)),
        start=np.zeros(site.slots),
    )


def granted_kw(formulation: Formulation, solution: Solution) -> tuple[Series, Series]:
    """The grid limits in force, import and export, with what they give way by."""

    def smallest(limits: tuple[GridLimit, ...]) -> Series:
        return np.min(
            [
                limit.limit_kw
                if limit.relief is None
                else limit.limit_kw + solution.value(limit.relief)
                for limit in limits
            ],
            axis=0,
        )

    return smallest(formulation.grid.import_limits), smallest(formulation.grid.export_limits)


def level_kwh(level: Level, solution: Solution) -> Series:
    """Stored energy at the end of each slot."""
    lower, upper = level.lower_kwh, level.upper_kwh
    if len(level.outside):
        outside = np.maximum(solution.value(level.outside), 0.0)
        lower, upper = (lower, upper + outside) if level.above else (lower - outside, upper)
    return _tidy(solution.value(level.stored[1:]), lower, upper)


def _storage_plan(block: StorageBlock, solution: Solution) -> StoragePlan:
    cell = block.cell
    power = block.flows.net_kw(solution)
    return StoragePlan(
        _tidy(power, -cell.max_discharge_power_kw, cell.max_charge_power_kw),
        level_kwh(block.level, solution),
    )


def _generator_plan(generator: Generator, output_kw: Series, running: Series) -> GeneratorPlan:
    if not generator.must_be_committed:
        output = _tidy(output_kw, 0.0, generator.max_power_kw)
        return GeneratorPlan(output, (output > TOLERANCE).astype(np.float64))
    runs = np.round(running) + 0.0
    output = _tidy(output_kw, generator.min_power_kw * runs, generator.max_power_kw * runs)
    return GeneratorPlan(output, runs)


def _used_pv(formulation: Formulation, solution: Solution) -> tuple[Series, ...]:
    """What each plant delivers; in a pool, all use the same part of what is available."""
    used = {plant.name: plant.available_power_kw for plant in formulation.site.pv}
    for pool in formulation.pools:
        available = pool.available_power_kw
        total = _tidy(solution.value(pool.used), 0.0, available)
        part = np.divide(total, available, out=np.ones_like(total), where=available > 0)
        for plant in pool.plants:
            used[plant.name] = plant.available_power_kw * part
    return tuple(used[plant.name] for plant in formulation.site.pv)


def _tidy(values: Series, lower: float | Series, upper: float | Series) -> Series:
    """Values that are on a bound, or clear of it; zero has no sign."""
    values = np.where(np.abs(values) < SNAP, 0.0, values)
    values = np.where(values < lower + SNAP, lower, values)
    return np.where(values > upper - SNAP, upper, values) + 0.0
