# Which inputs of a dispatch problem exclude each other, and by how much.

"""
    infeasible(problem) -> ContractError

INFEASIBLE with every way out: the grid limits that would do, the final energies that would do, or,
where neither alone is enough, both together.
"""
function infeasible(problem::DispatchProblem)
    ways_out = [needed(problem; grid = true, final_energy = false),
        needed(problem; grid = false, final_energy = true)]
    all(isempty, ways_out) && (ways_out = [needed(problem; grid = true, final_energy = true)])
    named = Violation[]
    foreach(way -> append!(named, way), ways_out)
    isempty(named) && return ContractError("INFEASIBLE", "",
        "no plan satisfies every limit, and the conflict was not found in time")
    said(way) = join(("$(v.field) $(v.message)" for v in way), " and ")
    return ContractError("INFEASIBLE", named[1].field, "no plan satisfies every limit: " *
        join((said(way) for way in ways_out if !isempty(way)), ", or "), named[1:min(end, MAX_VIOLATIONS)])
end

"The limits to change when those released may give way; empty when releasing them is not enough."
function needed(problem::DispatchProblem; grid::Bool, final_energy::Bool)
    slack = nothing
    searched = search(problem, 10.0, 1e-6) do directions
        program = formulate(problem, directions)
        slack = relax!(program, problem; grid = grid, final_energy = final_energy)
        program
    end
    program, solution = searched.last
    found = Violation[]
    solution.has_plan || return found
    amount_of(column) = column == 0 ? 0.0 : solution.value[column]
    function say(field, which, enough, limit, words = "")
        push!(found, Violation(field, "feasible",
            "must be at $which $(Shapes.number(enough)); it is $(Shapes.number(limit))$words"))
    end
    at_least(field, limit, amount, words = "") = amount > TOLERANCE &&
        say(field, "least", ceil((limit + amount) * 1e6 - 1e-3) / 1e6, limit, words)
    at_most(field, limit, amount) = amount > TOLERANCE &&
        say(field, "most", floor((limit - amount) * 1e6 + 1e-3) / 1e6, limit)
    if grid
        power(t) = amount_of(program.import_[t]) + amount_of(slack.extra_import.by_slot[t]) -
            amount_of(program.export_[t]) - amount_of(slack.extra_export.by_slot[t])
        power_kw = Float64[power(t) for t in 1:slots(problem)]
        at_least("grid.max_import_power_kw", problem.max_import_kw,
            amount_of(slack.extra_import.amount), first_above(power_kw, problem.max_import_kw))
        at_least("grid.max_export_power_kw", problem.max_export_kw,
            amount_of(slack.extra_export.amount), first_above(0.0 .- power_kw, problem.max_export_kw))
    end
    for (b, battery) in enumerate(problem.batteries)
        field, final = "batteries[$(b - 1)].final_energy_kwh", battery.final_kwh
        at_least(field, final, amount_of(slack.excess[b]))
        at_most(field, final, amount_of(slack.shortfall[b]))
    end
    return found
end

"Where a limit is first exceeded, counted from 0 as in the contract's arrays."
function first_above(power_kw, limit_kw)
    t = findfirst(>(limit_kw + TOLERANCE), power_kw)
    return t === nothing ? "" : " (slot $(t - 1))"
end
