# Solving a dispatch problem: relax first, decide directions only where the relaxation goes both ways.

"Differences below this decide nothing: kW, kWh and currency per kWh alike. HiGHS keeps rows to 1e-7."
const TOLERANCE = 1e-6

"The plan of one battery in every slot."
struct BatteryPlan
    power_kw::Vector{Float64}           # charging positive
    energy_kwh::Vector{Float64}         # at the end of the slot
    marginal_value::Vector{Float64}     # of a stored kWh at the end of the slot: one of the duals
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
    directions::Directions              # those it was forced into
end

"""
    solve_dispatch(problem; time_limit_s, relative_gap) -> DispatchPlan

The cheapest plan in which neither the grid connection nor any battery goes both ways in one slot.

The linear relaxation is solved first. Both ways at once pays only at odd prices, so its plan usually
stands. Where it does not, the slots whose prices allow it, and those where it happened, get a binary
variable, and the program is solved again until no slot goes both ways. As every round is a
relaxation, the last one is exact. Its directions are then fixed and the linear program that remains
gives the plan and its prices.

Throws `ContractError`: `INFEASIBLE` with the limits that exclude each other, `TASK_TIMEOUT` when the
time limit left no plan, `SOLVER_FAILED`.
"""
function solve_dispatch(problem::DispatchProblem; time_limit_s = 60.0, relative_gap = 1e-6)
    found = search(directions -> formulate(problem, directions), problem, time_limit_s, relative_gap)
    status, relaxed = found.last.solution.status, found.relaxed
    if status == :optimal
        return relaxed === nothing ?
               plan(problem, found.last.program, found.directions, found.last.solution, :optimal, 0.0) :
               priced(problem, found.directions, found.last, :optimal, NaN)
    elseif status == :time_limit && relaxed !== nothing
        # Not proven, or not even found: then the net power of the relaxation decides.
        directions, chosen = found.last.solution.has_plan ? (found.directions, found.last) :
                             (Directions(problem), relaxed)
        return priced(problem, directions, chosen, :time_limit, relaxed.solution.objective)
    elseif is_infeasible(status)
        throw(infeasible(problem))
    end
    throw(no_solution(status))
end

"""
Solve the program that `build(directions)` gives, with more and more directions to be decided, until
no slot goes both ways. `last` is the program and solution it ended with, whatever its status;
`relaxed` those of the first round, nothing where that was the last.
"""
function search(build, problem::DispatchProblem, time_limit_s, relative_gap)
    deadline_s = time_ns() / 1e9 + time_limit_s
    directions = Directions(problem)
    relaxed = nothing
    while true
        program = build(directions)
        left_s = max(1e-3, deadline_s - time_ns() / 1e9)
        solution = Highs.solve(program.lp; time_limit_s = left_s, relative_gap = relative_gap)
        last = (program = program, solution = solution)
        if solution.status != :optimal || !decide!(directions, problem, program, solution)
            return (last = last, relaxed = relaxed, directions = directions)
        end
        relaxed === nothing && (relaxed = last)
    end
end

is_infeasible(status) = status in (:infeasible, :unbounded_or_infeasible)

no_solution(status) = status == :time_limit ?
    ContractError("TASK_TIMEOUT", "options.time_limit_s", "no plan was found within the time limit") :
    ContractError("SOLVER_FAILED", "", "the solver ended with $status and has no plan")

"Both flows of a pair at once, beyond rounding."
both(solution, positive, negative) =
    min(solution.value[positive], solution.value[negative]) > TOLERANCE

"A kWh sold for more than it costs at the same time, or a battery that burns energy, needs a decision."
pays_both_ways(problem::DispatchProblem, t) = problem.export_price[t] > problem.import_price[t]
pays_to_burn(problem::DispatchProblem, t) =
    min(problem.import_price[t], problem.export_price[t]) <= 0
is_lossless(battery::PlannedBattery) = battery.wear_cost_per_kwh == 0 &&
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

"""
The plan and its prices once every direction is decided as in `chosen`, which is a program and its
solution: a linear program again. Where the prices leave a tie, its solution may go both ways in
slots that `chosen` did not; these are decided as well, which costs nothing.
"""
function priced(problem, directions, chosen, status, bound)
    directions = decided(directions, chosen, chosen)
    while true
        program = formulate(problem, directions)
        solution = Highs.solve(program.lp; time_limit_s = 60.0, relative_gap = 0.0)
        solution.status == :optimal ||
            throw(no_solution(status == :time_limit ? status : solution.status))
        next = decided(directions, chosen, (program = program, solution = solution))
        if next == directions
            gap = status == :optimal ? chosen.solution.relative_gap :
                  (solution.objective - bound) / max(abs(solution.objective), 1e-9)
            return plan(problem, program, directions, solution, status, max(0.0, gap))
        end
        directions = next
    end
end

"""
The directions, where those still open, and those of pairs that go both ways in `now`, follow the net
power in `chosen`.
"""
function decided(directions::Directions, chosen, now)
    function follow(ways, columns)
        its_positive, its_negative = columns(chosen.program)
        positive, negative = columns(now.program)
        map(eachindex(ways)) do t
            is_open = ways[t] == DECIDE ||
                (ways[t] == BOTH_WAYS && both(now.solution, positive[t], negative[t]))
            is_open || return ways[t]
            net = chosen.solution.value[its_positive[t]] - chosen.solution.value[its_negative[t]]
            return net >= 0 ? ONLY_POSITIVE : ONLY_NEGATIVE
        end
    end
    return Directions(follow(directions.grid, program -> (program.import_, program.export_)),
        [follow(ways, program -> (program.batteries[b].charge, program.batteries[b].discharge))
         for (b, ways) in enumerate(directions.batteries)])
end

function plan(problem::DispatchProblem, program, directions, solution, status, relative_gap)
    h, lp = problem.slot_h, program.lp
    value = Float64[tidy(solution.value[j], lp.lower[j], lp.upper[j]) for j in 1:column_count(lp)]
    net(positive, negative) = Float64[value[p] - value[n] for (p, n) in zip(positive, negative)]
    grid_kw = net(program.import_, program.export_)
    batteries = BatteryPlan[BatteryPlan(net(columns.charge, columns.discharge),
        value[columns.energy], Float64[-solution.row_dual[row] for row in columns.storage])
        for columns in program.batteries]
    wear_cost = 0.0
    for (battery, its) in zip(problem.batteries, batteries)
        wear_cost += h * battery.wear_cost_per_kwh * sum_of(power -> max(0.0, -power), its.power_kw)
    end
    energy_cost = h * sum_of(t -> grid_cost(problem, t, grid_kw[t]), 1:slots(problem))
    return DispatchPlan(status, energy_cost + wear_cost, wear_cost, relative_gap, grid_kw,
        value[program.pv], solution.row_dual[program.balance] ./ h, batteries, directions)
end

"A value within rounding of a bound is the bound; −0 is 0."
tidy(value, lower, upper) =
    abs(value - lower) <= 1e-9 ? lower + 0.0 : abs(value - upper) <= 1e-9 ? upper + 0.0 : value
