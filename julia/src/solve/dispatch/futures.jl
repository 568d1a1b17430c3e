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
    relief = NO_RELIEF
    searched = search(futures, COST, relief, stop)
    if is_infeasible(searched.solution.status)
        relief = relaxation(futures, stop)
        searched = search(futures, COST, relief, stop)
    end
    answer = length(futures.problems) == 1 ? alone(searched, relief) :
             told_of_several(futures, searched, relief, stop)
    may_relax || isempty(answer.violations) || throw(infeasible(answer.violations))
    return answer
end

function alone(searched::Searched, relief::Relief)
    plan = priced(searched)
    return Answer(plan, plan.is_proven, plan.relative_gap, violations(plan, searched.program, relief), nothing)
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
function told_of_several(futures::Futures, searched::Searched, relief::Relief, stop::Stop)
    solution, program = searched.solution, searched.program
    is_proven = solution.status == :optimal
    chosen, bound = is_proven ? (solution.value, solution.bound) : unproven(searched)
    relative_gap = is_proven ? max(0.0, solution.relative_gap) : gap(solution.objective, bound)
    amounts = Float64[max(0.0, chosen[j]) for j in program.amounts]
    fixed = Relief(relief.limits, amounts, amounts, Inf)
    told = argmax(futures.probability)
    plans = DispatchPlan[]
    broken = DispatchViolation[]
    for (s, problem) in enumerate(futures.problems)
        held = Held(program.sites[s], chosen, futures.shared_slots)
        own_stop = Stop(max(left_s(stop), PRICING_TIME_LIMIT_S), stop.relative_gap)
        its = search(Futures(problem), COST, fixed, own_stop, held)
        plan = priced(its)
        s == told && (broken = violations(plan, its.program, relief))
        push!(plans, plan)
    end
    return Answer(plans[told], is_proven, relative_gap, broken, uncertainty_plan(futures, plans, told))
end

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
