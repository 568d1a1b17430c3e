# The kind `unit-commitment`: from its input to its result.

"""
    compute(input::UnitCommitmentInput, progress) -> UnitCommitmentResult

Decide which units run, and say why. Throws `ContractError`: `INFEASIBLE` with the demand and the
reserve that cannot be met, `TASK_TIMEOUT` when the time limit left no plan, `SOLVER_FAILED`.
"""
function compute(input::UnitCommitmentInput, progress)
    progress(0.0, "build")
    fleet = fleet_of(input)
    options = input.options === nothing ? UnitCommitmentOptions() : input.options
    plan = solve_unit_commitment(fleet, progress; time_limit_s = options.time_limit_s,
        relative_gap = options.relative_gap)
    progress(0.9, "explain"; objective = total(plan.cost), bound = plan.bound,
        relative_gap = plan.relative_gap)
    return unit_commitment_result(input, fleet, plan)
end

"The problem in slots: what the input gives in hours is rounded up to whole ones."
function fleet_of(input::UnitCommitmentInput)
    T, h = input.slots, input.slot_duration_s / 3600
    least_mw, most_mw = zeros(T), zeros(T)
    for unit in input.renewable_units
        unit.min_power_mw === nothing || (least_mw .+= unit.min_power_mw)
        most_mw .+= unit.max_power_mw
    end
    return Fleet(h, input.demand_mw, something(input.reserve_requirement_mw, zeros(T)), least_mw,
        most_mw, ThermalUnit[thermal_unit(unit, h) for unit in input.thermal_units])
end

function thermal_unit(its::UnitCommitmentThermalUnit, h)
    range_mw, is_on = its.max_power_mw - its.min_power_mw, its.initial_power_mw !== nothing
    ramp_up, ramp_down = ramp(its.ramp_up_mw_per_h, h, range_mw), ramp(its.ramp_down_mw_per_h, h, range_mw)
    above(limit_mw) = min(something(limit_mw, its.max_power_mw) - its.min_power_mw, range_mw)
    return ThermalUnit(its.must_run, its.min_power_mw, range_mw, ramp_up, ramp_down,
        min(above(its.startup_limit_mw), ramp_up), above(its.shutdown_limit_mw),
        max(1, whole_slots(its.min_up_time_h, h)), max(1, whole_slots(its.min_down_time_h, h)),
        is_on, is_on ? its.initial_power_mw - its.min_power_mw : 0.0, its.initial_duration_h,
        whole_slots((is_on ? its.min_up_time_h : its.min_down_time_h) - its.initial_duration_h, h),
        Float64[category.min_off_time_h for category in its.startup_categories],
        Float64[category.cost for category in its.startup_categories],
        Float64[point.power_mw - its.min_power_mw for point in its.production_cost],
        Float64[point.cost_per_h for point in its.production_cost])
end

ramp(::Nothing, h, range_mw) = range_mw
ramp(mw_per_h::Float64, h, range_mw) = min(mw_per_h * h, range_mw)

# ----------------------------------------------------------------------------------------- solving

"A start: its slot from 1, which category counts, how long the unit was off, what it costs."
struct Startup
    slot::Int
    category::Int
    off_h::Float64
    cost::Float64
end

"What a plan costs: being on, and producing above minimum, of each unit and slot; its starts."
struct FleetCost
    no_load::Matrix{Float64}
    production::Matrix{Float64}
    starts::Vector{Vector{Startup}}     # of each unit
end

startup_cost(starts::Vector{Startup}) = sum(Float64[start.cost for start in starts])
startup_cost(cost::FleetCost) = sum(Float64[startup_cost(starts) for starts in cost.starts])
total(cost::FleetCost) = sum(cost.no_load) + sum(cost.production) + startup_cost(cost)

"Which units are on, what they do and what it costs. No plan costs less than `bound`."
struct FleetPlan
    status::Symbol                      # :optimal or :time_limit
    bound::Float64
    relative_gap::Float64
    on::BitMatrix
    dispatch::FleetDispatch
    cost::FleetCost
end

"The cheapest plan, as far as the time allows. Throws as `compute` does."
function solve_unit_commitment(fleet::Fleet, progress; time_limit_s, relative_gap)
    progress(0.1, "solve")
    formulated, deadline_s = formulate(fleet), time_ns() / 1e9 + time_limit_s
    tell(objective, bound, gap) = progress(0.9 - 0.8 * min(1.0, something(gap, 1.0)), "solve";
        objective = objective, bound = bound, relative_gap = gap)
    lp = linear_program(formulated.program)
    model = Highs.Model(lp)
    solution = try
        first = first_plan(formulated, lp, model, time_limit_s, relative_gap, tell)
        first !== nothing && first.status == :optimal ? first :
            search_commitment(fleet, lp, model, first, deadline_s, relative_gap, tell)
    finally
        close(model)
    end
    solution.has_plan || throw(no_commitment(solution.status, time_limit_s))
    on = falses(length(fleet.units), slots(fleet))
    for (g, its) in enumerate(formulated.units), t in 1:slots(fleet)
        on[g, t] = solution.value[its.on[t]] > 0.5
    end
    dispatch = economic_dispatch(fleet, on)
    cost = fleet_cost(fleet, on, dispatch)
    gap = gap_of(total(cost), solution.bound)
    in_time = solution.status == :optimal || gap <= relative_gap
    return FleetPlan(in_time ? :optimal : :time_limit, min(solution.bound, total(cost)), gap, on,
        dispatch, cost)
end

"The best commitment in the time left, no dearer than `first`. Throws `INFEASIBLE`."
function search_commitment(fleet::Fleet, lp::LinearProgram, model::Highs.Model, first, deadline_s, relative_gap, tell)
    first === nothing || Highs.start_from!(model, first.value)
    search(least_s) = Highs.solve!(model; time_limit_s = max(least_s, deadline_s - time_ns() / 1e9),
        relative_gap = relative_gap, on_progress = tell)
    solution = search(0.01)
    if is_infeasible(solution.status)
        refused = infeasible(fleet)
        refused === nothing || throw(refused)
        # Rarely, HiGHS's presolve takes a program for infeasible that is not, and the elastic one has
        # just met all demand: then without presolve.
        Highs.skip_presolve!(model)
        solution = search(1.0)
    end
    first === nothing && return solution
    best = solution.has_plan ? cheaper(first, solution, lp.cost) : first
    return Highs.with_bound(best, solution.status, max(first.bound, solution.bound))
end

"How much cheaper the cheapest plan may be, relative to this one."
gap_of(cost, bound) = max(0.0, cost - bound) / max(abs(cost), 1e-9)

no_commitment(status::Symbol, time_limit_s) = status == :time_limit ?
    ContractError("TASK_TIMEOUT", "options.time_limit_s", "no plan was found within " *
        "options.time_limit_s = $(Shapes.number(time_limit_s)) s; raise it, or commit fewer slots at once") :
    ContractError("SOLVER_FAILED", "", "HiGHS ended with $status; check the scale of the inputs")

"The cost of a plan; it follows from the commitment and the powers alone."
function fleet_cost(fleet::Fleet, on::BitMatrix, dispatch::FleetDispatch)
    no_load, production = zeros(size(on)), zeros(size(on))
    for (g, unit) in enumerate(fleet.units), t in 1:slots(fleet)
        on[g, t] || continue
        no_load[g, t] = fleet.slot_h * unit.point_cost_per_h[1]
        production[g, t] = fleet.slot_h * cost_per_h(unit, dispatch.power_mw[g, t] - unit.min_mw) -
            no_load[g, t]
    end
    return FleetCost(no_load, production,
        Vector{Startup}[startups(unit, on[g, :], fleet.slot_h) for (g, unit) in enumerate(fleet.units)])
end

function startups(unit::ThermalUnit, on::BitVector, h)
    found, was_on, off_h = Startup[], unit.initially_on, unit.initially_on ? 0.0 : unit.initial_h
    for t in eachindex(on)
        if on[t] && !was_on
            category = category_after(unit, off_h)
            push!(found, Startup(t, category, off_h, unit.category_cost[category]))
        end
        was_on, off_h = on[t], on[t] ? 0.0 : off_h + h
    end
    return found
end

# ------------------------------------------------------------------------------------------ result

function unit_commitment_result(input::UnitCommitmentInput, fleet::Fleet, plan::FleetPlan)
    cost, dispatch = plan.cost, plan.dispatch
    why = unit_reasons(fleet, plan.on, dispatch)
    return UnitCommitmentResult(
        status = plan.status == :optimal ? "OPTIMAL" : "TIME_LIMIT",
        start_time = input.start_time, slot_duration_s = input.slot_duration_s,
        slots = input.slots, currency = input.currency,
        cost = total(cost), bound = plan.bound, relative_gap = plan.relative_gap,
        production_cost = sum(cost.production), no_load_cost = sum(cost.no_load),
        startup_cost = startup_cost(cost),
        thermal_units = UnitCommitmentThermalPlan[
            thermal_plan(unit.name, fleet.units[g], plan, g, why[g])
            for (g, unit) in enumerate(input.thermal_units)],
        renewable_units = renewable_plans(input, fleet, dispatch.renewable_mw),
        curtailed_power_mw = fleet.max_renewable_mw .- dispatch.renewable_mw,
        energy_price_per_mwh = dispatch.energy_price, reserve_price_per_mw_h = dispatch.reserve_price)
end

function thermal_plan(name::String, unit::ThermalUnit, plan::FleetPlan, g::Int, why::Vector{String})
    on, starts = plan.on[g, :], plan.cost.starts[g]
    stops = Int[t - 1 for t in eachindex(on) if !on[t] && (t == 1 ? unit.initially_on : on[t-1])]
    return UnitCommitmentThermalPlan(
        name = name, commitment = Int[is_on for is_on in on], power_mw = plan.dispatch.power_mw[g, :],
        reserve_mw = plan.dispatch.reserve_mw[g, :],
        starts = UnitCommitmentStart[UnitCommitmentStart(start.slot - 1, start.category - 1,
            start.off_h, start.cost) for start in starts],
        stops = stops, production_cost = sum(plan.cost.production[g, :]),
        no_load_cost = sum(plan.cost.no_load[g, :]), startup_cost = startup_cost(starts),
        reasons = why)
end

"What all could deliver and do not is shared in proportion to what each could give up."
function renewable_plans(input::UnitCommitmentInput, fleet::Fleet, used_mw::Vector{Float64})
    range_mw = fleet.max_renewable_mw .- fleet.min_renewable_mw
    share = Float64[range_mw[t] > 0 ? (used_mw[t] - fleet.min_renewable_mw[t]) / range_mw[t] : 1.0
                    for t in eachindex(used_mw)]
    return UnitCommitmentRenewablePlan[renewable_plan(unit, share, fleet.slot_h)
                                       for unit in input.renewable_units]
end

function renewable_plan(unit::UnitCommitmentRenewableUnit, share, h)
    least = something(unit.min_power_mw, zeros(length(share)))
    power = least .+ share .* (unit.max_power_mw .- least)
    return UnitCommitmentRenewablePlan(unit.name, power, max(0.0, h * sum(unit.max_power_mw .- power)))
end

# --------------------------------------------------------------------------------------- rehearsals

rehearsals(::Type{UnitCommitmentInput}) = (
    rehearsal_of_unit_commitment(130.0) => nothing,
    rehearsal_of_unit_commitment(500.0) => "INFEASIBLE",
)

"Two units and some wind for four hours, one of them with a peak."
function rehearsal_of_unit_commitment(peak_mw::Float64)
    unit(name, initial_power_mw) = UnitCommitmentThermalUnit(name = name, min_power_mw = 20.0,
        max_power_mw = 80.0, ramp_up_mw_per_h = 40.0, ramp_down_mw_per_h = 40.0,
        startup_limit_mw = 40.0, shutdown_limit_mw = 40.0, min_up_time_h = 2.0, min_down_time_h = 1.0,
        initial_power_mw = initial_power_mw, initial_duration_h = 5.0,
        startup_categories = [UnitCommitmentStartupCategory(1.0, 300.0),
            UnitCommitmentStartupCategory(7.0, 500.0)],
        production_cost = [UnitCommitmentCostPoint(20.0, 900.0), UnitCommitmentCostPoint(80.0, 3900.0)])
    return UnitCommitmentInput(
        start_time = "2026-01-01T00:00:00Z", slot_duration_s = 3600, slots = 4, currency = "EUR",
        demand_mw = [50.0, peak_mw, 90.0, 40.0], reserve_requirement_mw = fill(5.0, 4),
        thermal_units = [unit("A", 40.0), unit("B", nothing)],
        renewable_units = [UnitCommitmentRenewableUnit("wind", nothing, fill(20.0, 4))])
end
