"""An account of a replay that shares nothing with the code that made it.

It looks at the result from behind: from the powers that are told to the energies, limits,
deviations, violations and costs that they must have led to.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from gridpact.contracts.messages import AssetSetPoints, ReplayAsset, ReplayInput, ReplayResult

NOTHING = 1e-6
"""Powers (kW) and energies (kWh) below this are none."""
NEAR = 1e-8
Series = NDArray[np.float64]


def check_replay(wanted: ReplayInput, result: ReplayResult) -> None:
    """Fails where the result contradicts its input, or itself."""
    site = wanted.site
    told = {points.name: points for points in wanted.schedule}
    did = {asset.name: asset for asset in result.assets}
    named = [*site.batteries, *site.pv, *site.flexible_loads, *site.cycles]
    named += [*site.electric_vehicles, *site.heat_pumps, *site.generators]
    assert [asset.name for asset in result.assets] == [item.name for item in named]
    _check_balance(wanted, result)
    _check_laws(wanted, did)
    _check_deviations(wanted, result, told, did)
    if wanted.at_limits == "VIOLATE":
        _check_nobody_held_back(wanted, told, did)
    assert _found(wanted, result) == _expected(wanted, result, did)
    _check_costs(wanted, result, did)


def _kw(asset: ReplayAsset) -> Series:
    return np.asarray(asset.power_kw)


def _shed(result: ReplayResult) -> Series:
    return (
        np.zeros(result.slots)
        if result.shed_power_kw is UNSET
        else np.asarray(result.shed_power_kw)
    )


def _check_balance(wanted: ReplayInput, result: ReplayResult) -> None:
    loads = sum((np.asarray(load.power_kw) for load in wanted.site.loads), start=-_shed(result))
    grid = sum((_kw(asset) for asset in result.assets), start=loads)
    np.testing.assert_allclose(result.grid_power_kw, grid, rtol=0, atol=1e-9)
    hours = wanted.site.slot_duration_s / 3600
    imported, exported = (np.maximum(sign * grid, 0.0) for sign in (1, -1))
    assert math.isclose(result.imported_energy_kwh, hours * imported.sum(), abs_tol=NEAR)
    assert math.isclose(result.exported_energy_kwh, hours * exported.sum(), abs_tol=NEAR)
    assert math.isclose(result.peak_import_power_kw, imported.max(), abs_tol=NEAR)
    for asset in result.assets:
        power = _kw(asset)
        taken, given = (hours * np.maximum(sign * power, 0.0).sum() for sign in (1, -1))
        assert math.isclose(asset.consumed_energy_kwh, taken, abs_tol=NEAR)
        assert math.isclose(asset.produced_energy_kwh, given, abs_tol=NEAR)


# ------------------------------------------------------------------------------- physical laws


def _check_laws(wanted: ReplayInput, did: dict[str, ReplayAsset]) -> None:
    site = wanted.site
    hours = site.slot_duration_s / 3600
    for item in site.batteries:
        asset = did[item.name]
        every = range(site.slots)
        _check_store(item.battery, hours, item.initial_energy_kwh, asset, every)
    for vehicle in site.electric_vehicles:
        asset, away = did[vehicle.name], np.full(site.slots, fill_value=True)
        for stay in vehicle.stays:
            slots = range(stay.start_slot, stay.end_slot)
            away[slots] = False
            _check_store(vehicle.battery, hours, stay.initial_energy_kwh, asset, slots)
        assert not np.asarray(asset.power_kw)[away].any()
        assert not np.asarray(asset.energy_kwh)[away].any()
    for plant in site.pv:
        used, available = -_kw(did[plant.name]), np.asarray(plant.available_power_kw)
        assert ((used >= 0) & (used <= available)).all()
        assert plant.curtailable or (used == available).all()
        curtailed = hours * (available - used).sum()
        assert math.isclose(did[plant.name].curtailed_energy_kwh, curtailed, abs_tol=NEAR)
    for load in site.flexible_loads:
        power = _kw(did[load.name])
        assert ((power >= 0) & (power <= load.max_power_kw + NOTHING)).all()
        assert not np.delete(power, range(load.start_slot, load.end_slot)).any()
        assert hours * power.sum() <= load.energy_kwh + NOTHING * max(1.0, load.energy_kwh)
    for cycle in site.cycles:
        power, profile = _kw(did[cycle.name]), np.asarray(cycle.power_kw)
        runs = [np.zeros(site.slots)]
        for start in range(cycle.start_slot, cycle.end_slot - len(profile) + 1):
            run = np.zeros(site.slots)
            run[start : start + len(profile)] = profile
            runs.append(run)
        assert any((power == run).all() for run in runs)
    for pump in site.heat_pumps:
        _check_tank(pump, hours, did[pump.name])
    for generator in site.generators:
        _check_generator(generator, site.slot_duration_s, did[generator.name])


def _check_store(
    cell: Any, hours: float, start_kwh: float, asset: ReplayAsset, slots: range
) -> None:
    power, energy = _kw(asset)[slots], np.asarray(asset.energy_kwh)[slots]
    before = np.concatenate([[start_kwh], energy[:-1]])
    charged, discharged = np.maximum(power, 0.0), np.maximum(-power, 0.0)
    gained = charged * cell.charge_efficiency - discharged / cell.discharge_efficiency
    np.testing.assert_allclose(energy - before, hours * gained, rtol=0, atol=2e-9)
    assert charged.max() <= cell.max_charge_power_kw + NOTHING
    assert discharged.max() <= cell.max_discharge_power_kw + NOTHING
    most = cell.capacity_kwh if cell.max_energy_kwh is UNSET else cell.max_energy_kwh
    # Outside of the window it may only come nearer.
    assert (energy <= np.maximum(most, before) + 2 * NOTHING).all()
    assert (energy >= np.minimum(cell.min_energy_kwh, before) - 2 * NOTHING).all()


def _check_tank(pump: Any, hours: float, asset: ReplayAsset) -> None:
    power, energy, tank = _kw(asset), np.asarray(asset.energy_kwh), pump.tank
    before = np.concatenate([[tank.initial_energy_kwh], energy[:-1]])
    kept = 1 - min(1.0, tank.loss_per_h * hours)
    heat = np.asarray(pump.cop) * power - np.asarray(pump.heat_demand_kw)
    np.testing.assert_allclose(
        energy, np.maximum(0.0, kept * before + hours * heat), rtol=0, atol=2e-9
    )
    assert ((power >= 0) & (power <= pump.max_power_kw + NOTHING)).all()
    assert (energy <= np.maximum(tank.max_energy_kwh, before) + 2 * NOTHING).all()


def _check_generator(generator: Any, slot_s: int, asset: ReplayAsset) -> None:
    output, running = -_kw(asset), np.asarray(asset.running)
    assert set(running.tolist()) <= {0.0, 1.0}
    assert not output[running == 0].any()
    assert (output[running == 1] >= generator.min_power_kw - NOTHING).all()
    assert (output <= generator.max_power_kw + NOTHING).all()
    hours = slot_s / 3600
    on, past_s = generator.initially_running, generator.initial_duration_s
    last = max(generator.min_power_kw, generator.initial_power_kw) if on else 0.0
    up, down = (
        math.inf if ramp is UNSET else ramp * hours
        for ramp in (generator.ramp_up_kw_per_h, generator.ramp_down_kw_per_h)
    )
    for now, power in zip(running.tolist(), output.tolist(), strict=True):
        if bool(now) != on:
            least_s = generator.min_up_duration_s if on else generator.min_down_duration_s
            assert past_s >= least_s
            on, past_s = bool(now), 0
            limit = up if on else down
            assert abs(power - last) <= max(generator.min_power_kw, limit) + NOTHING
        elif on:
            assert -down - NOTHING <= power - last <= up + NOTHING
        past_s += slot_s
        last = power


# --------------------------------------------------------------------- what was not followed


def _check_deviations(
    wanted: ReplayInput,
    result: ReplayResult,
    told: dict[str, AssetSetPoints],
    did: dict[str, ReplayAsset],
) -> None:
    hours, slots = wanted.site.slot_duration_s / 3600, wanted.site.slots
    plants = {plant.name for plant in wanted.site.pv}
    loads = {load.name for load in wanted.site.loads}
    listed: dict[str, float] = {}
    for deviation in result.deviations:
        listed[deviation.name] = listed.get(deviation.name, 0.0) + deviation.energy_kwh
        assert deviation.slot + deviation.slot_count <= slots
        if deviation.reason in ("GRID_LIMIT", "GROUP_LIMIT"):
            assert wanted.at_limits != "VIOLATE"
        else:
            assert deviation.name not in plants | loads
    order = [*did, *(load.name for load in wanted.site.loads)]
    places = [order.index(deviation.name) for deviation in result.deviations]
    assert places == sorted(places)
    for name, asset in did.items():
        assert math.isclose(asset.not_followed_kwh, listed.get(name, 0.0), abs_tol=NEAR)
        if name not in plants:
            meant = np.asarray(told[name].power_kw) if name in told else np.zeros(slots)
            apart = hours * float(np.abs(meant - _kw(asset)).sum())
            assert math.isclose(listed.get(name, 0.0), apart, abs_tol=2 * slots * NOTHING)
    shed_kwh = sum(listed.get(name, 0.0) for name in loads)
    assert math.isclose(shed_kwh, hours * _shed(result).sum(), abs_tol=slots * NOTHING)


def _check_nobody_held_back(
    wanted: ReplayInput, told: dict[str, AssetSetPoints], did: dict[str, ReplayAsset]
) -> None:
    """A battery does less than it is told only where a limit of its own is reached."""
    site = wanted.site
    for item in site.batteries:
        if item.name not in told:
            continue
        cell, asset = item.battery, did[item.name]
        meant, power = np.asarray(told[item.name].power_kw), _kw(asset)
        energy = np.asarray(asset.energy_kwh)
        before = np.concatenate([[item.initial_energy_kwh], energy[:-1]])
        most = cell.capacity_kwh if cell.max_energy_kwh is UNSET else cell.max_energy_kwh
        full = energy >= np.maximum(most, before) - NOTHING
        empty = energy <= np.minimum(cell.min_energy_kwh, before) + NOTHING
        less, more = power < meant - NOTHING, power > meant + NOTHING
        assert (~less | full | (power >= cell.max_charge_power_kw - NOTHING)).all()
        assert (~more | empty | (power <= -cell.max_discharge_power_kw + NOTHING)).all()
    for plant in site.pv:
        if plant.curtailable and plant.name in told:
            points = told[plant.name]
            free = points.limited is not UNSET and np.asarray(points.limited) <= 0.5
            ceiling = np.where(free, np.inf, np.maximum(0.0, -np.asarray(points.power_kw)))
            expected = np.minimum(np.asarray(plant.available_power_kw), ceiling)
            np.testing.assert_array_equal(-_kw(did[plant.name]), expected)


# ------------------------------------------------------------------------- what was not kept

Kept = tuple[str, str | None, int, int, float, str]


def _has_loads_that_may_be_shed(wanted: ReplayInput, members: list[str]) -> bool:
    """Then the group's power is not told: by how much each load was shed is not."""
    loads = {load.name for load in wanted.site.loads}
    return wanted.at_limits == "REDUCE" and not loads.isdisjoint(members)


def _found(wanted: ReplayInput, result: ReplayResult) -> list[Kept]:
    untold = {
        f"groups[{i}]"
        for i, group in enumerate(wanted.site.groups)
        if _has_loads_that_may_be_shed(wanted, group.members)
    }
    return [
        (
            each.field,
            None if each.name is UNSET else each.name,
            each.slot,
            each.slot_count,
            round(each.amount, 6),
            each.unit,
        )
        for each in result.violations
        if each.field.partition(".")[0] not in untold
    ]


def _expected(wanted: ReplayInput, result: ReplayResult, did: dict[str, ReplayAsset]) -> list[Kept]:
    return [
        (field, name, slot, count, round(amount, 6), unit)
        for field, name, slot, count, amount, unit in _violations(wanted, result, did)
    ]


def _violations(
    wanted: ReplayInput, result: ReplayResult, did: dict[str, ReplayAsset]
) -> Iterator[Kept]:
    site, slots = wanted.site, wanted.site.slots
    hours = site.slot_duration_s / 3600
    grid = np.asarray(result.grid_power_kw)
    for way, sign in (("import", 1), ("export", -1)):
        limit = np.full(slots, getattr(site.grid, f"max_{way}_power_kw"))
        if (by_slot := getattr(site.grid, f"{way}_limits_kw")) is not UNSET:
            limit = np.minimum(limit, np.asarray(by_slot))
        yield from _beyond(f"grid.max_{way}_power_kw", None, sign * grid - limit)
    shed = {load.name: np.asarray(load.power_kw) for load in site.loads}
    for i, group in enumerate(site.groups):
        members = [*group.members]
        if _has_loads_that_may_be_shed(wanted, members):
            continue
        power = sum(
            (_kw(did[name]) if name in did else shed[name] for name in members),
            start=np.zeros(slots),
        )
        for way, sign in (("import", 1), ("export", -1)):
            limit = getattr(group, f"max_{way}_power_kw")
            if limit is not UNSET:
                yield from _beyond(
                    f"groups[{i}].max_{way}_power_kw", group.name, sign * power - limit
                )
    for i, item in enumerate(site.batteries):
        yield from _missing(
            f"batteries[{i}].final_energy_kwh", item.name, slots - 1, item.final_energy_kwh, did
        )
    for i, load in enumerate(site.flexible_loads):
        power = _kw(did[load.name])
        missing = load.energy_kwh - hours * float(power.sum())
        if missing > NOTHING * max(1.0, load.energy_kwh):
            yield f"flexible_loads[{i}].energy_kwh", load.name, load.end_slot - 1, 1, missing, "kWh"
        runs = power > NOTHING
        begins = np.flatnonzero(runs & ~np.concatenate([[False], runs[:-1]]))
        if len(begins) > 1 and not load.interruptible:
            field = f"flexible_loads[{i}].interruptible"
            yield field, load.name, int(begins[1]), 1, float(len(begins) - 1), "slots"
    for i, cycle in enumerate(site.cycles):
        energy = hours * float(np.asarray(cycle.power_kw).sum())
        if not _kw(did[cycle.name]).any() and energy > NOTHING:
            yield f"cycles[{i}].power_kw", cycle.name, cycle.end_slot - 1, 1, energy, "kWh"
    for i, vehicle in enumerate(site.electric_vehicles):
        for j, stay in enumerate(vehicle.stays):
            field = f"electric_vehicles[{i}].stays[{j}].required_energy_kwh"
            yield from _missing(
                field, vehicle.name, stay.end_slot - 1, stay.required_energy_kwh, did
            )
    for i, pump in enumerate(site.heat_pumps):
        yield from _cold(f"heat_pumps[{i}]", pump, hours, did[pump.name])
        field = f"heat_pumps[{i}].tank.final_energy_kwh"
        yield from _missing(field, pump.name, slots - 1, pump.tank.final_energy_kwh, did)


def _beyond(field: str, name: str | None, excess: Series) -> Iterator[Kept]:
    beyond = np.flatnonzero(excess > NOTHING)
    if len(beyond):
        yield field, name, int(beyond[0]), len(beyond), float(excess.max()), "kW"


def _missing(
    field: str, name: str, slot: int, asked: Any, did: dict[str, ReplayAsset]
) -> Iterator[Kept]:
    if asked is not UNSET:
        missing = asked - float(np.asarray(did[name].energy_kwh)[slot])
        if missing > NOTHING:
            yield field, name, slot, 1, missing, "kWh"


def _cold(place: str, pump: Any, hours: float, asset: ReplayAsset) -> Iterator[Kept]:
    tank, energy = pump.tank, np.asarray(asset.energy_kwh)
    before = np.concatenate([[tank.initial_energy_kwh], energy[:-1]])
    kept = 1 - min(1.0, tank.loss_per_h * hours)
    heat = np.asarray(pump.cop) * _kw(asset) - np.asarray(pump.heat_demand_kw)
    balance = kept * before + hours * heat
    # As high as it has been so far, up to the minimum: below that it has fallen.
    reached = np.minimum(tank.min_energy_kwh, np.maximum.accumulate(before))
    low = np.flatnonzero(energy < reached - NOTHING)
    if len(low):
        worst = tank.min_energy_kwh - float(energy[low].min())
        yield f"{place}.tank.min_energy_kwh", pump.name, int(low[0]), len(low), worst, "kWh"
    cold = np.flatnonzero(balance < -NOTHING)
    if len(cold):
        missing = -float(balance[cold].sum())
        yield f"{place}.heat_demand_kw", pump.name, int(cold[0]), len(cold), missing, "kWh"


# ------------------------------------------------------------------------------------- money


def _check_costs(wanted: ReplayInput, result: ReplayResult, did: dict[str, ReplayAsset]) -> None:
    site, costs = wanted.site, result.costs
    hours = site.slot_duration_s / 3600
    grid = np.asarray(result.grid_power_kw)
    imported, exported = hours * np.maximum(grid, 0.0), hours * np.maximum(-grid, 0.0)

    def paid(energy: Series, price: Any) -> float:
        return float(energy @ np.asarray(price))

    wear = fuel = starts = generated_kg = 0.0
    for name, cell in [
        *((item.name, item.battery) for item in site.batteries),
        *((item.name, item.battery) for item in site.electric_vehicles),
    ]:
        wear += cell.wear_cost_per_kwh * did[name].produced_energy_kwh
    for generator in site.generators:
        output, running = -_kw(did[generator.name]), np.asarray(did[generator.name].running)
        fuel += hours * generator.no_load_cost_per_h * float(running.sum())
        for power in output.tolist():
            done = 0.0
            for step in generator.cost_segments:
                part = max(0.0, min(power, step.up_to_power_kw) - done)
                fuel += hours * part * step.cost_per_kwh
                done = step.up_to_power_kw
        was = [float(generator.initially_running), *running.tolist()]
        begun = sum(now > before for before, now in itertools.pairwise(was))
        starts += generator.start_cost * begun
        generated_kg += generator.co2_kg_per_kwh * hours * float(output.sum())
    price_per_kg = 0.0
    if site.emissions is not UNSET:
        imported_kg = paid(imported, site.emissions.import_kg_per_kwh)
        price_per_kg = site.emissions.price_per_kg
        assert math.isclose(result.co2_kg, imported_kg + generated_kg, abs_tol=NEAR)
        generated_kg += imported_kg
    fees = sum(paid(imported, fee.price_per_kwh) for fee in site.tariff.grid_fees)
    expected = {
        "energy_import": paid(imported, site.tariff.import_price_per_kwh),
        "energy_export": -paid(exported, site.tariff.export_price_per_kwh),
        "grid_fees": fees,
        "generation": fuel,
        "starts": starts,
        "wear": wear,
        "co2": price_per_kg * generated_kg,
    }
    for name, amount in expected.items():
        assert math.isclose(getattr(costs, name), amount, abs_tol=1e-7), name
    parts = sum(getattr(costs, name) for name in costs.__struct_fields__)
    assert math.isclose(result.cost, parts, rel_tol=1e-12, abs_tol=1e-12)
    assert math.isclose(result.savings, result.baseline_cost - result.cost, abs_tol=NEAR)
    if wanted.plan_cost is not UNSET:
        above = result.cost - wanted.plan_cost
        assert math.isclose(result.cost_above_plan, above, abs_tol=NEAR)
    # A demand charge is billed for its whole peak, and costs only what is new of it.
    so_far = sum(
        charge.price_per_kw * charge.peak_so_far_kw for charge in site.tariff.demand_charges
    )
    billed = sum(line.amount for line in result.bill)
    assert math.isclose(billed - so_far, result.cost - fuel - starts - wear, abs_tol=1e-7)
