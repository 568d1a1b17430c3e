"""The kind `dispatch`: its input message in, its result message out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import cast

import numpy as np
from msgspec import UNSET, UnsetType

from gridpact.compute.model.dispatch.answer import Answer, answer, conditional_value_at_risk
from gridpact.compute.model.dispatch.baseline import by_rule, without_flexibility
from gridpact.compute.model.dispatch.conflict import Broken
from gridpact.compute.model.dispatch.costs import (
    Costs,
    Operation,
    bill_of,
    co2_kg,
    fuel_cost,
    start_count,
)
from gridpact.compute.model.dispatch.plan import Plan, stay_series
from gridpact.compute.model.dispatch.prices import Prices
from gridpact.compute.model.dispatch.problem import Future, Problem
from gridpact.compute.model.dispatch.reasons import Reasons
from gridpact.compute.model.dispatch.search import Stop
from gridpact.compute.model.dispatch.site import (
    Battery,
    Cell,
    Cycle,
    DemandCharge,
    FlexibleLoad,
    Generator,
    GridFee,
    Group,
    HeatPump,
    Load,
    Mask,
    PreviousPlan,
    Pv,
    Reserve,
    Series,
    Site,
    Stay,
    Tank,
    Tiers,
    Vehicle,
)
from gridpact.compute.model.progress import Progress
from gridpact.compute.solve.warm_program import WarmProgram
from gridpact.contracts import messages
from gridpact.contracts.messages import (
    DispatchBatteryPlan,
    DispatchBillLine,
    DispatchCosts,
    DispatchCyclePlan,
    DispatchDemandCharge,
    DispatchElectricVehiclePlan,
    DispatchFlexibleLoadPlan,
    DispatchGenerator,
    DispatchGeneratorPlan,
    DispatchGroupPlan,
    DispatchHeatPumpPlan,
    DispatchInput,
    DispatchPvPlan,
    DispatchReason,
    DispatchResult,
    DispatchScenario,
    DispatchScenarioPlan,
    DispatchUncertaintyPlan,
    DispatchViolation,
    SolverOptions,
)
from gridpact.kit.errors import GridpactError
from gridpact.kit.series import Float64Series
from gridpact.kit.violation import Violation
from gridpact.kit.wire import build

BASE = DispatchScenario(name="as given", probability=1.0)
"""The future where no scenarios are given: all as the input says."""


def dispatch(
    wanted: DispatchInput, progress: Progress, warm: WarmProgram | None = None
) -> DispatchResult:
    """The cheapest schedule of a site; ``warm`` is what the last step of a controller has left.

    Raises GridpactError: INVALID_ARGUMENT for what no rule of the schemas refuses, INFEASIBLE,
    TASK_TIMEOUT, SOLVER_FAILED.
    """
    progress(0.0, "build")
    if refused := list(_refusals(wanted)):
        raise GridpactError.invalid(refused)
    problem = _problem_of(wanted)
    options = SolverOptions() if wanted.options is UNSET else wanted.options
    stop = Stop(options.time_limit_s, options.relative_gap)

    def on_progress(objective: float | None, bound: float | None, gap: float | None) -> None:
        fraction = 0.1 + 0.8 * (1.0 - min(1.0, 1.0 if gap is None else gap))
        progress(fraction, "solve", objective=objective, bound=bound, relative_gap=gap)

    progress(0.1, "solve")
    found = answer(
        problem, stop, relax=wanted.on_conflict == "RELAX", on_progress=on_progress, warm=warm
    )
    progress(0.9, "explain", objective=found.plan.costs.total, relative_gap=found.relative_gap)
    return _result_of(wanted, problem, found)


def dispatch_rehearsals() -> Sequence[DispatchInput]:
    """One input whose path leads through relaxation, choices and prices."""
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


def _refusals(wanted: DispatchInput) -> Iterator[Violation]:
    """What the rules of the schemas cannot say."""
    for i, load in enumerate(wanted.flexible_loads):
        if not load.interruptible and load.min_power_kw == 0:
            words = (
                "must be greater than 0 where interruptible is false: running and pausing would "
                "be the same; it is 0"
            )
            yield Violation(f"flexible_loads[{i}].min_power_kw", "interruptible", words)
    for i, generator in enumerate(wanted.generators):
        if not generator.initially_running and generator.initial_power_kw > 0:
            words = (
                f"must be 0 where initially_running is false; it is {generator.initial_power_kw:g}"
            )
            yield Violation(f"generators[{i}].initial_power_kw", "initially-running", words)


def _problem_of(wanted: DispatchInput) -> Problem:
    uncertainty = wanted.uncertainty
    if uncertainty is UNSET:
        return Problem.certain(_site_of(wanted, BASE))
    weight = sum(scenario.probability for scenario in uncertainty.scenarios)
    return Problem(
        tuple(
            Future(scenario.name, scenario.probability / weight, _site_of(wanted, scenario))
            for scenario in uncertainty.scenarios
        ),
        uncertainty.shared_slots,
        uncertainty.risk_weight,
        uncertainty.tail_probability,
    )


def site_of(wanted: DispatchInput) -> Site:
    """The site as the input says, whatever its scenarios."""
    return _site_of(wanted, BASE)


def _site_of(wanted: DispatchInput, scenario: DispatchScenario) -> Site:
    """The site as the input says, but for what the scenario names."""
    tariff, grid = wanted.tariff, wanted.grid
    loads = {load.name: load.power_kw for load in scenario.loads}
    plants = {plant.name: plant.power_kw for plant in scenario.pv}
    emissions = None if wanted.emissions is UNSET else wanted.emissions
    reserve = messages.DispatchReserve() if wanted.reserve is UNSET else wanted.reserve
    return Site(
        start_s=datetime.fromisoformat(wanted.start_time).timestamp(),
        slot_hours=wanted.slot_duration_s / 3600,
        slots=wanted.slots,
        batteries=tuple(
            Battery(
                battery.name,
                _cell_of(battery.battery),
                battery.initial_energy_kwh,
                _or_none(battery.final_energy_kwh),
            )
            for battery in wanted.batteries
        ),
        pv=tuple(
            Pv(
                plant.name,
                np.asarray(plants.get(plant.name, plant.available_power_kw)),
                plant.curtailable,
            )
            for plant in wanted.pv
        ),
        loads=tuple(
            Load(load.name, np.asarray(loads.get(load.name, load.power_kw)))
            for load in wanted.loads
        ),
        flexible_loads=tuple(
            FlexibleLoad(
                load.name,
                load.start_slot,
                load.end_slot,
                load.energy_kwh,
                load.min_power_kw,
                load.max_power_kw,
                load.interruptible,
            )
            for load in wanted.flexible_loads
        ),
        cycles=tuple(
            Cycle(cycle.name, cycle.start_slot, cycle.end_slot, np.asarray(cycle.power_kw))
            for cycle in wanted.cycles
        ),
        vehicles=tuple(
            Vehicle(
                vehicle.name,
                _cell_of(vehicle.battery),
                vehicle.min_charge_power_kw,
                tuple(
                    Stay(
                        stay.start_slot,
                        stay.end_slot,
                        stay.initial_energy_kwh,
                        _or_none(stay.required_energy_kwh),
                    )
                    for stay in vehicle.stays
                ),
            )
            for vehicle in wanted.electric_vehicles
        ),
        heat_pumps=tuple(
            HeatPump(
                pump.name,
                pump.min_power_kw,
                pump.max_power_kw,
                np.asarray(pump.cop),
                np.asarray(pump.heat_demand_kw),
                Tank(
                    pump.tank.min_energy_kwh,
                    pump.tank.max_energy_kwh,
                    pump.tank.initial_energy_kwh,
                    _or_none(pump.tank.final_energy_kwh),
                    pump.tank.loss_per_h,
                ),
            )
            for pump in wanted.heat_pumps
        ),
        generators=tuple(map(_generator_of, wanted.generators)),
        energy_price_per_kwh=np.asarray(
            tariff.import_price_per_kwh
            if scenario.import_price_per_kwh is UNSET
            else scenario.import_price_per_kwh
        ),
        export_price_per_kwh=np.asarray(
            tariff.export_price_per_kwh
            if scenario.export_price_per_kwh is UNSET
            else scenario.export_price_per_kwh
        ),
        grid_fees=tuple(
            GridFee(fee.name, np.asarray(fee.price_per_kwh)) for fee in tariff.grid_fees
        ),
        tiers=None
        if tariff.import_tiers is UNSET
        else Tiers(
            tariff.import_tiers.imported_energy_kwh,
            tuple(
                (tier.from_energy_kwh, tier.surcharge_per_kwh) for tier in tariff.import_tiers.tiers
            ),
        ),
        demand_charges=tuple(
            _demand_charge_of(charge, wanted.slots) for charge in tariff.demand_charges
        ),
        max_import_power_kw=grid.max_import_power_kw,
        max_export_power_kw=grid.max_export_power_kw,
        import_limits_kw=_array_or_none(grid.import_limits_kw),
        export_limits_kw=_array_or_none(grid.export_limits_kw),
        groups=tuple(
            Group(
                group.name,
                tuple(group.members),
                _or_none(group.max_import_power_kw),
                _or_none(group.max_export_power_kw),
            )
            for group in wanted.groups
        ),
        reserve=Reserve(
            _array_or_none(reserve.upward_power_kw),
            _array_or_none(reserve.downward_power_kw),
            reserve.duration_s / 3600,
        ),
        import_kg_per_kwh=None if emissions is None else np.asarray(emissions.import_kg_per_kwh),
        co2_price_per_kg=0.0 if emissions is None else emissions.price_per_kg,
        previous_plan=None
        if wanted.previous_plan is UNSET
        else PreviousPlan(
            wanted.previous_plan.deviation_cost_per_kwh,
            {asset.name: np.asarray(asset.power_kw) for asset in wanted.previous_plan.assets},
        ),
    )


def _cell_of(battery: messages.Battery) -> Cell:
    highest = _or_none(battery.max_energy_kwh)
    return Cell(
        battery.capacity_kwh,
        battery.min_energy_kwh,
        battery.capacity_kwh if highest is None else highest,
        battery.max_charge_power_kw,
        battery.max_discharge_power_kw,
        battery.charge_efficiency,
        battery.discharge_efficiency,
        battery.wear_cost_per_kwh,
    )


def _generator_of(generator: DispatchGenerator) -> Generator:
    up, down = _or_none(generator.ramp_up_kw_per_h), _or_none(generator.ramp_down_kw_per_h)
    return Generator(
        name=generator.name,
        min_power_kw=generator.min_power_kw,
        max_power_kw=generator.max_power_kw,
        segments=tuple(
            (segment.up_to_power_kw, segment.cost_per_kwh) for segment in generator.cost_segments
        ),
        no_load_cost_per_h=generator.no_load_cost_per_h,
        start_cost=generator.start_cost,
        min_up_s=generator.min_up_duration_s,
        min_down_s=generator.min_down_duration_s,
        ramp_up_kw_per_h=np.inf if up is None else up,
        ramp_down_kw_per_h=np.inf if down is None else down,
        initially_running=generator.initially_running,
        initial_duration_s=generator.initial_duration_s,
        initial_power_kw=generator.initial_power_kw,
        co2_kg_per_kwh=generator.co2_kg_per_kwh,
    )


def _demand_charge_of(charge: DispatchDemandCharge, slots: int) -> DemandCharge:
    counts: Mask = np.full(slots, not charge.windows)
    for window in charge.windows:
        counts[window.start_slot : window.end_slot] = True
    return DemandCharge(
        charge.name,
        charge.price_per_kw,
        charge.billing_interval_s,
        charge.peak_so_far_kw,
        charge.interval_energy_so_far_kwh,
        counts,
    )


def _result_of(wanted: DispatchInput, problem: Problem, found: Answer) -> DispatchResult:
    plan, site = found.plan, found.plan.site
    prices = Prices(found.priced)
    reasons = Reasons(found.priced, plan, prices)
    costs = plan.costs
    idle, ruled = without_flexibility(site), by_rule(site)
    flows = _Flows(plan)
    status = "OPTIMAL" if found.proven else "TIME_LIMIT"
    upward, downward = prices.reserve_per_kw("upward"), prices.reserve_per_kw("downward")
    return DispatchResult(
        status="RELAXED" if found.broken else status,
        start_time=wanted.start_time,
        slot_duration_s=wanted.slot_duration_s,
        slots=wanted.slots,
        currency=wanted.currency,
        cost=costs.total,
        costs=costs_message(costs),
        baseline_cost=idle.cost,
        baseline_within_grid_limits=idle.within_grid_limits,
        savings=idle.cost - costs.total,
        rule_based_cost=ruled.cost,
        rule_based_savings=ruled.cost - costs.total,
        energy_cost=costs.energy,
        wear_cost=costs.wear,
        relative_gap=found.relative_gap,
        deviation_kwh=UNSET if site.previous_plan is None else _deviation_kwh(plan),
        bill=bill_message(site, plan.operation, costs),
        violations=[_violation_of(one) for one in found.broken[:100]],
        peak_import_power_kw=float(flows.imported_kw.max()),
        imported_energy_kwh=flows.imported_kwh,
        exported_energy_kwh=flows.exported_kwh,
        self_sufficiency=part_kept(flows.imported_kwh, flows.consumed_kwh),
        self_consumption=part_kept(flows.exported_kwh, flows.produced_kwh),
        co2_kg=UNSET if site.import_kg_per_kwh is None else co2_kg(site, plan.operation),
        batteries=[
            _battery_plan(plan, reasons, prices, index) for index in range(len(site.batteries))
        ],
        pv=[_pv_plan(plan, reasons, index) for index in range(len(site.pv))],
        flexible_loads=[
            _flexible_load_plan(plan, reasons, index) for index in range(len(site.flexible_loads))
        ],
        cycles=[_cycle_plan(plan, reasons, prices, index) for index in range(len(site.cycles))],
        electric_vehicles=[
            _vehicle_plan(plan, reasons, index) for index in range(len(site.vehicles))
        ],
        heat_pumps=[_heat_pump_plan(plan, reasons, index) for index in range(len(site.heat_pumps))],
        generators=[_generator_plan(plan, reasons, index) for index in range(len(site.generators))],
        groups=_group_plans(found, prices),
        grid_power_kw=_series(plan.grid_power_kw),
        grid_price_per_kwh=_series(prices.grid_per_kwh),
        import_limit_value_per_kwh=_series(prices.import_limit_per_kwh),
        export_limit_value_per_kwh=_series(prices.export_limit_per_kwh),
        upward_reserve_price_per_kw=UNSET if upward is None else _series(upward),
        downward_reserve_price_per_kw=UNSET if downward is None else _series(downward),
        uncertainty=UNSET if len(problem.futures) == 1 else _uncertainty_plan(problem, found),
    )


class _Flows:
    """The energies that the key figures are made of."""

    def __init__(self, plan: Plan) -> None:
        site, hours = plan.site, plan.site.slot_hours
        self.imported_kw = np.maximum(plan.grid_power_kw, 0.0)
        self.imported_kwh = hours * float(self.imported_kw.sum())
        self.exported_kwh = hours * float(np.maximum(-plan.grid_power_kw, 0.0).sum())
        consumers = (
            *site.loads,
            *site.flexible_loads,
            *site.cycles,
            *site.vehicles,
            *site.heat_pumps,
        )
        producers = (*site.pv, *site.generators)
        self.consumed_kwh = hours * sum(
            float(np.maximum(plan.power_kw[asset.name], 0.0).sum()) for asset in consumers
        )
        self.produced_kwh = hours * sum(
            float(-plan.power_kw[asset.name].sum()) for asset in producers
        )


def costs_message(costs: Costs) -> DispatchCosts:
    """The split of a cost as it is told."""
    return DispatchCosts(
        energy_import=costs.energy_import,
        energy_export=costs.energy_export,
        grid_fees=costs.grid_fees,
        tiers=costs.tiers,
        demand_charges=costs.demand_charges,
        generation=costs.generation,
        starts=costs.starts,
        wear=costs.wear,
        co2=costs.co2,
    )


def bill_message(site: Site, operation: Operation, costs: Costs) -> list[DispatchBillLine]:
    """The bill as it is told."""
    return [
        DispatchBillLine(
            item=line.item,
            name=UNSET if line.name is None else line.name,
            quantity=line.quantity,
            unit=line.unit,
            amount=line.amount,
        )
        for line in bill_of(site, operation, costs)
    ]


def part_kept(lost_kwh: float, all_kwh: float) -> float:
    """The part of an energy that is not lost; 1 where there is none."""
    return min(1.0, max(0.0, 1.0 - lost_kwh / all_kwh)) if all_kwh > 0 else 1.0


def _deviation_kwh(plan: Plan) -> float:
    previous = plan.site.previous_plan
    powers = {} if previous is None else previous.power_kw
    return plan.site.slot_hours * sum(
        float(np.abs(plan.power_kw[name][: len(power)] - power).sum())
        for name, power in powers.items()
    )


def _violation_of(broken: Broken) -> DispatchViolation:
    return DispatchViolation(
        field=broken.field,
        name=UNSET if broken.name is None else broken.name,
        slot=UNSET if broken.slot is None else broken.slot,
        message=broken.message,
        amount=broken.amount,
        unit=broken.unit,
        price_per_unit=broken.price_per_unit,
    )


def _battery_plan(plan: Plan, reasons: Reasons, prices: Prices, index: int) -> DispatchBatteryPlan:
    battery, its = plan.site.batteries[index], plan.batteries[index]
    explanation = reasons.battery(index)
    block = reasons.priced.formulation.batteries[index]
    values = prices.battery(
        block, battery.name, final_is_given=battery.final_energy_kwh is not None
    )
    taken_out_kwh = (
        plan.site.slot_hours
        * float(its.discharge_power_kw.sum())
        / battery.cell.discharge_efficiency
    )
    return DispatchBatteryPlan(
        name=battery.name,
        power_kw=_series(its.power_kw),
        energy_kwh=_series(its.energy_kwh),
        marginal_value_per_kwh=_series(explanation.more_per_kwh),
        reasons=_reasons(explanation.reasons),
        full_cycles=taken_out_kwh / battery.cell.capacity_kwh,
        capacity_value_per_kwh=values.capacity_per_kwh,
        charge_power_value_per_kw=values.charge_power_per_kw,
        discharge_power_value_per_kw=values.discharge_power_per_kw,
    )


def _pv_plan(plan: Plan, reasons: Reasons, index: int) -> DispatchPvPlan:
    plant, used = plan.site.pv[index], plan.used_pv_kw[index]
    value, why = reasons.pv(index)
    curtailed_kwh = plan.site.slot_hours * float((plant.available_power_kw - used).sum())
    return DispatchPvPlan(
        name=plant.name,
        power_kw=_series(-used),
        curtailed_energy_kwh=max(0.0, curtailed_kwh),
        marginal_value_per_kwh=_series(value),
        reasons=_reasons(why),
    )


def _flexible_load_plan(plan: Plan, reasons: Reasons, index: int) -> DispatchFlexibleLoadPlan:
    more_per_kwh, why = reasons.flexible_load(index)
    return DispatchFlexibleLoadPlan(
        name=plan.site.flexible_loads[index].name,
        power_kw=_series(plan.flexible_loads[index]),
        marginal_cost_per_kwh=more_per_kwh,
        reasons=_reasons(why),
    )


def _cycle_plan(plan: Plan, reasons: Reasons, prices: Prices, index: int) -> DispatchCyclePlan:
    cycle = plan.site.cycles[index]
    power = plan.power_kw[cycle.name]
    (reason,) = _reasons([reasons.cycle(index)])
    return DispatchCyclePlan(
        name=cycle.name,
        start_slot=plan.cycle_starts[index],
        power_kw=_series(power),
        energy_cost=plan.site.slot_hours * float(prices.grid_per_kwh @ power),
        reason=reason,
    )


def _vehicle_plan(plan: Plan, reasons: Reasons, index: int) -> DispatchElectricVehiclePlan:
    vehicle, stays = plan.site.vehicles[index], plan.stays[index]
    explanation = reasons.vehicle(index)
    power = plan.power_kw[vehicle.name]
    return DispatchElectricVehiclePlan(
        name=vehicle.name,
        power_kw=_series(power),
        energy_kwh=_series(stay_series(plan.site, vehicle, [stay.energy_kwh for stay in stays])),
        marginal_value_per_kwh=_series(explanation.more_per_kwh),
        charged_energy_kwh=plan.site.slot_hours * float(np.maximum(power, 0.0).sum()),
        reasons=_reasons(explanation.reasons),
    )


def _heat_pump_plan(plan: Plan, reasons: Reasons, index: int) -> DispatchHeatPumpPlan:
    its = plan.heat_pumps[index]
    value, why = reasons.heat_pump(index)
    return DispatchHeatPumpPlan(
        name=plan.site.heat_pumps[index].name,
        power_kw=_series(its.power_kw),
        tank_energy_kwh=_series(its.energy_kwh),
        marginal_value_per_kwh=_series(value),
        reasons=_reasons(why),
    )


def _generator_plan(plan: Plan, reasons: Reasons, index: int) -> DispatchGeneratorPlan:
    site, generator, its = plan.site, plan.site.generators[index], plan.generators[index]
    starts = start_count(generator, its.running)
    value, why = reasons.generator(index)
    fuel = fuel_cost(site, generator, its.output_kw, its.running)
    return DispatchGeneratorPlan(
        name=generator.name,
        power_kw=_series(-its.output_kw),
        running=_series(its.running),
        start_count=starts,
        cost=fuel + generator.start_cost * starts,
        marginal_value_per_kwh=_series(value),
        reasons=_reasons(why),
    )


def _group_plans(found: Answer, prices: Prices) -> list[DispatchGroupPlan]:
    plans: list[DispatchGroupPlan] = []
    for block in found.priced.formulation.groups:
        towards, away = prices.group_per_kwh(block)
        power = np.sum([found.plan.power_kw[name] for name in block.group.members], axis=0)
        plans.append(
            DispatchGroupPlan(
                name=block.group.name,
                power_kw=_series(power),
                import_limit_value_per_kwh=_series(towards),
                export_limit_value_per_kwh=_series(away),
            )
        )
    return plans


def _uncertainty_plan(problem: Problem, found: Answer) -> DispatchUncertaintyPlan:
    costs = np.array([plan.costs.total for plan in found.plans])
    probabilities = np.array([future.probability for future in problem.futures])
    return DispatchUncertaintyPlan(
        scenario=problem.futures[found.chosen].name,
        shared_slots=problem.shared_slots,
        expected_cost=float(probabilities @ costs),
        cvar=conditional_value_at_risk(costs, probabilities, problem.tail_probability),
        scenarios=[
            DispatchScenarioPlan(
                name=future.name,
                probability=future.probability,
                cost=plan.costs.total,
                grid_power_kw=_series(plan.grid_power_kw),
            )
            for future, plan in zip(problem.futures, found.plans, strict=True)
        ],
    )


def _series(values: Series) -> Float64Series:
    return Float64Series(values + 0.0)  # −0 is written as 0


def _reasons(names: list[str]) -> list[DispatchReason]:
    return cast("list[DispatchReason]", names)


def _or_none(value: float | UnsetType) -> float | None:
    return None if value is UNSET else value


def _array_or_none(values: Float64Series | UnsetType) -> Series | None:
    return None if values is UNSET else np.asarray(values)
