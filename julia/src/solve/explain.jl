# Why a battery does what it does: a reason a slot, from the plan and the prices behind it.

"A difference of prices below this decides nothing."
const PRICE_TOLERANCE = 1e-7

"""
    reasons(problem, plan, b) -> Vector{String}

One reason a slot for battery `b`, a word of the contract's `DispatchReason`. A limit is named only
where it decides, that is, where its shadow price says that the plan would do more without it.
"""
function reasons(problem::DispatchProblem, plan::DispatchPlan, b::Int)
    power_kw = plan.batteries[b].power_kw
    last_discharge = something(findlast(<(-POWER_TOLERANCE_KW), power_kw), 0)
    last_charge = something(findlast(>(POWER_TOLERANCE_KW), power_kw), 0)
    return map(1:slots(problem)) do t
        power_kw[t] > POWER_TOLERANCE_KW ? why_charge(problem, plan, b, t, t > last_discharge) :
        power_kw[t] < -POWER_TOLERANCE_KW ? why_discharge(problem, plan, b, t, t > last_charge) :
        why_hold(problem, plan, b, t, t > last_discharge)
    end
end

imports_at_limit(problem, plan, t) =
    plan.grid_kw[t] >= problem.max_import_kw - POWER_TOLERANCE_KW &&
    plan.grid_price[t] > problem.import_price[t] + PRICE_TOLERANCE
exports_at_limit(problem, plan, t) =
    plan.grid_kw[t] <= -problem.max_export_kw + POWER_TOLERANCE_KW &&
    plan.grid_price[t] < problem.export_price[t] - PRICE_TOLERANCE

function why_charge(problem, plan, b, t, is_kept::Bool)
    battery, its = problem.batteries[b], plan.batteries[b]
    imports_at_limit(problem, plan, t) && return "GRID_LIMIT"
    its.power_kw[t] >= battery.max_charge_kw - POWER_TOLERANCE_KW &&
        its.charge_limit_value[t] > PRICE_TOLERANCE && return "POWER_LIMIT"
    # Nothing that is stored from here on is used again: it is there for the end.
    is_kept && battery.final_kwh !== nothing && return "FINAL_ENERGY"
    return plan.grid_kw[t] > POWER_TOLERANCE_KW ? "CHARGE_FROM_GRID" : "CHARGE_FROM_SURPLUS"
end

function why_discharge(problem, plan, b, t, is_last::Bool)
    battery, its = problem.batteries[b], plan.batteries[b]
    exports_at_limit(problem, plan, t) && return "GRID_LIMIT"
    its.power_kw[t] <= -battery.max_discharge_kw + POWER_TOLERANCE_KW &&
        its.discharge_limit_value[t] > PRICE_TOLERANCE && return "POWER_LIMIT"
    loses = plan.grid_price[t] < battery.wear_cost_per_kwh - PRICE_TOLERANCE
    is_last && loses && battery.final_kwh !== nothing && return "FINAL_ENERGY"
    return plan.grid_kw[t] < -POWER_TOLERANCE_KW ? "DISCHARGE_TO_EXPORT" : "DISCHARGE_TO_LOAD"
end

function why_hold(problem, plan, b, t, is_kept::Bool)
    battery, its = problem.batteries[b], plan.batteries[b]
    energy_tolerance = POWER_TOLERANCE_KW * max(1.0, battery.max_kwh)
    its.energy_kwh[t] >= battery.max_kwh - energy_tolerance && return "HOLD_FULL"
    its.energy_kwh[t] <= battery.min_kwh + energy_tolerance && return "HOLD_EMPTY"
    value = its.marginal_value[t]
    charging_pays_at(price) = value * battery.charge_efficiency > price + PRICE_TOLERANCE
    discharging_pays_at(price) =
        price - battery.wear_cost_per_kwh > value / battery.discharge_efficiency + PRICE_TOLERANCE
    imports_at_limit(problem, plan, t) && charging_pays_at(problem.import_price[t]) &&
        return "GRID_LIMIT"
    exports_at_limit(problem, plan, t) && discharging_pays_at(problem.export_price[t]) &&
        return "GRID_LIMIT"
    # It could be sold now and is never used again: only the required end keeps it.
    is_kept && battery.final_kwh !== nothing &&
        plan.grid_price[t] > battery.wear_cost_per_kwh + PRICE_TOLERANCE && return "FINAL_ENERGY"
    return "HOLD_NO_GAIN"
end
