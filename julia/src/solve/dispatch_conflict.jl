# Which inputs of a dispatch problem exclude each other, and by how much.

"""
Which inputs exclude each other. Each kind of limit is released alone; those whose release is enough
are named with the value that would do. Where neither is enough, both are released together.
"""
function infeasible(problem::DispatchProblem)
    alone = vcat(needed(problem; grid = true, final_energy = false),
        needed(problem; grid = false, final_energy = true))
    isempty(alone) || return no_plan(alone, "one of these has to give way: ")
    together = needed(problem; grid = true, final_energy = true)
    isempty(together) || return no_plan(together, "all of these have to give way: ")
    return ContractError("SOLVER_FAILED", "",
        "the solver calls the problem infeasible and finds no limit to blame")
end

no_plan(violations, words) = ContractError("INFEASIBLE", violations[1].field,
    "no plan keeps every limit; " * words * join(("$(v.field) $(v.message)" for v in violations), "; "),
    violations[1:min(end, 100)])

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
    function at_least(field, limit, amount, words = "")
        amount > TOLERANCE && push!(found, Violation(field, "feasible",
            "must be at least $(ceil(limit + amount; digits = 6)); it is $limit$words"))
    end
    if grid
        power_kw = amount_of.(program.import_) .+ amount_of.(slack.extra_import.by_slot) .-
            amount_of.(program.export_) .- amount_of.(slack.extra_export.by_slot)
        at_least("grid.max_import_power_kw", problem.max_import_kw,
            amount_of(slack.extra_import.amount), first_above(power_kw, problem.max_import_kw))
        at_least("grid.max_export_power_kw", problem.max_export_kw,
            amount_of(slack.extra_export.amount), first_above(-power_kw, problem.max_export_kw))
    end
    for (b, battery) in enumerate(problem.batteries)
        field, final = "batteries[$(b - 1)].final_energy_kwh", battery.final_kwh
        at_least(field, final, amount_of(slack.excess[b]))
        shortfall = amount_of(slack.shortfall[b])
        shortfall > TOLERANCE && push!(found, Violation(field, "feasible",
            "must be at most $(floor(final - shortfall; digits = 6)); it is $final"))
    end
    return found
end

"Where a limit is first exceeded, counted from 0 as in the contract's arrays."
function first_above(power_kw, limit_kw)
    t = findfirst(>(limit_kw + TOLERANCE), power_kw)
    return t === nothing ? "" : " (first needed in slot $(t - 1))"
end
