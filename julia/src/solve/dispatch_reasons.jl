# What stored energy is worth, and why a battery does what it does in each slot.
# docs/compute/dispatch.md derives both; the numbers in brackets are its inequalities.

"The smallest and the largest value of one stored kWh that the prices of the plan allow, by slot."
struct StoredValue
    least::Vector{Float64}     # μ⁻: what one kWh more saves
    most::Vector{Float64}      # μ⁺: what one kWh less costs
end

"""
    stored_value(problem, plan, b) -> StoredValue

At a kink many dual values are optimal and a solver returns any of them. Given the grid price and the
schedule, the optimal ones are bounded slot by slot by what charging and discharging would gain
[1–4], and tied to the next slot's by the energy limits that do not bind [5, 6].
"""
function stored_value(problem::DispatchProblem, plan::DispatchPlan, b::Int)
    battery, its, way = problem.batteries[b], plan.batteries[b], plan.directions.batteries[b]
    price, T = plan.grid_price, slots(problem)
    charge_worth(t) = price[t] / battery.charge_efficiency
    discharge_worth(t) = (price[t] - battery.wear_cost_per_kwh) * battery.discharge_efficiency
    may_charge(t) = way[t] != ONLY_NEGATIVE
    may_discharge(t) = way[t] != ONLY_POSITIVE

    lower, upper = fill(-Inf, T), fill(Inf, T)
    for t in 1:T
        power = its.power_kw[t]
        if may_charge(t)
            power > TOLERANCE && (lower[t] = max(lower[t], charge_worth(t)))                         # [1]
            power < battery.max_charge_kw - TOLERANCE && (upper[t] = min(upper[t], charge_worth(t))) # [2]
        end
        if may_discharge(t)
            -power < battery.max_discharge_kw - TOLERANCE &&
                (lower[t] = max(lower[t], discharge_worth(t)))                                       # [3]
            -power > TOLERANCE && (upper[t] = min(upper[t], discharge_worth(t)))                     # [4]
        end
    end
    above_min = its.energy_kwh .> battery.min_kwh + TOLERANCE    # then μₜ ≤ μₜ₊₁                       [5]
    below_max = its.energy_kwh .< battery.max_kwh - TOLERANCE    # then μₜ ≥ μₜ₊₁                       [6]
    is_free = battery.final_kwh === nothing                      # then energy is worth 0 afterwards
    return StoredValue(
        extreme(max, lower, below_max, above_min, is_free, its.marginal_value),
        extreme(min, upper, above_min, below_max, is_free, its.marginal_value))
end

"""
Carry each slot's bound to those tied to it: backward where `backward[t]` ties slot t to the next,
forward where `forward[t]` does. Slots that no bound reaches take the solver's value as theirs.
"""
function extreme(tighter, bound, backward, forward, is_free::Bool, solver_value)
    value = carried(tighter, bound, backward, forward, is_free)
    all(isfinite, value) && return value
    bound = Float64[isfinite(value[t]) ? bound[t] : solver_value[t] for t in eachindex(bound)]
    return carried(tighter, bound, backward, forward, is_free)
end

function carried(tighter, bound, backward, forward, is_free::Bool)
    T = length(bound)
    back, fore = copy(bound), copy(bound)
    is_free && backward[T] && (back[T] = tighter(back[T], 0.0))
    for t in T-1:-1:1
        backward[t] && (back[t] = tighter(back[t], back[t+1]))
        forward[T-t] && (fore[T-t+1] = tighter(fore[T-t+1], fore[T-t]))
    end
    return Float64[tighter(back[t], fore[t]) for t in 1:T]
end

"""
    reasons(problem, plan, b, value) -> Vector{String}

One reason a slot for battery `b`, a word of the contract's `DispatchReason`: the first that applies.
A limit is named only where it has a price, that is, where the plan would do more without it.
"""
function reasons(problem::DispatchProblem, plan::DispatchPlan, b::Int, value::StoredValue)
    power_kw, T = plan.batteries[b].power_kw, slots(problem)
    last_discharge = something(findlast(<(-TOLERANCE), power_kw), 0)
    last_charge = something(findlast(>(TOLERANCE), power_kw), 0)
    # From here on no energy limit decides any more: what the end is worth is what energy is worth.
    level = something(findlast(t -> abs(value.least[t] - value.least[t+1]) > TOLERANCE, 1:T-1), 0) + 1
    end_price = problem.batteries[b].final_kwh === nothing ? 0.0 : value.least[T]
    return map(1:T) do t
        end_wants_more = t >= level && t >= last_discharge && end_price > TOLERANCE
        end_wants_less = t >= level && t >= last_charge && end_price < -TOLERANCE
        power_kw[t] > TOLERANCE ? why_charge(problem, plan, b, t, value, end_wants_more) :
        power_kw[t] < -TOLERANCE ? why_discharge(problem, plan, b, t, value, end_wants_less) :
        why_hold(problem, plan, b, t, value, end_wants_more)
    end
end

import_limit_has_price(problem, plan, t) =
    plan.grid_kw[t] >= problem.max_import_kw - TOLERANCE &&
    plan.grid_price[t] > problem.import_price[t] + TOLERANCE
export_limit_has_price(problem, plan, t) =
    -plan.grid_kw[t] >= problem.max_export_kw - TOLERANCE &&
    plan.grid_price[t] < problem.export_price[t] - TOLERANCE
grid_limit_has_price(problem, plan, t) =
    import_limit_has_price(problem, plan, t) || export_limit_has_price(problem, plan, t)

"What a kWh on the AC side saves when stored, and what it earns from the store, less wear."
charge_gain(battery::PlannedBattery, stored_value) = stored_value * battery.charge_efficiency
discharge_gain(battery::PlannedBattery, price) =
    (price - battery.wear_cost_per_kwh) * battery.discharge_efficiency

function why_charge(problem, plan, b, t, value, end_wants_more::Bool)
    battery, its = problem.batteries[b], plan.batteries[b]
    end_wants_more && return "FINAL_ENERGY"
    its.power_kw[t] >= battery.max_charge_kw - TOLERANCE &&
        charge_gain(battery, value.least[t]) > plan.grid_price[t] + TOLERANCE && return "POWER_LIMIT"
    grid_limit_has_price(problem, plan, t) && return "GRID_LIMIT"
    return plan.grid_kw[t] > TOLERANCE ? "CHARGE_FROM_GRID" : "CHARGE_FROM_SURPLUS"
end

function why_discharge(problem, plan, b, t, value, end_wants_less::Bool)
    battery, its = problem.batteries[b], plan.batteries[b]
    end_wants_less && return "FINAL_ENERGY"
    -its.power_kw[t] >= battery.max_discharge_kw - TOLERANCE &&
        discharge_gain(battery, plan.grid_price[t]) > value.most[t] + TOLERANCE && return "POWER_LIMIT"
    grid_limit_has_price(problem, plan, t) && return "GRID_LIMIT"
    return plan.grid_kw[t] < -TOLERANCE ? "DISCHARGE_TO_EXPORT" : "DISCHARGE_TO_LOAD"
end

function why_hold(problem, plan, b, t, value, end_wants_more::Bool)
    battery, its, price = problem.batteries[b], plan.batteries[b], plan.grid_price[t]
    its.energy_kwh[t] >= battery.max_kwh - TOLERANCE &&
        price <= charge_gain(battery, value.most[t]) + TOLERANCE && return "HOLD_FULL"
    its.energy_kwh[t] <= battery.min_kwh + TOLERANCE &&
        discharge_gain(battery, price) >= value.least[t] - TOLERANCE && return "HOLD_EMPTY"
    end_wants_more && return "FINAL_ENERGY"
    import_limit_has_price(problem, plan, t) &&
        problem.import_price[t] < charge_gain(battery, value.least[t]) - TOLERANCE &&
        return "GRID_LIMIT"
    export_limit_has_price(problem, plan, t) &&
        discharge_gain(battery, problem.export_price[t]) > value.most[t] + TOLERANCE &&
        return "GRID_LIMIT"
    return "HOLD_NO_GAIN"
end
