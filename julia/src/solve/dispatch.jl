# Solving a dispatch problem: relax first, decide directions only where the relaxation goes both ways.

"Power below this is none: HiGHS keeps rows to 1e-7."
const POWER_TOLERANCE_KW = 1e-6

"The plan of one battery; powers and energies of every slot, and what the limits are worth."
struct BatteryPlan
    power_kw::Vector{Float64}           # charging positive
    energy_kwh::Vector{Float64}         # at the end of the slot
    marginal_value::Vector{Float64}     # of one more stored kWh at the end of the slot
    charge_limit_value::Vector{Float64}     # what one more kW of charging power would save, per hour
    discharge_limit_value::Vector{Float64}
end

"A plan for the site, with the prices that hold it together."
struct DispatchPlan
    status::Symbol                      # :optimal or :time_limit
    cost::Float64
    wear_cost::Float64
    relative_gap::Float64
    grid_kw::Vector{Float64}            # import positive
    pv_kw::Vector{Float64}              # used of what may be curtailed
    grid_price::Vector{Float64}         # cost of one more kWh of load
    batteries::Vector{BatteryPlan}
end

"""
    solve_dispatch(problem; time_limit_s, relative_gap, progress) -> DispatchPlan

The cheapest plan in which neither the grid connection nor any battery goes both ways in one slot.

The linear relaxation is solved first. Both ways at once pays only at odd prices, so its plan usually
stands. Where it does not, the slots whose prices allow it, and those where it happened, get a binary
variable, and the program is solved again until no slot goes both ways. As every round is a
relaxation, the last one is exact. Its directions are then fixed and the linear program that remains
gives the plan and its prices.

`progress(fraction, stage, objective, relative_gap)` is told of each step. Throws
`ContractError("INFEASIBLE")` with the limits that exclude each other, or
`ContractError("SOLVER_FAILED")`.
"""
function solve_dispatch(problem::DispatchProblem; time_limit_s = 60.0, relative_gap = 1e-6,
        progress = (fraction, stage, objective, gap) -> nothing)
    deadline_s = time_ns() / 1e9 + time_limit_s
    left_s() = max(0.01, deadline_s - time_ns() / 1e9)
    directions = Directions(problem)
    bound = -Inf
    while true
        program = formulate(problem, directions)
        solution = Highs.solve(program.lp; time_limit_s = left_s(), relative_gap = relative_gap)
        solution.status in (:infeasible, :unbounded_or_infeasible) &&
            throw(infeasible(problem, directions))
        if solution.status == :optimal
            is_linear(directions) && (bound = solution.objective)
            decide!(directions, problem, program, solution) && continue
            is_linear(directions) && return plan(problem, program, solution, :optimal, 0.0)
            progress(0.8, "price", solution.objective, solution.relative_gap)
            return priced(problem, fixed(directions, program, solution), :optimal, bound,
                solution.relative_gap)
        elseif solution.has_plan && !is_linear(directions)
            # Out of time: whatever still goes both ways follows its net power.
            return priced(problem, fixed(directions, program, solution), :time_limit, bound, Inf)
        else
            throw(ContractError("SOLVER_FAILED", "options.time_limit_s",
                "the solver ended with $(solution.status) after $time_limit_s s and has no plan"))
        end
    end
end

"Both flows of a pair at once, beyond rounding."
both(solution, positive, negative) =
    min(solution.value[positive], solution.value[negative]) > POWER_TOLERANCE_KW

"A kWh sold for more than it costs at the same time, or a battery that burns energy, needs a decision."
pays_both_ways(problem::DispatchProblem, t) = problem.export_price[t] > problem.import_price[t]
pays_to_burn(problem::DispatchProblem, t) =
    min(problem.import_price[t], problem.export_price[t]) <= 0
is_lossless(battery::Battery) = battery.wear_cost_per_kwh == 0 &&
    battery.charge_efficiency == 1 && battery.discharge_efficiency == 1

"Mark the slots whose direction has to be decided; whether any was new."
function decide!(directions::Directions, problem, program, solution)
    T = slots(problem)
    # Import and export at one price is a tie that netting resolves; likewise a lossless battery.
    marked = decide_flow!(directions.grid, solution, program.import_, program.export_,
        T, t -> pays_both_ways(problem, t), t -> pays_both_ways(problem, t))
    for (b, battery) in enumerate(problem.batteries)
        columns = program.batteries[b]
        marked |= decide_flow!(directions.batteries[b], solution, columns.charge, columns.discharge,
            T, t -> !is_lossless(battery), t -> pays_to_burn(problem, t))
    end
    return marked
end

function decide_flow!(ways, solution, positive, negative, T, matters, may_pay)
    offends(t) = matters(t) && ways[t] == BOTH_WAYS && both(solution, positive[t], negative[t])
    any(offends, 1:T) || return false
    for t in 1:T
        ways[t] == BOTH_WAYS && (may_pay(t) || offends(t)) && (ways[t] = DECIDE)
    end
    return true
end

"The same directions with every decision taken as in the solution."
function fixed(directions::Directions, program, solution)
    fix(ways, positive, negative) = map(eachindex(ways)) do t
        net = solution.value[positive[t]] - solution.value[negative[t]]
        offends = both(solution, positive[t], negative[t])
        ways[t] == BOTH_WAYS && !offends ? BOTH_WAYS : net >= 0 ? ONLY_POSITIVE : ONLY_NEGATIVE
    end
    return Directions(fix(directions.grid, program.import_, program.export_),
        [fix(ways, columns.charge, columns.discharge)
         for (ways, columns) in zip(directions.batteries, program.batteries)])
end

"The plan and its prices once every direction is fixed: a linear program again."
function priced(problem, directions, status, bound, relative_gap)
    program = formulate(problem, directions)
    solution = Highs.solve(program.lp; time_limit_s = 60.0, relative_gap = 0.0)
    solution.status == :optimal || throw(ContractError("SOLVER_FAILED", "options.time_limit_s",
        "the time limit left no plan that goes one way in every slot"))
    if !isfinite(relative_gap)
        relative_gap = max(0.0, solution.objective - bound) / max(abs(solution.objective), 1e-9)
    end
    return plan(problem, program, solution, status, max(0.0, relative_gap))
end

function plan(problem::DispatchProblem, program, solution, status, relative_gap)
    h, value = problem.slot_h, solution.value
    net(positive, negative) = [tidy(value[p] - value[n]) for (p, n) in zip(positive, negative)]
    grid_kw = net(program.import_, program.export_)
    batteries = map(program.batteries) do columns
        BatteryPlan(net(columns.charge, columns.discharge), value[columns.energy],
            -solution.row_dual[columns.storage],
            max.(0.0, -solution.reduced_cost[columns.charge]) ./ h,
            max.(0.0, -solution.reduced_cost[columns.discharge]) ./ h)
    end
    wear_cost = h * sum_of(zip(problem.batteries, batteries)) do (battery, its)
        battery.wear_cost_per_kwh * sum_of(power -> max(0.0, -power), its.power_kw)
    end
    energy_cost = h * sum_of(t -> grid_cost(problem, t, grid_kw[t]), 1:slots(problem))
    return DispatchPlan(status, energy_cost + wear_cost, wear_cost, relative_gap, grid_kw,
        value[program.pv], solution.row_dual[program.balance] ./ h, batteries)
end

tidy(power_kw) = abs(power_kw) < 1e-9 ? 0.0 : power_kw

# ------------------------------------------------------------------------------- infeasible input

"""
Which inputs exclude each other. Each kind of limit is released alone; those whose release is enough
are named with the value that would do. Where neither is enough, both are released together.
"""
function infeasible(problem::DispatchProblem, directions::Directions)
    alone = Violation[]
    append!(alone, needed(problem, directions; grid = true, final_energy = false))
    append!(alone, needed(problem, directions; grid = false, final_energy = true))
    violations = isempty(alone) ? needed(problem, directions; grid = true, final_energy = true) : alone
    isempty(violations) && return ContractError("SOLVER_FAILED", "",
        "the solver calls the problem infeasible and finds no limit to blame")
    first = violations[1]
    return ContractError("INFEASIBLE", first.field,
        "no plan keeps every limit; " * join(("$(v.field) $(v.message)" for v in violations), "; or "),
        violations[1:min(end, 100)])
end

"The limits to change when those released may give way; empty when releasing them is not enough."
function needed(problem::DispatchProblem, directions::Directions; grid::Bool, final_energy::Bool)
    program = formulate(problem, directions)
    slack = relax!(program, problem; grid = grid, final_energy = final_energy)
    solution = Highs.solve(program.lp; time_limit_s = 10.0, relative_gap = 1e-4)
    found = Violation[]
    solution.has_plan || return found
    at(column) = column == 0 ? 0.0 : solution.value[column]
    say!(field, which, amount, limit, extra = "") = amount > POWER_TOLERANCE_KW && push!(found,
        Violation(field, "feasible", "must be at $which $(rounded(limit)); " * extra))
    say!("grid.max_import_power_kw", "least", at(slack.extra_import.amount),
        problem.max_import_kw + at(slack.extra_import.amount),
        "it is $(rounded(problem.max_import_kw))" * where_(solution, slack.extra_import.by_slot))
    say!("grid.max_export_power_kw", "least", at(slack.extra_export.amount),
        problem.max_export_kw + at(slack.extra_export.amount),
        "it is $(rounded(problem.max_export_kw))" * where_(solution, slack.extra_export.by_slot))
    for (b, battery) in enumerate(problem.batteries)
        field = "batteries[$(b - 1)].final_energy_kwh"
        final = battery.final_kwh === nothing ? 0.0 : battery.final_kwh
        say!(field, "most", at(slack.shortfall[b]), final - at(slack.shortfall[b]),
            "it is $(rounded(final))")
        say!(field, "least", at(slack.excess[b]), final + at(slack.excess[b]),
            "it is $(rounded(final))")
    end
    return found
end

rounded(value) = round(value; digits = 4)

"The first slots in which a limit is exceeded, counted from 0 as in the contract's paths."
function where_(solution, by_slot)
    exceeding = [t - 1 for (t, column) in enumerate(by_slot)
                 if solution.value[column] > POWER_TOLERANCE_KW]
    isempty(exceeding) && return ""
    shown = join(exceeding[1:min(end, 5)], ", ")
    return length(exceeding) > 5 ? " (slots $shown and $(length(exceeding) - 5) more)" :
           " (slot$(length(exceeding) > 1 ? "s" : "") $shown)"
end
