"""Each kind of task: its input message in, its result message out.

Adding a kind is a schema, a model, and one entry of `computations` with a rehearsal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from msgspec import UNSET

from gridpact.compute.model.baseline import baseline
from gridpact.compute.model.conflict import infeasible
from gridpact.compute.model.explain import Explanation, explain
from gridpact.compute.model.plan import (
    BatteryPlan,
    NoPlanError,
    Plan,
    Stop,
    cheapest_plan,
)
from gridpact.compute.model.progress import Progress
from gridpact.compute.model.site import Battery, Pv, Series, Site
from gridpact.compute.plan_check import plan_check, plan_check_rehearsals
from gridpact.compute.power_flow import power_flow, power_flow_rehearsals
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.compute.unit_commitment import unit_commitment, unit_commitment_rehearsals
from gridpact.contracts.messages import (
    DispatchBattery,
    DispatchBatteryPlan,
    DispatchInput,
    DispatchPvPlan,
    DispatchReason,
    DispatchResult,
    ProbeInput,
    ProbeResult,
    SolverOptions,
)
from gridpact.kit.series import Float64Series
from gridpact.kit.wire import Message, build


def dispatch(wanted: DispatchInput, progress: Progress) -> DispatchResult:
    """The cheapest schedule of a site. Raises GridpactError (INFEASIBLE, TASK_TIMEOUT, …)."""
    progress(0.0, "build")
    site = _site_of(wanted)
    options = SolverOptions() if wanted.options is UNSET else wanted.options
    stop = Stop(options.time_limit_s, options.relative_gap)
    progress(0.1, "solve")
    try:
        plan = cheapest_plan(site, stop, progress)
    except NoPlanError:
        progress(0.5, "explain")
        raise infeasible(site) from None
    progress(0.9, "explain", objective=plan.cost, relative_gap=plan.relative_gap)
    return _result_of(
        wanted, site, plan, proven=plan.proven or plan.relative_gap <= stop.relative_gap
    )


def probe(wanted: ProbeInput, progress: Progress) -> ProbeResult:
    """Holds the worker for a while and answers."""
    started = time.perf_counter()
    while (held_ms := (time.perf_counter() - started) * 1000) < wanted.hold_ms:
        progress(held_ms / wanted.hold_ms, "hold")
        time.sleep(min(100.0, wanted.hold_ms - held_ms) / 1000)
    return ProbeResult(held_ms=held_ms, padding="x" * wanted.result_bytes)


def _dispatch_rehearsals() -> Sequence[DispatchInput]:
    battery = {
        "capacity_kwh": 2,
        "max_charge_power_kw": 1,
        "max_discharge_power_kw": 1,
        "charge_efficiency": 0.9,
        "discharge_efficiency": 0.9,
    }
    return [
        build(
            DispatchInput,
            {
                "start_time": "2026-06-01T00:00:00Z",
                "slot_duration_s": 3600,
                "slots": 3,
                "currency": "EUR",
                "batteries": [{"name": "Battery", "battery": battery, "initial_energy_kwh": 1}],
                "loads": [{"name": "Load", "power_kw": [1, 1, 1]}],
                # The negative price leads through the mixed-integer path too.
                "tariff": {
                    "import_price_per_kwh": [0.1, -0.1, 0.3],
                    "export_price_per_kwh": [0, -0.2, 0],
                },
                "grid": {"max_import_power_kw": 5, "max_export_power_kw": 5},
            },
        )
    ]


_Compute = Callable[[Message, Progress], Message]


@dataclass(frozen=True, slots=True)
class Computation:
    """How a kind is computed.

    ``rehearsals`` gives the inputs, at least one, that a worker computes before it is ready, so
    that the first task finds loaded whatever its path needs.
    """

    compute: _Compute
    rehearsals: Callable[[], Sequence[Message]]


def computations(models: WarmModels) -> Mapping[str, Computation]:
    """How each kind is computed; ``models`` is where one may keep what it has built."""
    # No kind keeps any yet.
    _ = models
    return {
        "dispatch": Computation(cast("_Compute", dispatch), _dispatch_rehearsals),
        "plan-check": Computation(cast("_Compute", plan_check), plan_check_rehearsals),
        "power-flow": Computation(cast("_Compute", power_flow), power_flow_rehearsals),
        "unit-commitment": Computation(
            cast("_Compute", unit_commitment), unit_commitment_rehearsals
        ),
        "probe": Computation(cast("_Compute", probe), lambda: [ProbeInput(hold_ms=1)]),
    }


def _site_of(wanted: DispatchInput) -> Site:
    return Site(
        slot_hours=wanted.slot_duration_s / 3600,
        load_power_kw=np.sum([np.asarray(load.power_kw) for load in wanted.loads], axis=0),
        import_price_per_kwh=np.asarray(wanted.tariff.import_price_per_kwh),
        export_price_per_kwh=np.asarray(wanted.tariff.export_price_per_kwh),
        max_import_power_kw=wanted.grid.max_import_power_kw,
        max_export_power_kw=wanted.grid.max_export_power_kw,
        batteries=tuple(map(_battery_of, wanted.batteries)),
        pv=tuple(
            Pv(pv.name, np.asarray(pv.available_power_kw), pv.curtailable) for pv in wanted.pv
        ),
    )


def _battery_of(wanted: DispatchBattery) -> Battery:
    battery = wanted.battery
    highest = battery.max_energy_kwh
    final = wanted.final_energy_kwh
    return Battery(
        name=wanted.name,
        min_energy_kwh=battery.min_energy_kwh,
        max_energy_kwh=battery.capacity_kwh if highest is UNSET else highest,
        max_charge_power_kw=battery.max_charge_power_kw,
        max_discharge_power_kw=battery.max_discharge_power_kw,
        charge_efficiency=battery.charge_efficiency,
        discharge_efficiency=battery.discharge_efficiency,
        wear_cost_per_kwh=battery.wear_cost_per_kwh,
        initial_energy_kwh=wanted.initial_energy_kwh,
        final_energy_kwh=None if final is UNSET else final,
    )


def _result_of(wanted: DispatchInput, site: Site, plan: Plan, *, proven: bool) -> DispatchResult:
    without_batteries = baseline(site)
    return DispatchResult(
        status="OPTIMAL" if proven else "TIME_LIMIT",
        start_time=wanted.start_time,
        slot_duration_s=wanted.slot_duration_s,
        slots=wanted.slots,
        currency=wanted.currency,
        cost=plan.cost,
        baseline_cost=without_batteries.cost,
        baseline_within_grid_limits=without_batteries.within_grid_limits,
        savings=without_batteries.cost - plan.cost,
        energy_cost=plan.energy_cost,
        wear_cost=plan.wear_cost,
        relative_gap=plan.relative_gap,
        batteries=[
            _battery_plan_of(battery, its_plan, explain(site, plan, index))
            for index, (battery, its_plan) in enumerate(
                zip(site.batteries, plan.batteries, strict=True)
            )
        ],
        pv=[
            _pv_plan_of(pv, used, site.slot_hours)
            for pv, used in zip(site.pv, plan.pv_power_kw, strict=True)
        ],
        grid_power_kw=Float64Series(plan.grid_power_kw),
        grid_price_per_kwh=Float64Series(plan.grid_price_per_kwh + 0.0),
    )


def _battery_plan_of(
    battery: Battery, plan: BatteryPlan, explanation: Explanation
) -> DispatchBatteryPlan:
    return DispatchBatteryPlan(
        name=battery.name,
        power_kw=Float64Series(plan.power_kw),
        energy_kwh=Float64Series(plan.energy_kwh),
        marginal_value_per_kwh=Float64Series(explanation.more_per_kwh + 0.0),
        reasons=cast("list[DispatchReason]", list(explanation.reasons)),
    )


def _pv_plan_of(pv: Pv, used_power_kw: Series, slot_hours: float) -> DispatchPvPlan:
    curtailed = pv.available_power_kw - used_power_kw
    return DispatchPvPlan(
        name=pv.name,
        power_kw=Float64Series(0.0 - used_power_kw),
        curtailed_energy_kwh=max(0.0, slot_hours * float(curtailed.sum())),
    )
