# Unit commitment in the words of docs/compute/unit-commitment.md. Powers in MW, generation positive;
# times and ramps count in slots, numbered from 1 here.

"A thermal unit. What does not limit it is no greater than it must be, so that every limit is finite."
struct ThermalUnit
    must_run::Bool
    min_mw::Float64
    range_mw::Float64           # how much more than its minimum it can produce
    ramp_up_mw::Float64         # from slot to slot, of power above minimum
    ramp_down_mw::Float64
    first_mw::Float64           # power above minimum, and reserve, in the slot of a start
    last_mw::Float64            # the same in the slot before a stop
    min_up::Int                 # slots, at least 1
    min_down::Int
    initially_on::Bool
    initial_mw::Float64         # power above minimum before the first slot; 0 when off
    initial_h::Float64          # how long it has been on, or off
    held::Int                   # how many first slots it must stay as it is
    category_from_h::Vector{Float64}
    category_cost::Vector{Float64}
    point_mw::Vector{Float64}   # of the cost curve, above minimum
    point_cost_per_h::Vector{Float64}
end

"""
All that a commitment is made for. Renewable power costs nothing, so that only its sum matters: between
`min_renewable_mw` and `max_renewable_mw`.
"""
struct Fleet
    slot_h::Float64
    demand_mw::Vector{Float64}
    reserve_mw::Vector{Float64}
    min_renewable_mw::Vector{Float64}
    max_renewable_mw::Vector{Float64}
    units::Vector{ThermalUnit}
end

slots(fleet::Fleet) = length(fleet.demand_mw)

"Hours are compared to this, in hours."
const HOURS_TOLERANCE = 1e-9

"Hours as slots, rounded up; 0 for none and for negative ones."
whole_slots(hours, slot_h) = max(0, ceil(Int, (hours - HOURS_TOLERANCE) / slot_h))

"Which start-up category counts after so many hours off; the first one also for less than it asks."
category_after(unit::ThermalUnit, off_h) =
    max(1, searchsortedlast(unit.category_from_h, off_h + HOURS_TOLERANCE))

startup_cost_after(unit::ThermalUnit, off_h) = unit.category_cost[category_after(unit, off_h)]

"Power above minimum before a stop: what binds power and reserve together, and the ramp for power alone."
last_power_mw(unit::ThermalUnit) = min(unit.last_mw, unit.ramp_down_mw)

segment_count(unit::ThermalUnit) = length(unit.point_mw) - 1
segment_width(unit::ThermalUnit, l) = unit.point_mw[l+1] - unit.point_mw[l]
cost_per_mwh(unit::ThermalUnit, l) =
    (unit.point_cost_per_h[l+1] - unit.point_cost_per_h[l]) / segment_width(unit, l)

"Cost of an hour at a power above minimum."
function cost_per_h(unit::ThermalUnit, above_mw::Float64)
    cost = unit.point_cost_per_h[1]
    for l in 1:segment_count(unit)
        within = min(above_mw - unit.point_mw[l], segment_width(unit, l))
        within > 0 && (cost += within * cost_per_mwh(unit, l))
    end
    return cost
end

# ------------------------------------------------------------------------------------ formulation

"Where one unit's variables stand, one a slot; `segment[l, t]` is power in a piece of the cost curve."
struct UnitColumns
    on::Vector{Int}
    start::Vector{Int}
    stop::Vector{Int}
    segment::Matrix{Int}
    reserve::Vector{Int}
end

"The mixed-integer program. Slack has columns in an elastic program only."
struct FleetProgram
    program::RowProgram
    units::Vector{UnitColumns}
    missing_power::Vector{Int}
    surplus_power::Vector{Int}
    missing_reserve::Vector{Int}
end

"Where not both can be had, demand is met before reserve is held."
const MISSING_DEMAND_WEIGHT = 10.0

"""
    formulate(fleet; elastic = false) -> FleetProgram

The tight formulation of docs/compute/unit-commitment.md. An elastic one always has a plan, and costs
what is missing instead of money.
"""
function formulate(fleet::Fleet; elastic::Bool = false)
    p, T = RowProgram(), slots(fleet)
    units = UnitColumns[unit_columns!(p, fleet, unit, elastic ? 0.0 : 1.0) for unit in fleet.units]
    slack(weight) = Int[variable!(p, 0.0, Inf, weight) for _ in 1:(elastic ? T : 0)]
    missing_power, surplus_power = slack(MISSING_DEMAND_WEIGHT), slack(MISSING_DEMAND_WEIGHT)
    missing_reserve = slack(1.0)
    for t in 1:T
        balance = constraint!(p, fleet.demand_mw[t], fleet.demand_mw[t])
        held = constraint!(p, fleet.reserve_mw[t], Inf)
        term!(p, balance, variable!(p, fleet.min_renewable_mw[t], fleet.max_renewable_mw[t], 0.0), 1.0)
        for (unit, its) in zip(fleet.units, units)
            term!(p, balance, its.on[t], unit.min_mw)
            power!(p, balance, its, t, 1.0)
            term!(p, held, its.reserve[t], 1.0)
        end
        if elastic
            term!(p, balance, missing_power[t], 1.0)
            term!(p, balance, surplus_power[t], -1.0)
            term!(p, held, missing_reserve[t], 1.0)
        end
    end
    return FleetProgram(p, units, missing_power, surplus_power, missing_reserve)
end

"Add the power above minimum of a slot to a row."
power!(p, row, its::UnitColumns, t, coefficient) =
    foreach(l -> term!(p, row, its.segment[l, t], coefficient), 1:size(its.segment, 1))

at_most!(p, limit) = constraint!(p, -Inf, limit)

function unit_columns!(p::RowProgram, fleet::Fleet, unit::ThermalUnit, money::Float64)
    T, h = slots(fleet), fleet.slot_h
    is_held(t) = t <= unit.held
    on = Int[variable!(p, unit.must_run || (unit.initially_on && is_held(t)) ? 1.0 : 0.0,
                 !unit.initially_on && is_held(t) ? 0.0 : 1.0, money * h * unit.point_cost_per_h[1];
                 is_integer = true) for t in 1:T]
    start = Int[variable!(p, 0.0, 1.0, money * unit.category_cost[end]; is_integer = true)
                for _ in 1:T]
    # In the first slot it may be off only where its power before lets it.
    stop = Int[variable!(p, 0.0, t == 1 && unit.initial_mw > last_power_mw(unit) ? 0.0 : 1.0, 0.0;
                   is_integer = true) for t in 1:T]
    segment = Int[variable!(p, 0.0, segment_width(unit, l), money * h * cost_per_mwh(unit, l))
                  for l in 1:segment_count(unit), _ in 1:T]
    reserve = Int[variable!(p, 0.0, fleet.reserve_mw[t] > 0 ? unit.range_mw : 0.0, 0.0) for t in 1:T]
    its = UnitColumns(on, start, stop, segment, reserve)
    logic!(p, unit, its)
    startup_costs!(p, unit, its, h, money)
    segment_limits!(p, unit, its)
    power_limits!(p, unit, its)
    ramps!(p, unit, its)
    return its
end

"What on, start and stop have to do with each other; minimum up and down times."
function logic!(p, unit::ThermalUnit, its::UnitColumns)
    for t in eachindex(its.on)
        before = t == 1 ? Float64(unit.initially_on) : 0.0
        change = constraint!(p, before, before)
        term!(p, change, its.on[t], 1.0)
        t > 1 && term!(p, change, its.on[t-1], -1.0)
        term!(p, change, its.start[t], -1.0)
        term!(p, change, its.stop[t], 1.0)
        stays_on, stays_off = at_most!(p, 0.0), at_most!(p, 1.0)
        term!(p, stays_on, its.on[t], -1.0)
        foreach(s -> term!(p, stays_on, its.start[s], 1.0), max(1, t - unit.min_up + 1):t)
        term!(p, stays_off, its.on[t], 1.0)
        foreach(s -> term!(p, stays_off, its.stop[s], 1.0), max(1, t - unit.min_down + 1):t)
    end
end

"""
A start costs as when cold, less what it saves to be matched with a recent stop, or with being off
before the first slot. A stop is matched once, and so is a start.
"""
function startup_costs!(p, unit::ThermalUnit, its::UnitColumns, h, money)
    T = length(its.on)
    saving(off_h) = unit.category_cost[end] - startup_cost_after(unit, off_h)
    by_start = Int[matches!(p, its.start[t]) for t in 1:T]
    by_stop = Int[matches!(p, its.stop[t]) for t in 1:T]
    for off in unit.min_down:T-1
        saving(off * h) > 0 || break
        for t in off+1:T
            match = variable!(p, 0.0, 1.0, -money * saving(off * h))
            term!(p, by_start[t], match, 1.0)
            term!(p, by_stop[t-off], match, 1.0)
        end
    end
    unit.initially_on && return nothing
    once = at_most!(p, 1.0)
    for t in 1:T
        saved = saving(unit.initial_h + (t - 1) * h)
        saved > 0 || break
        match = variable!(p, 0.0, 1.0, -money * saved)
        term!(p, by_start[t], match, 1.0)
        term!(p, once, match, 1.0)
    end
end

function matches!(p, event)
    row = at_most!(p, 0.0)
    term!(p, row, event, -1.0)
    return row
end

"Each piece of the cost curve, tighter right after a start and before a stop."
function segment_limits!(p, unit::ThermalUnit, its::UnitColumns)
    T = length(its.on)
    for l in 1:segment_count(unit)
        width = segment_width(unit, l)
        beyond(limit) = clamp(unit.point_mw[l+1] - limit, 0.0, width)
        first, last = beyond(unit.first_mw), beyond(last_power_mw(unit))
        # A start and a stop may both touch a slot where one is enough: then the greater one counts.
        limits = unit.min_up > 1 ? ((first, last),) :
                 ((first, max(last - first, 0.0)), (max(first - last, 0.0), last))
        for t in 1:T, (at_start, at_stop) in limits
            row = at_most!(p, 0.0)
            term!(p, row, its.segment[l, t], 1.0)
            term!(p, row, its.on[t], -width)
            term!(p, row, its.start[t], at_start)
            t < T && term!(p, row, its.stop[t+1], at_stop)
        end
    end
end

"Power and reserve up to the maximum, less after starts and before stops."
function power_limits!(p, unit::ThermalUnit, its::UnitColumns)
    T, most = length(its.on), unit.range_mw
    first, last = most - unit.first_mw, most - unit.last_mw
    if unit.min_up == 1
        for t in 1:T, (at_start, at_stop) in
                ((first, max(last - first, 0.0)), (max(first - last, 0.0), last))
            row = power_and_reserve!(p, unit, its, t)
            term!(p, row, its.start[t], at_start)
            t < T && term!(p, row, its.stop[t+1], at_stop)
        end
        return nothing
    end
    # How far below the maximum the ramp keeps the unit, slot by slot after a start or before a stop.
    rising = lacking(unit, unit.first_mw, unit.ramp_up_mw)
    falling = lacking(unit, last_power_mw(unit), unit.ramp_down_mw)
    # A stop can share a row with starts that are less than the minimum up time ago, with no others.
    sharing = min(length(rising), unit.min_up - 1)
    for t in 1:T
        row = power_and_reserve!(p, unit, its, t)
        after_start!(p, row, its, t, rising, sharing)
        t < T && term!(p, row, its.stop[t+1], last)
        length(rising) > sharing &&
            after_start!(p, power_and_reserve!(p, unit, its, t), its, t, rising, length(rising))
        if length(falling) > 1          # ramping down binds power only
            row = at_most!(p, 0.0)
            power!(p, row, its, t, 1.0)
            term!(p, row, its.on[t], -most)
            for (ahead, less) in enumerate(falling)
                t + ahead <= T && term!(p, row, its.stop[t+ahead], less)
            end
            length(falling) < unit.min_up && term!(p, row, its.start[t], first)
        end
    end
end

"How much of its range a unit lacks, from slot to slot, while it ramps away from a power."
lacking(unit::ThermalUnit, from_mw, ramp_mw) =
    Float64[unit.range_mw - from_mw - k * ramp_mw for k in 0:unit.min_up-1
            if unit.range_mw - from_mw - k * ramp_mw > 0]

function power_and_reserve!(p, unit::ThermalUnit, its::UnitColumns, t)
    row = at_most!(p, 0.0)
    power!(p, row, its, t, 1.0)
    term!(p, row, its.reserve[t], 1.0)
    term!(p, row, its.on[t], -unit.range_mw)
    return row
end

after_start!(p, row, its::UnitColumns, t, less, count) =
    foreach(ago -> term!(p, row, its.start[t-ago], less[ago+1]), 0:min(count, t)-1)

"How fast power above minimum rises and falls. What no ramp limits has no rows."
function ramps!(p, unit::ThermalUnit, its::UnitColumns)
    up, down = unit.ramp_up_mw, unit.ramp_down_mw
    for t in eachindex(its.on)
        if up < unit.range_mw
            row = at_most!(p, t == 1 ? unit.initial_mw : 0.0)
            power!(p, row, its, t, 1.0)
            term!(p, row, its.reserve[t], 1.0)
            t > 1 && power!(p, row, its, t - 1, -1.0)
            term!(p, row, its.on[t], -up)
            term!(p, row, its.start[t], up - unit.first_mw)
        end
        if down < unit.range_mw
            row = at_most!(p, t == 1 ? down * unit.initially_on - unit.initial_mw : 0.0)
            power!(p, row, its, t, -1.0)
            t > 1 && power!(p, row, its, t - 1, 1.0)
            t > 1 && term!(p, row, its.on[t-1], -down)
            term!(p, row, its.stop[t], down - last_power_mw(unit))
        end
    end
end
