"""The kind `replay`: its input message in, its result message out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from msgspec import UNSET, UnsetType

from gridpact.compute.dispatch import (
    bill_message,
    costs_message,
    dispatch_rehearsals,
    part_kept,
    site_of,
)
from gridpact.compute.model.dispatch.baseline import by_rule, without_flexibility
from gridpact.compute.model.dispatch.costs import Operation, co2_kg, costs_of
from gridpact.compute.model.dispatch.site import Generator, Mask, Pv, Series, Site
from gridpact.compute.model.progress import Progress
from gridpact.compute.model.replay import (
    TOLERANCE,
    Asset,
    AtLimits,
    BatteryRun,
    CycleRun,
    Deviation,
    FixedLoad,
    FlexibleLoadRun,
    GeneratorRun,
    Gives,
    HeatPumpRun,
    Limit,
    Line,
    PvRun,
    Replay,
    VehicleRun,
    Violation,
)
from gridpact.contracts.messages import (
    AssetSetPoints,
    ReplayAsset,
    ReplayDeviation,
    ReplayInput,
    ReplayResult,
    ReplayViolation,
)
from gridpact.kit.series import Float64Series


def replay(wanted: ReplayInput, progress: Progress) -> ReplayResult:
    """What a schedule leads to on the site as it really was."""
    progress(0.0, "follow")
    site = site_of(wanted.site)
    lines = [*_lines(site, {points.name: points for points in wanted.schedule})]
    loads = [FixedLoad(load.name, load.power_kw.copy()) for load in site.loads]
    run = Replay(site.slot_hours, lines, loads, [*_limits(site)], AtLimits(wanted.at_limits))
    run.run(site.slots)
    progress(0.8, "account")
    return _result_of(wanted, site, run)


def _lines(site: Site, points: dict[str, AssetSetPoints]) -> Iterator[Line]:
    hours, slots = site.slot_hours, site.slots

    def told(name: str) -> Series:
        return np.asarray(points[name].power_kw) if name in points else np.zeros(slots)

    def line(asset: Asset, gives: Gives) -> Line:
        return Line(asset, gives, told(asset.name))

    for i, battery in enumerate(site.batteries):
        yield line(BatteryRun(battery, f"batteries[{i}]", hours, slots), Gives.BATTERY)
    for plant in site.pv:
        gives = Gives.CURTAILED_PV if plant.curtailable else Gives.NOTHING
        yield line(PvRun(plant, _limited(plant, slots, points.get(plant.name))), gives)
    for i, load in enumerate(site.flexible_loads):
        yield line(FlexibleLoadRun(load, f"flexible_loads[{i}]", hours), Gives.FLEXIBLE_LOAD)
    for i, cycle in enumerate(site.cycles):
        yield line(CycleRun(cycle, f"cycles[{i}]", hours, told(cycle.name)), Gives.NOTHING)
    for i, vehicle in enumerate(site.vehicles):
        yield line(VehicleRun(vehicle, f"electric_vehicles[{i}]", hours, slots), Gives.VEHICLE)
    for i, pump in enumerate(site.heat_pumps):
        yield line(HeatPumpRun(pump, f"heat_pumps[{i}]", hours), Gives.HEAT_PUMP)
    for generator in site.generators:
        running = _flags(_of(points.get(generator.name)), told(generator.name) < -TOLERANCE)
        yield line(GeneratorRun(generator, hours, running), Gives.GENERATOR)


def _of(points: AssetSetPoints | None) -> Float64Series | UnsetType:
    return UNSET if points is None else points.running


def _limited(plant: Pv, slots: int, points: AssetSetPoints | None) -> Sequence[bool]:
    if points is None or not plant.curtailable:
        return [False] * slots
    return _flags(points.limited, np.full(slots, fill_value=True))


def _flags(series: Float64Series | UnsetType, otherwise: Mask) -> Sequence[bool]:
    flags = otherwise if series is UNSET else np.asarray(series) > 0.5
    return flags.tolist()


def _limits(site: Site) -> Iterator[Limit]:
    """Those of the groups in order, then that of the grid connection."""

    def each(limit_kw: float | None) -> Series:
        return np.full(site.slots, np.inf if limit_kw is None else limit_kw)

    for i, group in enumerate(site.groups):
        yield Limit(
            f"groups[{i}]",
            group.name,
            "GROUP_LIMIT",
            frozenset(group.members),
            each(group.max_import_power_kw),
            each(group.max_export_power_kw),
        )
    yield Limit("grid", None, "GRID_LIMIT", None, site.import_limit_kw, site.export_limit_kw)


def _result_of(wanted: ReplayInput, site: Site, run: Replay) -> ReplayResult:
    hours = site.slot_hours
    shed = _shed(site, run.loads)
    loads_kw = sum((load.power_kw for load in site.loads), start=-shed)
    grid_kw = sum((line.power_kw for line in run.lines), start=loads_kw)
    operation = Operation(
        grid_kw, tuple(_discharged(site, run.lines)), tuple(_generated(site, run.lines))
    )
    costs = costs_of(site, operation)
    imported_kwh = hours * float(np.maximum(grid_kw, 0.0).sum())
    exported_kwh = hours * float(np.maximum(-grid_kw, 0.0).sum())
    consumers = [line.power_kw for line in run.lines if not isinstance(line.asset, BatteryRun)]
    idle, ruled = without_flexibility(site), by_rule(site)
    plan_cost = wanted.plan_cost
    return ReplayResult(
        start_time=wanted.site.start_time,
        slot_duration_s=wanted.site.slot_duration_s,
        slots=site.slots,
        currency=wanted.site.currency,
        cost=costs.total,
        costs=costs_message(costs),
        bill=bill_message(site, operation, costs),
        plan_cost=plan_cost,
        cost_above_plan=UNSET if plan_cost is UNSET else costs.total - plan_cost,
        baseline_cost=idle.cost,
        baseline_within_grid_limits=idle.within_grid_limits,
        savings=idle.cost - costs.total,
        rule_based_cost=ruled.cost,
        rule_based_savings=ruled.cost - costs.total,
        assets=[_asset(site, line) for line in run.lines],
        deviations=[
            ReplayDeviation(
                name=name,
                reason=its.reason,
                slot=its.first_slot,
                slot_count=its.slot_count,
                energy_kwh=its.energy_kwh,
            )
            for name, deviations in _deviations(run)
            for its in deviations
        ],
        violations=[_violation(its) for its in run.violations()],
        grid_power_kw=_series(grid_kw),
        shed_power_kw=_series(shed) if any(load.deviations for load in run.loads) else UNSET,
        peak_import_power_kw=max(0.0, float(grid_kw.max())),
        imported_energy_kwh=imported_kwh,
        exported_energy_kwh=exported_kwh,
        self_sufficiency=part_kept(imported_kwh, hours * float(loads_kw.sum() + _taken(consumers))),
        self_consumption=part_kept(exported_kwh, hours * _produced(run.lines)),
        co2_kg=UNSET if site.import_kg_per_kwh is None else co2_kg(site, operation),
    )


def _shed(site: Site, loads: Iterable[FixedLoad]) -> Series:
    wanted = (load.power_kw for load in site.loads)
    given = (load.power_kw for load in loads)
    return sum(
        (asked - got for asked, got in zip(wanted, given, strict=True)), start=np.zeros(site.slots)
    )


def _discharged(site: Site, lines: Iterable[Line]) -> Iterator[tuple[float, float]]:
    """Discharged kWh and the wear cost of each, for every battery and vehicle."""
    wear = {item.name: item.cell.wear_cost_per_kwh for item in (*site.batteries, *site.vehicles)}
    for line in lines:
        if line.asset.name in wear:
            out = site.slot_hours * float(np.maximum(-line.power_kw, 0.0).sum())
            yield out, wear[line.asset.name]


def _generated(site: Site, lines: Iterable[Line]) -> Iterator[tuple[Generator, Series, Series]]:
    """Each generator, its output, and where it ran."""
    given = {generator.name: generator for generator in site.generators}
    for line in lines:
        if isinstance(line.asset, GeneratorRun):
            yield given[line.asset.name], -line.power_kw, line.asset.running


def _taken(powers_kw: Iterable[Series]) -> float:
    return sum((float(np.maximum(power, 0.0).sum()) for power in powers_kw), start=0.0)


def _produced(lines: Iterable[Line]) -> float:
    """Of PV and generators: their powers are not positive."""
    made = (line.power_kw for line in lines if isinstance(line.asset, PvRun | GeneratorRun))
    return -sum((float(power.sum()) for power in made), start=0.0)


def _deviations(run: Replay) -> Iterator[tuple[str, Iterable[Deviation]]]:
    for line in run.lines:
        yield line.asset.name, line.deviations.values()
    for load in run.loads:
        yield load.name, load.deviations.values()


def _asset(site: Site, line: Line) -> ReplayAsset:
    asset, hours = line.asset, site.slot_hours
    curtailed = UNSET
    if isinstance(asset, PvRun):
        curtailed = max(0.0, hours * float((asset.available_kw + line.power_kw).sum()))
    return ReplayAsset(
        name=asset.name,
        power_kw=_series(line.power_kw),
        energy_kwh=_series(asset.energy_kwh)
        if isinstance(asset, BatteryRun | VehicleRun | HeatPumpRun)
        else UNSET,
        running=_series(asset.running) if isinstance(asset, GeneratorRun) else UNSET,
        consumed_energy_kwh=hours * float(np.maximum(line.power_kw, 0.0).sum()),
        produced_energy_kwh=hours * float(np.maximum(-line.power_kw, 0.0).sum()),
        curtailed_energy_kwh=curtailed,
        not_followed_kwh=sum((its.energy_kwh for its in line.deviations.values()), start=0.0),
    )


def _violation(its: Violation) -> ReplayViolation:
    return ReplayViolation(
        field=its.field,
        name=UNSET if its.name is None else its.name,
        slot=its.first_slot,
        slot_count=its.slot_count,
        amount=its.amount,
        unit=its.unit,
        message=its.message,
    )


def _series(values: Series) -> Float64Series:
    return Float64Series(values + 0.0)  # −0 is written as 0


def replay_rehearsals() -> Sequence[ReplayInput]:
    """A schedule that cannot be followed, at limits that make everything do less."""
    (site,) = dispatch_rehearsals()
    points = [AssetSetPoints(name="Battery", power_kw=Float64Series([3.0, -1.0, -1.0]))]
    return [ReplayInput(site=site, schedule=points, at_limits="REDUCE")]
