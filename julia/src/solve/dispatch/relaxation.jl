# When no plan exists: which limits exclude each other, and by how much they must give way.

"Every limit that may give way, the hardest to change first: a fuse before a wish."
function limits(input::DispatchInput)
    found, grid, reserve = LimitId[], input.grid, input.reserve
    push!(found, LimitId(:import_limit, 0, 0), LimitId(:export_limit, 0, 0))
    grid.import_limits_kw === nothing || push!(found, LimitId(:import_series, 0, 0))
    grid.export_limits_kw === nothing || push!(found, LimitId(:export_series, 0, 0))
    for (g, group) in enumerate(input.groups)
        group.max_import_power_kw === nothing || push!(found, LimitId(:group_import, g, 0))
        group.max_export_power_kw === nothing || push!(found, LimitId(:group_export, g, 0))
    end
    if reserve !== nothing
        reserve.upward_power_kw === nothing || push!(found, LimitId(:upward_reserve, 0, 0))
        reserve.downward_power_kw === nothing || push!(found, LimitId(:downward_reserve, 0, 0))
    end
    for i in eachindex(input.heat_pumps)
        push!(found, LimitId(:tank_min_energy, i, 0))
    end
    for (v, vehicle) in enumerate(input.electric_vehicles), (s, stay) in enumerate(vehicle.stays)
        stay.required_energy_kwh === nothing || push!(found, LimitId(:required_energy, v, s))
    end
    for i in eachindex(input.flexible_loads)
        push!(found, LimitId(:flexible_energy, i, 0))
    end
    for (i, pump) in enumerate(input.heat_pumps)
        pump.tank.final_energy_kwh === nothing || push!(found, LimitId(:tank_final_energy, i, 0))
    end
    for (b, battery) in enumerate(input.batteries)
        battery.final_energy_kwh === nothing || push!(found, LimitId(:final_energy, b, 0))
    end
    return found
end

"""
The program in which every limit may give way, as it stays in HiGHS. A limit that must not has its amount
held at 0, so that each question is answered from the basis that the last one ended with.
"""
struct GivingWay
    futures::Futures
    limits::Vector{LimitId}
    program::DispatchProgram
    model::Highs.Model
end

function GivingWay(futures::Futures)
    all_of = limits(futures.problems[1].input)
    program = formulate(futures, no_choices(futures), Relief(all_of))
    replace_costs!(program, ANY_PLAN)
    return GivingWay(futures, all_of, program, Highs.Model(program.lp; whole_within = WHOLE_WITHIN))
end

"""
    conflict(futures, stop) -> Vector{LimitId}

An irreducible set of limits: with these giving way there is a plan, with any of them kept there is none.
Of several sets it is the one that keeps what comes first in `limits`. Empty where no set will do.
"""
function conflict(futures::Futures, stop::Stop)
    its = GivingWay(futures)
    try
        return conflict(its, stop)
    finally
        close(its.model)
    end
end

function conflict(its::GivingWay, stop::Stop)
    all_of, found = its.limits, LimitId[]
    has_plan(all_of, its, stop) || return found
    from = 1
    while isempty(found) || !has_plan(found, its, stop)
        # The last limit from which on there is a plan is needed: without it there is none.
        possible, impossible = from, length(all_of) + 1
        while impossible - possible > 1
            middle = div(possible + impossible, 2)
            has_plan(vcat(found, all_of[middle:end]), its, stop) ? (possible = middle) :
            (impossible = middle)
        end
        push!(found, all_of[possible])
        from = possible + 1
    end
    return found
end

function has_plan(giving_way::Vector{LimitId}, its::GivingWay, stop::Stop)
    amounts = its.program.amounts       # one column after the other
    Highs.change_bounds!(its.model, first(amounts), zeros(length(amounts)),
        Float64[limit in giving_way ? Inf : 0.0 for limit in its.limits])
    its.model.is_mixed && Highs.change_basis!(its.model, nothing)
    solution = Highs.solve!(its.model; time_limit_s = left_s(stop))
    is_infeasible(solution.status) && return false
    goes_one_way = solution.status == :optimal &&
        !choose!(no_choices(its.futures), its.program, solution, ANY_PLAN)
    goes_one_way && return true
    # Where a direction has to be chosen, or HiGHS has given up.
    status = search(its.futures, ANY_PLAN, Relief(giving_way), stop).solution.status
    status == :optimal && return true
    is_infeasible(status) && return false
    throw(status == :time_limit ? ContractError("INFEASIBLE", "",
        "no plan satisfies every limit, and the limits that exclude each other were not found in time") :
        no_solution(status))
end

"What the least total may be exceeded by, so that the solver's rounding leaves room for a plan: kW and kWh."
const RELIEF_ROOMS = (1e-7, 1e-5)

"""
    search_relaxed(futures, stop) -> (searched, relief, is_broken)

The search for the least cost when only the limits that must give way do, by the least total. Where that
total is mere rounding no limit is broken. Throws INFEASIBLE where no limits help.
"""
function search_relaxed(futures::Futures, stop::Stop)
    found = conflict(futures, stop)
    isempty(found) &&
        throw(ContractError("INFEASIBLE", "", "no plan exists, whichever limits give way"))
    least = search(futures, LEAST_RELIEF, Relief(found), stop; forgives = true)
    least.solution.has_plan || throw(no_solution(least.solution.status))
    # With whole binaries once more: the rounding of nearly whole ones would be missing in the total.
    final = solve_fixed!(least.program, least.solution.value, LEAST_RELIEF)
    total = 0.0
    for j in least.program.amounts
        total += max(0.0, final.value[j])
    end
    for room in RELIEF_ROOMS
        relief = Relief(found; most_total = total + room)
        searched = search(futures, COST, relief, stop; forgives = room == last(RELIEF_ROOMS))
        is_infeasible(searched.solution.status) || return searched, relief, total > TOLERANCE
    end
    throw(no_solution(:infeasible))
end

# ------------------------------------------------------------------------------------ in words

"""
    violations(plan, program, relief) -> Vector{DispatchViolation}

Each limit that gives way in a plan: by how much, where first, what would be enough, and its price.
"""
violations(plan::DispatchPlan, program::DispatchProgram, relief::Relief) =
    DispatchViolation[violation(plan, limit, plan.value[j], -plan.reduced_cost[j])
                      for (limit, j) in zip(relief.limits, program.amounts) if plan.value[j] > TOLERANCE]

function violation(plan::DispatchPlan, limit::LimitId, amount::Float64, price::Float64)
    problem = plan.site.problem
    input, T, i = problem.input, slots(problem), limit.item
    grid, kind = input.grid, limit.kind
    say(field, unit, slot, words; name = nothing) = DispatchViolation(field = field, name = name,
        slot = slot, message = words, amount = amount, unit = unit, price_per_unit = price)
    if kind == :import_limit
        t = first_above(plan.grid_kw, grid.max_import_power_kw)
        return say("grid.max_import_power_kw", "kW", t, at_least(grid.max_import_power_kw, amount, t))
    elseif kind == :export_limit
        t = first_above(0.0 .- plan.grid_kw, grid.max_export_power_kw)
        return say("grid.max_export_power_kw", "kW", t, at_least(grid.max_export_power_kw, amount, t))
    elseif kind == :import_series
        t = first_above(plan.grid_kw, grid.import_limits_kw)
        return say("grid.import_limits_kw", "kW", t, at_least(grid.import_limits_kw[t+1], amount, t))
    elseif kind == :export_series
        t = first_above(0.0 .- plan.grid_kw, grid.export_limits_kw)
        return say("grid.export_limits_kw", "kW", t, at_least(grid.export_limits_kw[t+1], amount, t))
    elseif kind == :group_import || kind == :group_export
        group, is_import = input.groups[i], kind == :group_import
        given = is_import ? group.max_import_power_kw : group.max_export_power_kw
        t = first_above((is_import ? 1.0 : -1.0) .* group_kw(plan, group), given)
        return say("groups[$(i - 1)].$(is_import ? "max_import_power_kw" : "max_export_power_kw")", "kW", t,
            at_least(given, amount, t); name = group.name)
    elseif kind == :upward_reserve || kind == :downward_reserve
        required = reserve_kw(problem, kind == :upward_reserve ? :upward : :downward)
        t = first_above(required, held_kw(plan, kind == :upward_reserve))
        return say("reserve.$(kind)_power_kw" |> field -> replace(field, "_reserve_" => "_"), "kW", t,
            at_most(required[t+1], amount, t))
    elseif kind == :tank_min_energy
        t = first_above(plan.value[plan.site.heat_pumps[i].missing_heat], 0.0)
        return say("heat_pumps[$(i - 1)].tank.min_energy_kwh", "kWh", t,
            "$(Shapes.number(up(amount))) kWh of heat cannot be delivered (from slot $t on)";
            name = input.heat_pumps[i].name)
    elseif kind == :required_energy
        vehicle = input.electric_vehicles[i]
        stay = vehicle.stays[limit.part]
        return say("electric_vehicles[$(i - 1)].stays[$(limit.part - 1)].required_energy_kwh", "kWh",
            stay.end_slot - 1, at_most(stay.required_energy_kwh, amount, nothing); name = vehicle.name)
    elseif kind == :flexible_energy
        load = input.flexible_loads[i]
        return say("flexible_loads[$(i - 1)].energy_kwh", "kWh", load.end_slot - 1,
            at_most(load.energy_kwh, amount, nothing); name = load.name)
    elseif kind == :tank_final_energy
        pump = input.heat_pumps[i]
        return say("heat_pumps[$(i - 1)].tank.final_energy_kwh", "kWh", T - 1,
            at_most(pump.tank.final_energy_kwh, amount, nothing); name = pump.name)
    end
    item, level = input.batteries[i], plan.site.storages[i].level
    given = item.final_energy_kwh
    words = plan.value[last(level.energy)] < given ? at_most(given, amount, nothing) :
            at_least(given, amount, nothing)
    return say("batteries[$(i - 1)].final_energy_kwh", "kWh", T - 1, words; name = item.name)
end

# What would be enough is rounded away from what would not be; the solver's own rounding is forgiven.
up(number::Float64) = ceil(number * 1e6 - 0.3) / 1e6
down(number::Float64) = floor(number * 1e6 + 0.3) / 1e6

at_least(given::Float64, amount::Float64, t) =
    "must be at least $(Shapes.number(up(given + amount))); it is $(Shapes.number(given))$(in_slot(t))"
at_most(given::Float64, amount::Float64, t) = "must be at most $(Shapes.number(max(0.0, down(given - amount)))); " *
    "it is $(Shapes.number(given))$(in_slot(t))"

in_slot(::Nothing) = ""
in_slot(t::Int) = " (slot $t)"

"Where a limit is exceeded first, counted from 0 as in the contract's arrays; the greatest excess if hardly."
function first_above(power_kw::Vector{Float64}, limit_kw)
    worst, greatest = 1, -Inf
    for t in eachindex(power_kw)
        excess = power_kw[t] - (limit_kw isa Float64 ? limit_kw : limit_kw[t])
        excess > TOLERANCE && return t - 1
        excess > greatest && ((worst, greatest) = (t, excess))
    end
    return worst - 1
end

"INFEASIBLE, in the words of the limits that must give way."
function infeasible(found::Vector{DispatchViolation})
    named = Violation[Violation(v.field, "feasible", v.message) for v in found]
    said = join(("$(v.field) $(v.message)" for v in named), " and ")
    return ContractError("INFEASIBLE", named[1].field, "no plan satisfies every limit: " * said,
        named[1:min(end, MAX_VIOLATIONS)])
end
