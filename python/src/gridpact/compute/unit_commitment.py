"""The kind `unit-commitment`: its input message in, its result message out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from msgspec import UNSET, UnsetType

from gridpact.compute.model.progress import Progress
from gridpact.compute.model.unit_commitment.fleet import (
    CostPoint,
    Fleet,
    Series,
    StartupCategory,
    ThermalUnit,
    whole_slots,
)
from gridpact.compute.model.unit_commitment.plan import Plan, Stop, cheapest_plan
from gridpact.compute.model.unit_commitment.reasons import reasons
from gridpact.contracts.messages import (
    UnitCommitmentInput,
    UnitCommitmentOptions,
    UnitCommitmentReason,
    UnitCommitmentRenewablePlan,
    UnitCommitmentRenewableUnit,
    UnitCommitmentResult,
    UnitCommitmentStart,
    UnitCommitmentThermalPlan,
    UnitCommitmentThermalUnit,
)
from gridpact.kit.series import Float64Series
from gridpact.kit.wire import build


def unit_commitment(wanted: UnitCommitmentInput, progress: Progress) -> UnitCommitmentResult:
    """The cheapest commitment of a fleet. Raises GridpactError (INFEASIBLE, TASK_TIMEOUT, …)."""
    progress(0.0, "build")
    fleet = fleet_of(wanted)
    options = UnitCommitmentOptions() if wanted.options is UNSET else wanted.options
    progress(0.1, "solve")
    plan = cheapest_plan(fleet, Stop(options.time_limit_s, options.relative_gap), progress)
    progress(
        0.9,
        "explain",
        objective=plan.cost.total,
        bound=plan.bound,
        relative_gap=plan.relative_gap,
    )
    return _result_of(wanted, fleet, plan)


def unit_commitment_rehearsals() -> Sequence[UnitCommitmentInput]:
    """One input that leads through the search, the dispatch and the prices."""
    unit = {
        "min_power_mw": 20,
        "max_power_mw": 80,
        "min_up_time_h": 2,
        "min_down_time_h": 1,
        "initial_duration_h": 5,
        "startup_categories": [
            {"min_off_time_h": 1, "cost": 300},
            {"min_off_time_h": 7, "cost": 500},
        ],
        "production_cost": [
            {"power_mw": 20, "cost_per_h": 900},
            {"power_mw": 80, "cost_per_h": 3900},
        ],
    }
    return [
        build(
            UnitCommitmentInput,
            {
                "start_time": "2026-06-01T00:00:00Z",
                "slot_duration_s": 3600,
                "slots": 4,
                "currency": "EUR",
                "demand_mw": [50, 130, 90, 40],
                "reserve_requirement_mw": [5, 5, 5, 5],
                "thermal_units": [{"name": "A", **unit}, {"name": "B", **unit}],
                "renewable_units": [{"name": "Wind", "max_power_mw": [10, 10, 10, 10]}],
            },
        )
    ]


def fleet_of(wanted: UnitCommitmentInput) -> Fleet:
    """The problem in slots: what the input gives in hours is rounded up to whole ones."""
    hours, slots = wanted.slot_duration_s / 3600, wanted.slots
    reserve = wanted.reserve_requirement_mw
    renewables = wanted.renewable_units
    return Fleet(
        slot_hours=hours,
        demand_mw=np.asarray(wanted.demand_mw),
        reserve_requirement_mw=np.zeros(slots) if reserve is UNSET else np.asarray(reserve),
        units=tuple(_unit_of(unit, hours) for unit in wanted.thermal_units),
        min_renewable_mw=sum(map(_least_of, renewables), start=np.zeros(slots)),
        max_renewable_mw=sum(
            (np.asarray(unit.max_power_mw) for unit in renewables), start=np.zeros(slots)
        ),
    )


def _unit_of(wanted: UnitCommitmentThermalUnit, hours: float) -> ThermalUnit:
    power = wanted.initial_power_mw
    least_h = wanted.min_down_time_h if power is UNSET else wanted.min_up_time_h
    most = wanted.max_power_mw

    def limited(value: float | UnsetType, times: float, limit: float) -> float:
        return limit if value is UNSET else min(value * times, limit)

    return ThermalUnit(
        name=wanted.name,
        must_run=wanted.must_run,
        min_power_mw=wanted.min_power_mw,
        max_power_mw=most,
        ramp_up_mw=limited(wanted.ramp_up_mw_per_h, hours, most - wanted.min_power_mw),
        ramp_down_mw=limited(wanted.ramp_down_mw_per_h, hours, most - wanted.min_power_mw),
        startup_limit_mw=limited(wanted.startup_limit_mw, 1.0, most),
        shutdown_limit_mw=limited(wanted.shutdown_limit_mw, 1.0, most),
        min_up_slots=max(1, whole_slots(wanted.min_up_time_h, hours)),
        min_down_slots=max(1, whole_slots(wanted.min_down_time_h, hours)),
        initial_power_mw=None if power is UNSET else power,
        initial_duration_h=wanted.initial_duration_h,
        held_slots=whole_slots(least_h - wanted.initial_duration_h, hours),
        categories=tuple(
            StartupCategory(category.min_off_time_h, category.cost)
            for category in wanted.startup_categories
        ),
        cost_curve=tuple(
            CostPoint(point.power_mw, point.cost_per_h) for point in wanted.production_cost
        ),
    )


def _least_of(unit: UnitCommitmentRenewableUnit) -> Series:
    return (
        np.zeros(len(unit.max_power_mw))
        if unit.min_power_mw is UNSET
        else np.asarray(unit.min_power_mw)
    )


def _result_of(wanted: UnitCommitmentInput, fleet: Fleet, plan: Plan) -> UnitCommitmentResult:
    cost, dispatch = plan.cost, plan.dispatch
    why = reasons(fleet, plan.commitment, dispatch)
    return UnitCommitmentResult(
        status="OPTIMAL" if plan.proven else "TIME_LIMIT",
        start_time=wanted.start_time,
        slot_duration_s=wanted.slot_duration_s,
        slots=wanted.slots,
        currency=wanted.currency,
        cost=cost.total,
        bound=plan.bound,
        relative_gap=plan.relative_gap,
        production_cost=float(cost.production.sum()),
        no_load_cost=float(cost.no_load.sum()),
        startup_cost=cost.startup,
        thermal_units=[
            _thermal_plan_of(unit, plan, index, why[index])
            for index, unit in enumerate(fleet.units)
        ],
        renewable_units=_renewable_plans_of(wanted, fleet, dispatch.renewable_mw),
        curtailed_power_mw=Float64Series(fleet.max_renewable_mw - dispatch.renewable_mw),
        energy_price_per_mwh=Float64Series(dispatch.energy_price_per_mwh),
        reserve_price_per_mw_h=Float64Series(dispatch.reserve_price_per_mw_h),
    )


def _thermal_plan_of(
    unit: ThermalUnit, plan: Plan, index: int, why: list[str]
) -> UnitCommitmentThermalPlan:
    cost, on = plan.cost, plan.commitment[index]
    was_on = np.append(unit.initially_on, on[:-1])
    starts = cost.starts[index]
    return UnitCommitmentThermalPlan(
        name=unit.name,
        commitment=[int(is_on) for is_on in on],
        power_mw=Float64Series(plan.dispatch.power_mw[index]),
        reserve_mw=Float64Series(plan.dispatch.reserve_mw[index]),
        starts=[
            UnitCommitmentStart(
                slot=start.slot,
                category=start.category,
                off_time_h=start.off_time_h,
                cost=start.cost,
            )
            for start in starts
        ],
        stops=[int(slot) for slot in np.flatnonzero(was_on & ~on)],
        production_cost=float(cost.production[index].sum()),
        no_load_cost=float(cost.no_load[index].sum()),
        startup_cost=sum((start.cost for start in starts), start=0.0),
        reasons=cast("list[UnitCommitmentReason]", why),
    )


def _renewable_plans_of(
    wanted: UnitCommitmentInput, fleet: Fleet, used_mw: Series
) -> list[UnitCommitmentRenewablePlan]:
    """What all could deliver and do not is shared in proportion to what each could give up."""
    range_mw = fleet.max_renewable_mw - fleet.min_renewable_mw
    share = np.divide(
        used_mw - fleet.min_renewable_mw, range_mw, out=np.ones(fleet.slots), where=range_mw > 0
    )
    plans: list[UnitCommitmentRenewablePlan] = []
    for unit in wanted.renewable_units:
        least, most = _least_of(unit), np.asarray(unit.max_power_mw)
        power = least + share * (most - least)
        plans.append(
            UnitCommitmentRenewablePlan(
                name=unit.name,
                power_mw=Float64Series(power),
                curtailed_energy_mwh=max(0.0, fleet.slot_hours * float((most - power).sum())),
            )
        )
    return plans
