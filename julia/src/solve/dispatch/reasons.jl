# Why each asset does what it does in each slot: docs/compute/dispatch.md, "Reasons", line by line. A limit is
# named only where it has a price, that is, where the plan would do more without it.

"What reasons are judged by, for the whole site: values and prices by slot."
struct SitePrices
    import_value::Vector{Float64}
    export_value::Vector{Float64}
    peak::Vector{Float64}                # what demand charges add to a kWh imported
    upward_reserve::Vector{Float64}      # empty where none is asked for
    downward_reserve::Vector{Float64}
end

SitePrices(plan::DispatchPlan) = SitePrices(import_value(plan), export_value(plan), peak_price(plan),
    reserve_price(plan, plan.site.reserve.upward, plan.site.grid.export_limits),
    reserve_price(plan, plan.site.reserve.downward, plan.site.grid.import_limits))

"The same for one asset."
struct AssetPrices
    price::Vector{Float64}               # at the asset
    group_limit::Vector{Bool}            # whether a group limit has a price; empty in no group
    previous_kw::Vector{Float64}         # of the first slots; empty where the previous plan does not name it
    deviation::Vector{Float64}           # what the comparison with the previous plan adds to the price
end

function AssetPrices(plan::DispatchPlan, name::String, meter::Meter)
    site, h = plan.site, plan.site.problem.slot_h
    input, T = site.problem.input, slots(site.problem)
    group_limit = Bool[]
    for limit in site.group_limits
        name in input.groups[limit.group].members || continue
        isempty(group_limit) && (group_limit = fill(false, T))
        for t in 1:T
            group_limit[t] |= row_value(plan, limit.rows[t]) > TOLERANCE * h
        end
    end
    previous, deviation = Float64[], Float64[]
    for its in site.deviations
        its.name == name || continue
        previous = previous_kw(input, name)
        deviation = Float64[-plan.row_dual[row] / h for row in its.rows]
    end
    return AssetPrices(Float64[price_at(plan, meter, t) for t in 1:T], group_limit, previous, deviation)
end

import_has_price(site::SitePrices, t::Int) = site.import_value[t] > TOLERANCE
export_has_price(site::SitePrices, t::Int) = site.export_value[t] > TOLERANCE
grid_limit_has_price(site::SitePrices, t::Int) = import_has_price(site, t) || export_has_price(site, t)

"""
The reason that any asset may have, or nothing: a group's limit, a demand charge (`at_peak`: without it the
asset would draw more), held reserve, the previous plan.
"""
function common_reason(site::SitePrices, asset::AssetPrices, t::Int, power_kw::Float64, at_peak::Bool,
        holds_reserve::Bool)
    !isempty(asset.group_limit) && asset.group_limit[t] && return "GROUP_LIMIT"
    at_peak && site.peak[t] > TOLERANCE && return "PEAK_PRICE"
    holds_reserve && return "RESERVE"
    t <= length(asset.previous_kw) && abs(power_kw - asset.previous_kw[t]) <= TOLERANCE &&
        abs(asset.deviation[t]) > TOLERANCE && return "PREVIOUS_PLAN"
    return nothing
end

# ------------------------------------------------------------------------- batteries and vehicles

"""
    storage_reasons(plan, storage, site, asset, value, end_reason) -> Vector{String}

One reason for each slot of the storage. `end_reason` is what a requirement at the end is called.
"""
function storage_reasons(plan::DispatchPlan, storage::Storage, site::SitePrices, asset::AssetPrices,
        value::StoredValue, end_reason::String)
    kw, count = power_kw(plan.value, storage), length(storage.slots)
    last_discharge = something(findlast(<(-TOLERANCE), kw), 0)
    last_charge = something(findlast(>(TOLERANCE), kw), 0)
    # From here on no energy limit decides any more: what the end is worth is what energy is worth.
    level = something(findlast(i -> abs(value.least[i] - value.least[i+1]) > TOLERANCE, 1:count-1), 0) + 1
    end_price = isfinite(storage.level.window.least_at_end_kwh) ? value.least[count] : 0.0
    found = Vector{String}(undef, count)
    for i in 1:count
        wants_more = i >= level && i >= last_discharge && end_price > TOLERANCE
        wants_less = i >= level && i >= last_charge && end_price < -TOLERANCE
        found[i] = is_outside(plan, storage.level, i) ? "RECOVER" :
                   kw[i] > TOLERANCE ? why_charge(plan, storage, site, asset, value, kw[i], i, wants_more, end_reason) :
                   kw[i] < -TOLERANCE ? why_discharge(plan, storage, site, asset, value, kw[i], i, wants_less, end_reason) :
                   why_hold(plan, storage, site, asset, value, i, wants_more, end_reason)
    end
    return found
end

"Whether the energy was outside of its window when slot i began."
function is_outside(plan::DispatchPlan, level::Level, i::Int)
    isempty(level.outside) && return false
    return i == 1 || plan.value[level.outside[i-1]] > TOLERANCE
end

"What a kWh on the AC side saves when stored, and what it earns from the store, less wear."
charge_gain(battery::Battery, stored_value::Float64) = stored_value * battery.charge_efficiency
discharge_gain(battery::Battery, price::Float64) =
    (price - battery.wear_cost_per_kwh) * battery.discharge_efficiency

"Whether a limit of the battery's reserve has a price in slot t."
function reserve_has_price(plan::DispatchPlan, storage::Storage, t::Int)
    for held in (storage.upward, storage.downward)
        isempty(held.power) && continue
        row_value(plan, held.power_rows[t]) + row_value(plan, held.start_rows[t]) +
            row_value(plan, held.end_rows[t]) > TOLERANCE && return true
    end
    return false
end

function why_charge(plan, storage, site, asset, value, kw, i, wants_more, end_reason)
    battery, t = storage.battery, storage.slots[i]
    price, gain, is_full_power = asset.price[t], charge_gain(battery, value.least[i]),
    kw >= battery.max_charge_power_kw - TOLERANCE
    wants_more && return end_reason
    is_full_power && gain > price + TOLERANCE && return "POWER_LIMIT"
    grid_limit_has_price(site, t) && return "GRID_LIMIT"
    common = common_reason(site, asset, t, kw, !is_full_power && gain > price - site.peak[t] + TOLERANCE,
        reserve_has_price(plan, storage, t))
    common === nothing || return common
    return plan.grid_kw[t] > TOLERANCE ? "CHARGE_FROM_GRID" : "CHARGE_FROM_SURPLUS"
end

function why_discharge(plan, storage, site, asset, value, kw, i, wants_less, end_reason)
    battery, t = storage.battery, storage.slots[i]
    price = asset.price[t]
    wants_less && return end_reason
    -kw >= battery.max_discharge_power_kw - TOLERANCE &&
        discharge_gain(battery, price) > value.most[i] + TOLERANCE && return "POWER_LIMIT"
    grid_limit_has_price(site, t) && return "GRID_LIMIT"
    common = common_reason(site, asset, t, kw,
        discharge_gain(battery, price - site.peak[t]) < value.least[i] - TOLERANCE,
        reserve_has_price(plan, storage, t))
    common === nothing || return common
    return plan.grid_kw[t] < -TOLERANCE ? "DISCHARGE_TO_EXPORT" : "DISCHARGE_TO_LOAD"
end

function why_hold(plan, storage, site, asset, value, i, wants_more, end_reason)
    battery, t = storage.battery, storage.slots[i]
    window, problem = storage.level.window, plan.site.problem
    price, energy = asset.price[t], plan.value[storage.level.energy[i]]
    gain = charge_gain(battery, value.least[i])
    energy >= window.max_kwh - TOLERANCE &&
        price <= charge_gain(battery, value.most[i]) + TOLERANCE && return "HOLD_FULL"
    energy <= window.min_kwh + TOLERANCE &&
        discharge_gain(battery, price) >= value.least[i] - TOLERANCE && return "HOLD_EMPTY"
    wants_more && return end_reason
    import_has_price(site, t) && problem.import_price[t] < gain - TOLERANCE && return "GRID_LIMIT"
    export_has_price(site, t) &&
        discharge_gain(battery, problem.export_price[t]) > value.most[i] + TOLERANCE && return "GRID_LIMIT"
    common = common_reason(site, asset, t, 0.0, gain > price - site.peak[t] + TOLERANCE,
        reserve_has_price(plan, storage, t))
    return something(common, "HOLD_NO_GAIN")
end

# ---------------------------------------------------------------------------------------------- PV

function pv_reason(site::SitePrices, asset::AssetPrices, t::Int, power_kw::Float64, available_kw::Float64)
    available_kw - power_kw <= TOLERANCE && return "FULL_OUTPUT"
    export_has_price(site, t) && return "GRID_LIMIT"
    is_reserve = !isempty(site.upward_reserve) && site.upward_reserve[t] > TOLERANCE
    return something(common_reason(site, asset, t, -power_kw, false, is_reserve), "CURTAIL_PRICE")
end

# -------------------------------------------------------------------------------- flexible loads

"`cost` is what one more kWh within the window costs."
function flexible_load_reasons(plan::DispatchPlan, load::FlexibleLoad, its::DispatchFlexibleLoad,
        site::SitePrices, asset::AssetPrices, cost::Float64)
    found = fill("OUTSIDE", slots(plan.site.problem))
    has_no_choice = its.energy_kwh >=
        plan.site.problem.slot_h * its.max_power_kw * length(load.slots) - TOLERANCE
    for (i, t) in enumerate(load.slots)
        kw, price = plan.value[load.power[i]], asset.price[t]
        is_full_power = kw >= its.max_power_kw - TOLERANCE
        common = common_reason(site, asset, t, kw,
            !is_full_power && cost > price - site.peak[t] + TOLERANCE, false)
        found[t] = has_no_choice ? "NO_CHOICE" :
            kw > TOLERANCE ?
            (is_full_power && price < cost - TOLERANCE ? "POWER_LIMIT" : something(common, "CHEAPEST")) :
            import_has_price(site, t) ? "GRID_LIMIT" : something(common, "DEARER")
    end
    return found
end

# ----------------------------------------------------------------------------------- heat pumps

function heat_pump_reasons(plan::DispatchPlan, pump::HeatPump, its::DispatchHeatPump, site::SitePrices,
        asset::AssetPrices, value::Vector{Float64})
    found = Vector{String}(undef, slots(plan.site.problem))
    for t in eachindex(found)
        kw, price, heat_worth = plan.value[pump.power[t]], asset.price[t], its.cop[t] * value[t]
        energy = plan.value[pump.level.energy[t]]
        is_full_power = kw >= its.max_power_kw - TOLERANCE
        common = common_reason(site, asset, t, kw,
            !is_full_power && heat_worth > price - site.peak[t] + TOLERANCE, false)
        found[t] = kw > TOLERANCE ?
            (is_outside(plan, pump.level, t) ? "RECOVER" :
             is_full_power && price < heat_worth - TOLERANCE ? "POWER_LIMIT" :
             energy <= its.tank.min_energy_kwh + TOLERANCE ? "HEAT_DEMAND" : something(common, "CHEAPEST")) :
            energy >= its.tank.max_energy_kwh - TOLERANCE ? "HOLD_FULL" : something(common, "DEARER")
    end
    return found
end

# ----------------------------------------------------------------------------------- generators

"What a kWh of the segment that the power lies in costs, CO₂ included."
function marginal_cost(its::DispatchGenerator, power_kw::Float64, co2_price::Float64)
    for item in its.cost_segments
        power_kw < item.up_to_power_kw - TOLERANCE && return item.cost_per_kwh + co2_price
    end
    return its.cost_segments[end].cost_per_kwh + co2_price
end

"What a kWh costs at least, with fuel, no-load and CO₂, but without the start."
function least_mean_cost(its::DispatchGenerator, co2_price::Float64)
    least, fuel, from = Inf, its.no_load_cost_per_h, 0.0
    for item in its.cost_segments
        fuel += item.cost_per_kwh * (item.up_to_power_kw - from)
        from = item.up_to_power_kw
        from >= its.min_power_kw && (least = min(least, fuel / from))
    end
    return least + co2_price
end

function generator_reasons(plan::DispatchPlan, generator::Generator, its::DispatchGenerator, site::SitePrices,
        asset::AssetPrices, power_kw::Vector{Float64}, running::Vector{Float64})
    problem, T = plan.site.problem, slots(plan.site.problem)
    input, h = problem.input, problem.slot_h
    emissions = input.emissions
    co2_price = emissions === nothing ? 0.0 : emissions.price_per_kg * its.co2_kg_per_kwh
    up_slots, down_slots = slots_of(its.min_up_duration_s, input), slots_of(its.min_down_duration_s, input)
    mean_cost = least_mean_cost(its, co2_price)
    # Slots since it last started or stopped; before the start it has been so for `initial_duration_s`.
    since = fld(its.initial_duration_s, input.slot_duration_s)
    was_running = its.initially_running
    found = Vector{String}(undef, T)
    for t in 1:T
        is_running = running[t] > 0.5
        is_running == was_running || (since = 0)
        since += 1
        was_running = is_running
        kw, price = power_kw[t], asset.price[t]
        if is_running
            its_cost = marginal_cost(its, kw, co2_price)
            is_dear = price < its_cost - TOLERANCE
            ramp = row_value(plan, row_at(generator.ramp_up_rows, t)) +
                   row_value(plan, row_at(generator.ramp_down_rows, t))
            t < T && (ramp += row_value(plan, row_at(generator.ramp_up_rows, t + 1)) +
                              row_value(plan, row_at(generator.ramp_down_rows, t + 1)))
            found[t] = ramp > TOLERANCE * h ? "RAMP_LIMIT" :
                kw >= its.max_power_kw - TOLERANCE && price > its_cost + TOLERANCE ? "POWER_LIMIT" :
                is_dear && since <= up_slots ? "MIN_UP" :
                is_dear && kw <= its.min_power_kw + TOLERANCE ? "MIN_POWER" :
                something(common_reason(site, asset, t, -kw, price - site.peak[t] < its_cost - TOLERANCE,
                    generator_reserve_has_price(plan, generator, t)), "CHEAPER_THAN_GRID")
        else
            pays = price > mean_cost + TOLERANCE
            found[t] = pays && since <= down_slots ? "MIN_DOWN" : pays ? "START_COST" :
                something(common_reason(site, asset, t, 0.0, false, false), "DEARER_THAN_GRID")
        end
    end
    return found
end

generator_reserve_has_price(plan::DispatchPlan, generator::Generator, t::Int) =
    row_value(plan, row_at(generator.upward_rows, t)) > TOLERANCE
