# What limits and energy are worth: the duals of a plan, in the words of the contract.

# A row's dual is ∂cost/∂(right-hand side): not positive where a row is an upper limit. A column's reduced
# cost is the same of the bound that it stands at.

"What one more unit of the right-hand side of an upper limit saves."
row_value(plan::DispatchPlan, row::Int) = row == 0 ? 0.0 : max(0.0, -plan.row_dual[row])

"What one more unit of a column's upper bound saves; nothing where a choice has put the bound to 0."
function bound_value(plan::DispatchPlan, column::Int, limit::Float64)
    low, high = plan.lp.lower[column], plan.lp.upper[column]
    is_limit = high >= limit && (low < high || high == 0)
    return is_limit ? max(0.0, -plan.reduced_cost[column]) : 0.0
end

"What one more kWh through a limit of the grid saves, by slot."
import_value(plan::DispatchPlan) = flow_value(plan, plan.site.grid.import_, plan.site.grid.import_limits,
    plan.site.problem.max_import_kw)
export_value(plan::DispatchPlan) = flow_value(plan, plan.site.grid.export_, plan.site.grid.export_limits,
    plan.site.problem.max_export_kw)

function flow_value(plan::DispatchPlan, columns::UnitRange{Int}, limits::Vector{FlowLimit},
        limit_kw::Vector{Float64})
    h = plan.site.problem.slot_h
    value = zeros(length(columns))
    for t in eachindex(value)
        value[t] = bound_value(plan, columns[t], limit_kw[t])
        for limit in limits
            value[t] += row_value(plan, row_at(limit.rows, t)) + row_value(plan, row_at(limit.reserve_rows, t))
        end
        value[t] /= h
    end
    return value
end

"What one kW more of reserve costs: in its own row and in the grid's."
function reserve_price(plan::DispatchPlan, required::UnitRange{Int}, limits::Vector{FlowLimit})
    price = zeros(length(required))
    for t in eachindex(price)
        price[t] = max(0.0, plan.row_dual[required[t]])
        for limit in limits
            price[t] += row_value(plan, row_at(limit.reserve_rows, t))
        end
    end
    return price
end

"What demand charges add to the price of a kWh imported, by slot."
function peak_price(plan::DispatchPlan)
    h = plan.site.problem.slot_h
    price = zeros(length(plan.grid_kw))
    for demand in plan.site.grid.demand_charges
        its = demand.intervals
        for t in eachindex(price)
            k = its.first[t]
            k == 0 && continue
            price[t] += row_value(plan, demand.row[k]) * its.first_h[t] / its.interval_h / h
            its.next_h[t] > 0 &&
                (price[t] += row_value(plan, demand.row[k+1]) * its.next_h[t] / its.interval_h / h)
        end
    end
    return price
end

"The price at an asset: what one more kWh that it draws in slot t costs."
function price_at(plan::DispatchPlan, meter::Meter, t::Int)
    price = 0.0
    for line in meter
        t <= line.slots && (price -= line.factor * plan.row_dual[line.first+t-1])
    end
    return price / plan.site.problem.slot_h
end

# --------------------------------------------------------------------------------- stored energy

"The smallest and the largest value of one stored kWh that the prices of the plan allow, by slot."
struct StoredValue
    least::Vector{Float64}     # μ⁻: what one kWh more saves
    most::Vector{Float64}      # μ⁺: what one kWh less costs
end

"""
    stored_value(plan, storage, price) -> StoredValue

At a kink many dual values are optimal and a solver returns any of them. Given the price at the storage
and its schedule, the optimal ones are bounded slot by slot by what charging and discharging would gain
[1–4], and tied to the next slot's by the energy limits that do not bind [5, 6]. Where energy is held as
reserve they are the solver's.
"""
function stored_value(plan::DispatchPlan, storage::Storage, price::Vector{Float64})
    battery, level, count = storage.battery, storage.level, length(storage.slots)
    solver_value = Float64[-plan.row_dual[row] for row in level.rows]
    isempty(storage.upward.power) && isempty(storage.downward.power) ||
        return StoredValue(solver_value, solver_value)
    lower, upper = fill(-Inf, count), fill(Inf, count)
    above_min, below_max = fill(false, count), fill(false, count)
    for i in 1:count
        charge_worth = price[i] / battery.charge_efficiency
        discharge_worth = (price[i] - battery.wear_cost_per_kwh) * battery.discharge_efficiency
        at_least, may_be_more = where_in_bounds(plan, storage.charge[i])
        at_least && (lower[i] = max(lower[i], charge_worth))             # [1]
        may_be_more && (upper[i] = min(upper[i], charge_worth))          # [2]
        at_least, may_be_more = where_in_bounds(plan, storage.discharge[i])
        may_be_more && (lower[i] = max(lower[i], discharge_worth))       # [3]
        at_least && (upper[i] = min(upper[i], discharge_worth))          # [4]
        low, high = energy_window(level, i)
        energy = plan.value[level.energy[i]]
        above_min[i] = energy > low + TOLERANCE                          # then μ[t] ≤ μ[t+1]: [5]
        below_max[i] = energy < high - TOLERANCE                         # then μ[t] ≥ μ[t+1]: [6]
    end
    return StoredValue(extreme(max, lower, below_max, above_min, solver_value),
        extreme(min, upper, above_min, below_max, solver_value))
end

"Whether a column is above its lower bound, and whether it is below its upper one."
function where_in_bounds(plan::DispatchPlan, column::Int)
    value = plan.value[column]
    return value > plan.lp.lower[column] + TOLERANCE, value < plan.lp.upper[column] - TOLERANCE
end

"The energy window of slot i; a point where the end gives way, so that it ties nothing."
function energy_window(level::Level, i::Int)
    window = level.window
    i < length(level.energy) && return window.min_kwh, window.max_kwh
    level.end_relief == 0 || return Inf, -Inf
    return max(window.min_kwh, window.least_at_end_kwh), min(window.max_kwh, window.most_at_end_kwh)
end

"""
Carry each slot's bound to those tied to it: backward where `backward[t]` ties slot t to the next,
forward where `forward[t]` does. Energy is worth 0 after the last slot. Slots that no bound reaches take
the solver's value as theirs.
"""
function extreme(tighter, bound, backward, forward, solver_value)
    value = carried(tighter, bound, backward, forward)
    all(isfinite, value) && return value
    bound = Float64[isfinite(value[t]) ? bound[t] : solver_value[t] for t in eachindex(bound)]
    return carried(tighter, bound, backward, forward)
end

function carried(tighter, bound, backward, forward)
    T = length(bound)
    back, fore = copy(bound), copy(bound)
    backward[T] && (back[T] = tighter(back[T], 0.0))
    for t in T-1:-1:1
        backward[t] && (back[t] = tighter(back[t], back[t+1]))
        forward[T-t] && (fore[T-t+1] = tighter(fore[T-t+1], fore[T-t]))
    end
    return Float64[tighter(back[t], fore[t]) for t in 1:T]
end

# ------------------------------------------------------------------------- the limits of an asset

"What one more kWh of capacity would save over the plan."
function capacity_value(plan::DispatchPlan, storage::Storage)
    level, total = storage.level, 0.0
    for (i, column) in enumerate(level.energy)
        is_end = i == length(level.energy) && isfinite(level.window.most_at_end_kwh)
        is_end || (total += bound_value(plan, column, level.window.max_kwh))
    end
    is_below(level) || foreach(row -> total += row_value(plan, row), level.window_rows)
    for row in Iterators.flatten((storage.downward.start_rows, storage.downward.end_rows))
        total += row_value(plan, row)
    end
    return total
end

charge_power_value(plan::DispatchPlan, storage::Storage) =
    power_value(plan, storage.charge, storage.battery.max_charge_power_kw, storage.downward)
discharge_power_value(plan::DispatchPlan, storage::Storage) =
    power_value(plan, storage.discharge, storage.battery.max_discharge_power_kw, storage.upward)

function power_value(plan::DispatchPlan, columns::UnitRange{Int}, limit_kw::Float64, held::HeldReserve)
    total = 0.0
    foreach(column -> total += bound_value(plan, column, limit_kw), columns)
    foreach(row -> total += row_value(plan, row), held.power_rows)
    return total
end

"What one more kWh of greatest output in a slot would save, by slot; nothing where it rests."
function output_value(plan::DispatchPlan, generator::Generator)
    count = generator.segment_count
    value = zeros(length(plan.grid_kw))
    for t in eachindex(value)
        rests = !isempty(generator.running) && plan.value[generator.running[t]] < 0.5
        rests && continue
        if count > 0
            column = segment(generator, t, count)
            value[t] += bound_value(plan, column, plan.lp.upper[column])
            value[t] += row_value(plan, row_at(generator.width_rows, t * count))
        end
        value[t] += row_value(plan, row_at(generator.upward_rows, t))
        value[t] /= plan.site.problem.slot_h
    end
    return value
end

"What one more kWh of available power in a slot would save, for curtailable plants."
function available_value(plan::DispatchPlan, plants::Plants)
    h = plan.site.problem.slot_h
    return Float64[(bound_value(plan, plants.used[t], plants.available_kw[t]) +
                    row_value(plan, row_at(plants.upward_rows, t))) / h for t in eachindex(plants.used)]
end
