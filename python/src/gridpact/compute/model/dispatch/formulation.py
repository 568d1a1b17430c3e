"""A site as a program: docs/compute/dispatch.md, "Formulation"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.cycle import CycleBlock, add_cycle
from gridpact.compute.model.dispatch.deviation import DeviationBlock, add_deviation
from gridpact.compute.model.dispatch.draft import Decisions, Draft, Flows, Power, add_power
from gridpact.compute.model.dispatch.flexible_load import FlexibleLoadBlock, add_flexible_load
from gridpact.compute.model.dispatch.generator import GeneratorBlock, add_generator
from gridpact.compute.model.dispatch.grid import GridBlock, add_grid
from gridpact.compute.model.dispatch.group import GroupBlock, add_group
from gridpact.compute.model.dispatch.heat_pump import HeatPumpBlock, add_heat_pump
from gridpact.compute.model.dispatch.pv import PvPool, add_curtailable_pv
from gridpact.compute.model.dispatch.reserve import Direction, ReserveBlock, add_reserve
from gridpact.compute.model.dispatch.site import Series, Site
from gridpact.compute.model.dispatch.storage import (
    BatteryBlock,
    StorageBlock,
    VehicleBlock,
    add_battery,
    add_vehicle,
)
from gridpact.compute.model.dispatch.tariff import DemandBlock, add_demand_charge, add_tiers
from gridpact.compute.solve.highs import Block, LinearProgram


@dataclass(frozen=True, slots=True)
class Formulation:
    """One future in a program: where everything stands, in the order of the site's lists."""

    site: Site
    balance: Block
    grid: GridBlock
    batteries: tuple[BatteryBlock, ...]
    pools: tuple[PvPool, ...]
    flexible_loads: tuple[FlexibleLoadBlock, ...]
    cycles: tuple[CycleBlock, ...]
    vehicles: tuple[VehicleBlock, ...]
    heat_pumps: tuple[HeatPumpBlock, ...]
    generators: tuple[GeneratorBlock, ...]
    groups: tuple[GroupBlock, ...]
    reserves: tuple[ReserveBlock, ...]
    demand_charges: tuple[DemandBlock, ...]
    deviations: Mapping[str, DeviationBlock]
    held: Mapping[str, Block]  # rows that hold the first powers of an asset
    powers: Mapping[str, Power]  # of every asset and load; of a plant in a pool, the pool's
    flows: Mapping[str, Flows]
    whole: Mapping[str, Block]

    @property
    def storages(self) -> tuple[tuple[str, StorageBlock], ...]:
        """Every battery and every stay of a vehicle, with the name of the asset."""
        batteries = zip(self.site.batteries, self.batteries, strict=True)
        vehicles = zip(self.site.vehicles, self.vehicles, strict=True)
        return (
            *((battery.name, block.storage) for battery, block in batteries),
            *((vehicle.name, stay) for vehicle, block in vehicles for stay in block.stays),
        )


def formulate(
    program: LinearProgram,
    site: Site,
    decisions: Decisions,
    relief: Mapping[str, Block],
) -> Formulation:
    """Writes a site into the program. ``relief`` holds a variable for each limit to give way."""
    draft = Draft(program, site, decisions, relief)
    batteries = tuple(
        add_battery(draft, battery, f"batteries[{i}]") for i, battery in enumerate(site.batteries)
    )
    vehicles = tuple(
        add_vehicle(draft, vehicle, f"electric_vehicles[{i}]")
        for i, vehicle in enumerate(site.vehicles)
    )
    loads = tuple(
        add_flexible_load(draft, load, f"flexible_loads[{i}]")
        for i, load in enumerate(site.flexible_loads)
    )
    cycles = tuple(add_cycle(draft, cycle) for cycle in site.cycles)
    pumps = tuple(
        add_heat_pump(draft, pump, f"heat_pumps[{i}]") for i, pump in enumerate(site.heat_pumps)
    )
    generators = tuple(add_generator(draft, generator) for generator in site.generators)
    pools = add_curtailable_pv(draft)

    decided: dict[str, Power] = {}
    for assets, blocks in (
        (site.batteries, batteries),
        (site.vehicles, vehicles),
        (site.flexible_loads, loads),
        (site.cycles, cycles),
        (site.heat_pumps, pumps),
        (site.generators, generators),
    ):
        decided |= {asset.name: block.power for asset, block in zip(assets, blocks, strict=True)}
    given = {load.name: Power(load.power_kw) for load in site.loads} | {
        plant.name: Power(-plant.available_power_kw) for plant in site.pv if not plant.curtailable
    }
    pooled = {plant.name: pool.power for pool in pools for plant in pool.plants}
    # Each power once: that of a pool stands for all its plants.
    all_powers = [*given.values(), *decided.values(), *(pool.power for pool in pools)]

    grid = add_grid(draft, all_powers)
    balance = program.equal(
        np.sum([power.given_kw for power in all_powers], axis=0),
        (1.0, grid.imported),
        (-1.0, grid.exported),
    )
    for power in all_powers:
        add_power(program, balance, -1.0, power)
    powers = {**given, **decided, **pooled}

    if site.tiers is not None:
        add_tiers(draft, site.tiers, grid)
    demand_charges = tuple(add_demand_charge(draft, charge, grid) for charge in site.demand_charges)
    groups = tuple(
        add_group(draft, group, _members(group.members, powers), f"groups[{i}]")
        for i, group in enumerate(site.groups)
    )
    reserves = _reserves(draft, grid, batteries, generators, pools)
    previous = site.previous_plan
    deviations = (
        {}
        if previous is None
        else {
            name: add_deviation(draft, powers[name], power, previous.deviation_cost_per_kwh)
            for name, power in previous.power_kw.items()
        }
    )
    held = {
        name: _hold(draft, powers[name], power, site.held.tolerance_kw)
        for name, power in site.held.power_kw.items()
    }
    for name, running in site.held.running.items():
        block = draft.whole[f"generator {name}"]
        program.equal(running, (1.0, block[: len(running)]))
    return Formulation(
        site=site,
        balance=balance,
        grid=grid,
        batteries=batteries,
        pools=pools,
        flexible_loads=loads,
        cycles=cycles,
        vehicles=vehicles,
        heat_pumps=pumps,
        generators=generators,
        groups=groups,
        reserves=reserves,
        demand_charges=demand_charges,
        deviations=deviations,
        held=held,
        powers=powers,
        flows=draft.flows,
        whole=draft.whole,
    )


def _reserves(
    draft: Draft,
    grid: GridBlock,
    batteries: tuple[BatteryBlock, ...],
    generators: tuple[GeneratorBlock, ...],
    pools: tuple[PvPool, ...],
) -> tuple[ReserveBlock, ...]:
    site = draft.site
    wanted: tuple[tuple[Direction, Series | None], ...] = (
        ("upward", site.reserve.upward_power_kw),
        ("downward", site.reserve.downward_power_kw),
    )
    storages = {
        battery.name: block.storage
        for battery, block in zip(site.batteries, batteries, strict=True)
    }
    units = {
        generator.name: (generator, block)
        for generator, block in zip(site.generators, generators, strict=True)
    }
    by_first_plant = {pool.plants[0].name: pool for pool in pools}
    return tuple(
        add_reserve(draft, direction, required, grid, storages, units, by_first_plant)
        for direction, required in wanted
        if required is not None
    )


def _members(names: tuple[str, ...], powers: Mapping[str, Power]) -> dict[str, Power]:
    """The powers of a group's members, that of a pool once."""
    found: dict[str, Power] = {}
    for name in names:
        if not any(powers[name] is power for power in found.values()):
            found[name] = powers[name]
    return found


def _hold(draft: Draft, power: Power, held_kw: Series, tolerance_kw: float) -> Block:
    """The first powers are what they are held at."""
    given = power.given_kw[: len(held_kw)]
    rows = draft.program.empty_rows(
        len(held_kw), held_kw - tolerance_kw - given, held_kw + tolerance_kw - given
    )
    add_power(draft.program, rows, 1.0, power)
    return rows
