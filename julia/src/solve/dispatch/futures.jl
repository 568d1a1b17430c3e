# From the futures of an input to the plan of the one that is told, by way of what they share.

"The answer: the plan that is told, which limits it breaks, and what the other futures come to."
struct Answer
    plan::DispatchPlan
    is_proven::Bool                      # within the gap that was asked for
    relative_gap::Float64
    violations::Vector{DispatchViolation}
    uncertainty::Union{DispatchUncertaintyPlan,Nothing}
end

"""
    solve_futures(futures, stop; may_relax) -> Answer

The cheapest plan. Throws `ContractError`: `INFEASIBLE` with the limits that exclude each other,
`TASK_TIMEOUT` when the time limit left no plan, `SOLVER_FAILED`.
"""
function solve_futures(futures::Futures, stop::Stop; may_relax::Bool)
    relief, is_broken = NO_RELIEF, false
    searched = search(futures, COST, relief, stop)
    is_infeasible(searched.solution.status) &&
        ((searched, relief, is_broken) = search_relaxed(futures, stop))
    answer = length(futures.problems) == 1 ? alone(searched, relief, is_broken) :
             told_of_several(futures, searched, relief, is_broken, stop)
    may_relax || isempty(answer.violations) || throw(infeasible(answer.violations))
    return answer
end

function alone(searched::Searched, relief::Relief, is_broken::Bool)
    plan = priced(searched)
    broken = is_broken ? violations(plan, searched.program, relief) : DispatchViolation[]
    return Answer(plan, plan.is_proven, plan.relative_gap, broken, nothing)
end

"""
    solve_dispatch(problem; time_limit_s, relative_gap) -> DispatchPlan

The cheapest plan of one future in which every limit is kept. Throws as `solve_futures`.
"""
solve_dispatch(problem::DispatchProblem; time_limit_s = 60.0, relative_gap = 1e-6) =
    solve_futures(Futures(problem), Stop(time_limit_s, relative_gap); may_relax = false).plan

"""
What the futures share is held, and each is solved for itself: the best answer to what is shared is also
best for the whole, and its prices are its own.
"""
function told_of_several(futures::Futures, searched::Searched, relief::Relief, is_broken::Bool, stop::Stop)
    solution, program = searched.solution, searched.program
    is_proven = solution.status == :optimal
    chosen, relative_gap = solution.value, max(0.0, solution.relative_gap)
    if !is_proven
        directions, bound = unproven(searched)
        final = price!(program, directions; is_proven = false)
        chosen, relative_gap = final.value, gap(final.objective, bound)
    end
    amounts = Float64[max(0.0, chosen[j]) for j in program.amounts]
    fixed = Relief(relief.limits, amounts, amounts, Inf)
    told = argmax(futures.probability)
    plans = DispatchPlan[]
    broken = DispatchViolation[]
    for (s, problem) in enumerate(futures.problems)
        own_stop = Stop(max(left_s(stop), PRICING_TIME_LIMIT_S), stop.relative_gap)
        its = search_held(problem, Held(program.sites[s], chosen, futures.shared_slots, 0.0), fixed, own_stop)
        plan = priced(its)
        s == told && is_broken && (broken = violations(plan, its.program, relief))
        push!(plans, plan)
    end
    return Answer(plans[told], is_proven, relative_gap, broken, uncertainty_plan(futures, plans, told))
end

"With room for the solver's rounding where it needs some."
function search_held(problem::DispatchProblem, held::Held, fixed::Relief, stop::Stop)
    its = search(Futures(problem), COST, fixed, stop, held)
    is_infeasible(its.solution.status) || return its
    roomy = Held(held.site, held.value, held.slots, HELD_ROOM)
    return search(Futures(problem), COST, with_room(fixed), stop, roomy; forgives = true)
end

with_room(fixed::Relief) = Relief(fixed.limits, fixed.least, fixed.most .+ HELD_ROOM, fixed.most_total)

function uncertainty_plan(futures::Futures, plans::Vector{DispatchPlan}, told::Int)
    scenarios = futures.problems[1].input.uncertainty.scenarios
    costs = Float64[plan.cost for plan in plans]
    return DispatchUncertaintyPlan(scenario = scenarios[told].name, shared_slots = futures.shared_slots,
        expected_cost = weighted_sum(futures.probability, costs),
        cvar = cvar(costs, futures.probability, futures.tail_probability),
        scenarios = DispatchScenarioPlan[DispatchScenarioPlan(scenario.name, probability, plan.cost, plan.grid_kw)
            for (scenario, probability, plan) in zip(scenarios, futures.probability, plans)])
end

"The mean of the worst `tail` of costs."
function cvar(costs::Vector{Float64}, probability::Vector{Float64}, tail::Float64)
    total, left = 0.0, tail
    for s in sortperm(costs; rev = true)
        part = min(left, probability[s])
        total += part * costs[s]
        left -= part
    end
    return total / (tail - max(0.0, left))
end
