# Which inputs of a dispatch problem exclude each other, and by how much.

"""
Which inputs exclude each other. Each kind of limit is released alone; those whose release is enough
are named with the value that would do. Where neither is enough, both are released together.
"""
function infeasible(problem::DispatchProblem, directions::Directions)
    alone = vcat(needed(problem, directions; grid = true, final_energy = false),
        needed(problem, directions; grid = false, final_energy = true))
    isempty(alone) || return no_plan(alone, "one of these has to give way: ")
    together = needed(problem, directions; grid = true, final_energy = true)
    isempty(together) || return no_plan(together, "all of these have to give way: ")
    return ContractError("SOLVER_FAILED", "",
        "the solver calls the problem infeasible and finds no limit to blame")
end

no_plan(violations, words) = ContractError("INFEASIBLE", violations[1].field,
    "no plan keeps every limit; " * words * join(("$(v.field) $(v.message)" for v in violations), "; "),
    violations[1:min(end, 100)])

"The limits to change when those released may give way; empty when releasing them is not enough."
function needed(problem::DispatchProblem, directions::Directions; grid::Bool, final_energy::Bool)
    program = formulate(problem, directions)
    slack = relax!(program, problem; grid = grid, final_energy = final_energy)
    solution = Highs.solve(program.lp; time_limit_s = 10.0, relative_gap = 1e-4)
    found = Violation[]
    solution.has_plan || return found
    given_up(column) = column == 0 ? 0.0 : solution.value[column]
    function at_least(field, limit, amount, by_slot = Int[])
        amount > TOLERANCE && push!(found, Violation(field, "feasible", string("must be at least ",
            ceil(limit + amount; digits = 6), "; it is ", limit, first_slot(solution, by_slot))))
    end
    at_least("grid.max_import_power_kw", problem.max_import_kw,
        given_up(slack.extra_import.amount), slack.extra_import.by_slot)
    at_least("grid.max_export_power_kw", problem.max_export_kw,
        given_up(slack.extra_export.amount), slack.extra_export.by_slot)
    for (b, battery) in enumerate(problem.batteries)
        field, final = "batteries[$(b - 1)].final_energy_kwh", battery.final_kwh
        at_least(field, final, given_up(slack.excess[b]))
        shortfall = given_up(slack.shortfall[b])
        shortfall > TOLERANCE && push!(found, Violation(field, "feasible",
            "must be at most $(floor(final - shortfall; digits = 6)); it is $final"))
    end
    return found
end

"Where a limit is first exceeded, counted from 0 as in the contract's arrays."
function first_slot(solution, by_slot)
    t = findfirst(column -> solution.value[column] > TOLERANCE, by_slot)
    return t === nothing ? "" : " (first needed in slot $(t - 1))"
end
