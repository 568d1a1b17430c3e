# The kind `dispatch`: from its input to its result.

"""
    compute(input::DispatchInput, progress) -> DispatchResult

Plan the slots of `input` and say why. Throws `ContractError` as `solve_dispatch` does.
"""
function compute(input::DispatchInput, progress)
    # Building takes less than the least interval of two reports, so it has none of its own.
    progress(0.1, "solve")
    problem = dispatch_problem(input)
    options = input.options === nothing ? SolverOptions() : input.options
    plan = solve_dispatch(problem; time_limit_s = options.time_limit_s,
        relative_gap = options.relative_gap)
    progress(0.9, "explain"; objective = plan.cost, relative_gap = plan.relative_gap)
    return dispatch_result(input, problem, plan)
end

"The mathematics of an input: sums of loads and plants, batteries with their defaults filled in."
function dispatch_problem(input::DispatchInput)
    T, tariff, grid = input.slots, input.tariff, input.grid
    load_kw, curtailable_kw = zeros(T), zeros(T)
    for load in input.loads
        load_kw .+= load.power_kw
    end
    for pv in input.pv
        pv.curtailable ? (curtailable_kw .+= pv.available_power_kw) :
        (load_kw .-= pv.available_power_kw)
    end
    batteries = PlannedBattery[planned(item) for item in input.batteries]
    return DispatchProblem(input.slot_duration_s / 3600, tariff.import_price_per_kwh,
        tariff.export_price_per_kwh, load_kw, curtailable_kw, grid.max_import_power_kw,
        grid.max_export_power_kw, batteries)
end

function planned(item::DispatchBattery)
    its = item.battery
    return PlannedBattery(its.min_energy_kwh, something(its.max_energy_kwh, its.capacity_kwh),
        its.max_charge_power_kw, its.max_discharge_power_kw, its.charge_efficiency,
        its.discharge_efficiency, its.wear_cost_per_kwh, item.initial_energy_kwh,
        item.final_energy_kwh)
end

function dispatch_result(input::DispatchInput, problem::DispatchProblem, plan::DispatchPlan)
    baseline_cost, within_limits = baseline(problem)
    return DispatchResult(
        status = plan.status == :optimal ? "OPTIMAL" : "TIME_LIMIT",
        start_time = input.start_time, slot_duration_s = input.slot_duration_s,
        slots = input.slots, currency = input.currency,
        cost = plan.cost, baseline_cost = baseline_cost,
        baseline_within_grid_limits = within_limits, savings = baseline_cost - plan.cost,
        energy_cost = plan.cost - plan.wear_cost, wear_cost = plan.wear_cost,
        relative_gap = plan.relative_gap,
        batteries = DispatchBatteryPlan[battery_plan(input.batteries[b].name, problem, plan, b)
                                        for b in eachindex(input.batteries)],
        pv = DispatchPvPlan[pv_plan(pv, problem, plan) for pv in input.pv],
        grid_power_kw = plan.grid_kw, grid_price_per_kwh = plan.grid_price)
end

function battery_plan(name::String, problem::DispatchProblem, plan::DispatchPlan, b::Int)
    its, value = plan.batteries[b], stored_value(problem, plan, b)
    return DispatchBatteryPlan(name = name, power_kw = its.power_kw, energy_kwh = its.energy_kwh,
        marginal_value_per_kwh = value.least, reasons = reasons(problem, plan, b, value))
end

"A plant's part of the plan: what all curtailable plants leave unused is shared in proportion."
function pv_plan(pv::DispatchPv, problem::DispatchProblem, plan::DispatchPlan)
    used_kw = copy(pv.available_power_kw)
    if pv.curtailable
        for t in eachindex(used_kw)
            total = problem.curtailable_kw[t]
            total > 0 && (used_kw[t] *= min(1.0, plan.pv_kw[t] / total))
        end
    end
    unused_kwh = problem.slot_h * (sum(pv.available_power_kw) - sum(used_kw))
    return DispatchPvPlan(name = pv.name, power_kw = 0.0 .- used_kw,
        curtailed_energy_kwh = max(0.0, unused_kwh))
end

"A plan that is linear, one that needs decisions, one that does not exist."
rehearsals(::Type{DispatchInput}) = (
    rehearsal_input() => nothing,
    rehearsal_input(export_price = 0.35) => nothing,        # pays more than imports cost
    rehearsal_input(max_import_kw = 0.1) => "INFEASIBLE",
)

"A small day: a battery, a roof and a house."
function rehearsal_input(; export_price = 0.08, max_import_kw = 30.0)
    battery = Battery(capacity_kwh = 10.0, min_energy_kwh = 1.0, max_charge_power_kw = 5.0,
        max_discharge_power_kw = 5.0, charge_efficiency = 0.95, discharge_efficiency = 0.95)
    return DispatchInput(
        start_time = "2026-01-01T00:00:00Z", slot_duration_s = 3600, slots = 4, currency = "EUR",
        batteries = [DispatchBattery("battery", battery, 5.0, 5.0)],
        pv = [DispatchPv("roof", true, [0.0, 0.5, 3.0, 1.0])],
        loads = [DispatchLoad("house", [2.0, 2.0, 1.0, 2.0])],
        tariff = DispatchTariff(import_price_per_kwh = [0.3, 0.4, 0.2, 0.3],
            export_price_per_kwh = fill(export_price, 4)),
        grid = DispatchGrid(max_import_power_kw = max_import_kw, max_export_power_kw = 10.0),
        options = SolverOptions())
end
