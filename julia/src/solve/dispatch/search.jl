# Solving a program in which no flow may go both ways: relax first, choose only where that goes wrong.

"Differences below this decide nothing: kW, kWh and currency per kWh alike. HiGHS keeps rows to 1e-7."
const TOLERANCE = 1e-6

"When to stop, and who wants to know how far it is: `report(objective, bound, relative_gap)` or nothing."
struct Stop
    deadline_s::Float64
    relative_gap::Float64
    report::Any
    warm::Union{WarmProgram,Nothing}
end

Stop(time_limit_s::Float64, relative_gap::Float64; report = nothing,
    warm = nothing) = Stop(time_ns() / 1e9 + time_limit_s, relative_gap, report, warm)

left_s(stop::Stop) = max(1e-3, stop.deadline_s - time_ns() / 1e9)

"""
A program as it was solved last. `relaxed` is the solution of the linear relaxation before any choice,
where that is known.
"""
struct Searched
    program::DispatchProgram
    solution::Highs.Solution
    relaxed::Union{Highs.Solution,Nothing}
    relaxed_program::Union{DispatchProgram,Nothing}
end

"What a program minimises: cost, or nothing but energy lost for no reason, or the amounts that give way."
@enum Purpose COST ANY_PLAN LEAST_RELIEF

"""
    search(futures, purpose, relief, stop, held = nothing; forgives = false) -> Searched

Import and export, and charging and discharging, are left free to go together at first. That pays only
at odd prices, so the solution usually stands. Where it does not, the slots whose prices allow it, and
those where it happened, get a binary variable each, and the program is solved again until no slot goes both ways. As
every round is a relaxation, the last one is exact. Ends earlier when a round has no solution in time.
`held` is what the first slots must do. With `forgives` a plan is known to exist but for rounding, and rows
are widened by that.
"""
function search(futures::Futures, purpose::Purpose, relief::Relief, stop::Stop,
        held::Union{Held,Nothing} = nothing; forgives::Bool = false)
    choices = no_choices(futures)
    relaxed = relaxed_program = nothing
    while true
        program = formulate(futures, choices, relief)
        held === nothing || hold!(program.lp, program.sites[1], held)
        purpose == COST || replace_costs!(program, purpose)
        is_relaxation = relaxed === nothing && held === nothing && isempty(relief.limits) && purpose == COST
        solution = is_relaxation && stop.warm !== nothing && length(futures.problems) == 1 &&
                   !any(program.lp.is_integer) ?
            solve!(stop.warm, program; time_limit_s = left_s(stop)) :
            Highs.solve(program.lp; time_limit_s = left_s(stop),
                relative_gap = purpose == COST ? stop.relative_gap : 0.0,
                on_progress = purpose == COST ? stop.report : nothing, whole_within = WHOLE_WITHIN)
        if forgives && is_infeasible(solution.status) && widen!(program.lp)
            solution = Highs.solve(program.lp; time_limit_s = left_s(stop), relative_gap = stop.relative_gap,
                whole_within = WHOLE_WITHIN)
        end
        if solution.status != :optimal || !choose!(choices, program, solution, purpose)
            return Searched(program, solution, relaxed, relaxed_program)
        end
        relaxed === nothing && ((relaxed, relaxed_program) = (solution, program))
    end
end

"What a binary may miss of being whole: as little as rows may miss, for what it misses leaks."
const WHOLE_WITHIN = 1e-7

is_infeasible(status::Symbol) = status in (:infeasible, :unbounded_or_infeasible)

no_solution(status::Symbol) = status == :time_limit ?
    ContractError("TASK_TIMEOUT", "options.time_limit_s",
        "no plan was found within the time limit; raise it or make the problem smaller") :
    ContractError("SOLVER_FAILED", "", "the solver ended with $status and has no plan")

"A kWh lost for no reason costs next to nothing beside a unit that gives way, but more than nothing."
const LOSS_COST, RELIEF_COST = 1e-6, 1e4

function replace_costs!(program::DispatchProgram, purpose::Purpose)
    lp = program.lp
    fill!(lp.cost, 0.0)
    for site in program.sites, storage in site.storages
        lp.cost[storage.discharge] .= LOSS_COST
    end
    purpose == LEAST_RELIEF && (lp.cost[program.amounts] .= RELIEF_COST)
    return nothing
end

# ---------------------------------------------------------------------------- one way in each slot

"Both flows of a pair at once, beyond rounding."
both(value::Vector{Float64}, one::Int, other::Int) = min(value[one], value[other]) > TOLERANCE

"Neither losses nor wear: both ways at once is the same as their difference."
is_lossless(battery::Battery) = battery.wear_cost_per_kwh == 0 && battery.charge_efficiency == 1 &&
    battery.discharge_efficiency == 1

"Whether a kWh exported earns more than the same kWh imported costs."
pays_both_ways(problem::DispatchProblem, surcharge::Float64, t::Int) =
    problem.export_price[t] > problem.import_price[t] + surcharge

"Mark where a direction has to be chosen; whether any is new."
function choose!(choices::Vector{Choices}, program::DispatchProgram, solution::Highs.Solution,
        purpose::Purpose)
    marked, has_prices = false, !any(program.lp.is_integer)
    for (s, site) in enumerate(program.sites)
        marked |= choose!(choices[s], site, solution, purpose, has_prices)
    end
    return marked
end

function choose!(choices::Choices, site::Site, solution::Highs.Solution, purpose::Purpose, has_prices::Bool)
    problem, value, T = site.problem, solution.value, slots(site.problem)
    # Without prices, and where they are no reward, the difference of import and export does as well.
    marked = false
    if purpose == COST
        surcharge = least_surcharge(problem.input)
        matters = Bool[pays_both_ways(problem, surcharge, t) for t in 1:T]
        if any(t -> matters[t] && !is_chosen(choices.grid, t) &&
                    both(value, site.grid.import_[t], site.grid.export_[t]), 1:T)
            mark!(choices.grid, matters)
            marked = true
        end
    end
    for (storage, its) in zip(site.storages, choices.storages)
        is_lossless(storage.battery) && continue
        breaks = Bool[!is_chosen(its, i) && !has_switch(storage.switch, i) &&
                      both(value, storage.charge[i], storage.discharge[i]) for i in eachindex(storage.slots)]
        any(breaks) || continue
        if purpose == COST
            for (i, t) in enumerate(storage.slots)
                breaks[i] |= pays_to_burn(problem, has_prices ? solution.row_dual[site.balance[t]] : Inf, t)
            end
        end
        mark!(its, breaks)
        marked = true
    end
    return marked
end

pays_to_burn(problem::DispatchProblem, price::Float64, t::Int) = price <= TOLERANCE ||
    problem.export_price[t] <= 0 || problem.import_price[t] + least_surcharge(problem.input) <= 0

is_chosen(choices::Vector{Bool}, i::Int) = !isempty(choices) && choices[i]

function mark!(choices::Vector{Bool}, new::Vector{Bool})
    isempty(choices) && append!(choices, fill(false, length(new)))
    choices .|= new
end

# ------------------------------------------------------------------------ what is chosen is fixed

"""
    fix!(program, value)

Every binary becomes what it is in `value`, so that a linear program remains. What a switch says is said
by bounds from then on: its rows would take part in the duals.
"""
function fix!(program::DispatchProgram, value::Vector{Float64})
    lp = program.lp
    for j in 1:column_count(lp)
        lp.is_integer[j] || continue
        lp.lower[j] = lp.upper[j] = round(value[j])
        lp.is_integer[j] = false
    end
    for site in program.sites
        fix!(lp, site.grid.switch, site.grid.import_, site.grid.export_)
        foreach(its -> fix!(lp, its.switch, its.charge, its.discharge), site.storages)
        foreach(its -> fix!(lp, its.switch, its.power, 1:0), site.flexible_loads)
        foreach(its -> fix!(lp, its.switch, its.power, 1:0), site.heat_pumps)
    end
    return nothing
end

"The amounts by which limits give way become those in `value`, and no longer share a total."
function fix_amounts!(program::DispatchProgram, value::Vector{Float64})
    lp = program.lp
    for j in program.amounts
        lp.lower[j] = lp.upper[j] = max(0.0, value[j])
    end
    program.total_row == 0 || (lp.row_upper[program.total_row] = Inf)
    return nothing
end

function fix!(lp::LinearProgram, switch::Switch, flow::UnitRange{Int}, opposite::UnitRange{Int})
    for i in eachindex(switch.binary)
        y = switch.binary[i]
        y == 0 && continue
        for row in (switch.most_row[i], switch.least_row[i], switch.opposite_row[i])
            row == 0 && continue
            lp.row_lower[row], lp.row_upper[row] = -Inf, Inf
        end
        if lp.upper[y] == 1
            # Where it is held, it is at least that.
            lp.lower[flow[i]] = max(lp.lower[flow[i]], min(switch.least, lp.upper[flow[i]]))
            isempty(opposite) || stop!(lp, opposite[i])
        else
            stop!(lp, flow[i])
        end
    end
end

"Nothing flows; what it was held at was rounding."
stop!(lp::LinearProgram, flow::Int) = lp.lower[flow] = lp.upper[flow] = 0.0

"""
Whether binaries are switches of pairs only: then any solution of the relaxation says which way to go.
"""
function has_only_pairs(program::DispatchProgram)
    pairs = 0
    for site in program.sites
        pairs += count(!=(0), site.grid.switch.binary)
        for storage in site.storages
            storage.switch.least == 0 && (pairs += count(!=(0), storage.switch.binary))
        end
    end
    return pairs == count(program.lp.is_integer)
end

"The values of `relaxed`, with each switch set as its flows go there on balance."
function with_net_directions(program::DispatchProgram, relaxed::Highs.Solution, relaxed_program::DispatchProgram)
    value = zeros(column_count(program.lp))
    for (site, its) in zip(program.sites, relaxed_program.sites)
        set_net!(value, relaxed.value, site.grid.switch, its.grid.import_, its.grid.export_)
        for (storage, there) in zip(site.storages, its.storages)
            set_net!(value, relaxed.value, storage.switch, there.charge, there.discharge)
        end
    end
    return value
end

function set_net!(value, relaxed_value, switch::Switch, flow::UnitRange{Int}, opposite::UnitRange{Int})
    for i in eachindex(switch.binary)
        switch.binary[i] == 0 && continue
        value[switch.binary[i]] = relaxed_value[flow[i]] >= relaxed_value[opposite[i]] ? 1.0 : 0.0
    end
end

"After every choice: the linear program that is left gets this long, however late it is."
const PRICING_TIME_LIMIT_S = 60.0

"""
    price!(program, chosen; is_proven = true) -> Solution

Fix what is chosen in the values `chosen`, and solve the linear program that remains for the schedule and
its prices. Where prices leave a tie its solution may go both ways in slots that `chosen` did not; these
then go as `chosen` does, which costs nothing. Throws TASK_TIMEOUT where `chosen` is what was known when time
was out, and is no plan.
"""
function price!(program::DispatchProgram, chosen::Vector{Float64}; is_proven::Bool = true)
    fix_amounts!(program, chosen)
    return solve_fixed!(program, chosen, COST; is_proven = is_proven)
end

function solve_fixed!(program::DispatchProgram, chosen::Vector{Float64}, purpose::Purpose; is_proven::Bool = true)
    fix!(program, chosen)
    solve() = Highs.solve(program.lp; time_limit_s = PRICING_TIME_LIMIT_S, relative_gap = 0.0)
    while true
        solution = solve()
        # What was nearly whole is whole now, and what it leaked is missing.
        is_infeasible(solution.status) && widen!(program.lp) && (solution = solve())
        solution.status == :optimal ||
            throw(no_solution(is_proven || !is_infeasible(solution.status) ? solution.status : :time_limit))
        untie!(program, solution.value, chosen, purpose) || return solution
    end
end

"""
A binary within 1e-6 of being whole leaks that part of its coefficient. What a program misses by more than
some of these is no rounding.
"""
const ROUNDING = 1e-5

"""
    widen!(lp) -> Bool

Widen the rows of a program that no point keeps by as little in all as there must be, if that is mere
rounding.
"""
function widen!(lp::LinearProgram)
    columns, rows = column_count(lp), row_count(lp)
    elastic = LinearProgram(zeros(columns), copy(lp.lower), copy(lp.upper), copy(lp.is_integer), copy(lp.start),
        copy(lp.row), copy(lp.coefficient), lp.row_lower, lp.row_upper)
    for row in 1:rows, way in (1.0, -1.0)
        variable!(elastic, 0.0, Inf, 1.0)
        term!(elastic, row, way)
    end
    solution = Highs.solve(elastic; time_limit_s = PRICING_TIME_LIMIT_S, relative_gap = 0.0)
    solution.has_plan || return false
    missed(row, way) = max(0.0, solution.value[columns+2*row-(way > 0 ? 1 : 0)])
    room = ROUNDING * max(1.0, greatest(abs.(lp.coefficient)))
    greatest(solution.value[columns+1:end]) <= room || return false
    for row in 1:rows
        # Raised to reach what the row asks for, or lowered.
        missed(row, 1.0) > 0 && (lp.row_lower[row] -= missed(row, 1.0) + LEFT_OVER)
        missed(row, -1.0) > 0 && (lp.row_upper[row] += missed(row, -1.0) + LEFT_OVER)
    end
    return true
end

"Room for the rounding of the widening itself."
const LEFT_OVER = 1e-9

"For other purposes than cost the grid may go both ways: the difference does as well."
function untie!(program::DispatchProgram, value::Vector{Float64}, chosen::Vector{Float64}, purpose::Purpose)
    any_tie = false
    for site in program.sites
        problem, grid = site.problem, site.grid
        surcharge = least_surcharge(problem.input)
        for t in 1:slots(problem)
            purpose == COST && pays_both_ways(problem, surcharge, t) &&
                (any_tie |= untie!(program.lp, grid.import_[t], grid.export_[t], value, chosen))
        end
        for storage in site.storages
            is_lossless(storage.battery) && continue
            for i in eachindex(storage.slots)
                any_tie |= untie!(program.lp, storage.charge[i], storage.discharge[i], value, chosen)
            end
        end
    end
    return any_tie
end

function untie!(lp::LinearProgram, flow::Int, opposite::Int, value::Vector{Float64}, chosen::Vector{Float64})
    both(value, flow, opposite) || return false
    stop!(lp, chosen[flow] >= chosen[opposite] ? opposite : flow)
    return true
end
