# Why a unit is on or off in a slot: docs/compute/unit-commitment.md, "Reasons".

"In MW, or relative to what a slot at full power costs: less than this is nothing."
const MARGIN_TOLERANCE = 1e-6

"What a unit earns less what it costs, slot by slot: by energy alone, with its reserve, and at best."
struct Margins
    energy::Vector{Float64}
    with_reserve::Vector{Float64}
    best::Vector{Float64}       # at whichever power earns most in this slot alone
    tolerance::Float64
end

"One reason of the contract a slot, for each unit."
function unit_reasons(fleet::Fleet, on::BitMatrix, dispatch::FleetDispatch)
    able = able_mw(fleet, on)
    spare_mw = fleet.max_renewable_mw .+ vec(sum(able; dims = 1)) .- fleet.demand_mw .- fleet.reserve_mw
    return Vector{String}[unit_reasons(unit, fleet.slot_h, on[g, :], margins(fleet, unit, dispatch, g),
                              able[g, :] .> spare_mw .+ MARGIN_TOLERANCE, dispatch.power_mw[g, :])
                          for (g, unit) in enumerate(fleet.units)]
end

function unit_reasons(unit::ThermalUnit, h, on::BitVector, its::Margins, needed, power_mw)
    above_before(t) = t == 1 ? unit.initial_mw : power_mw[t-1] - unit.min_mw
    too_high(t) = above_before(t) > last_power_mw(unit) + MARGIN_TOLERANCE
    return String[on[t] ? why_on(unit, h, on, t, its, needed[t], too_high(t)) :
                  why_off(unit, h, on, t, its) for t in eachindex(on)]
end

"The most that each unit can give in a slot, power and reserve together; 0 where it is off."
function able_mw(fleet::Fleet, on::BitMatrix)
    able, T = zeros(size(on)), slots(fleet)
    for (g, unit) in enumerate(fleet.units), t in 1:T
        on[g, t] || continue
        above = (t == 1 ? unit.initially_on : on[g, t-1]) ? unit.range_mw : unit.first_mw
        t < T && !on[g, t+1] && (above = min(above, unit.last_mw))
        able[g, t] = unit.min_mw + above
    end
    return able
end

function margins(fleet::Fleet, unit::ThermalUnit, dispatch::FleetDispatch, g::Int)
    h, T = fleet.slot_h, slots(fleet)
    energy, with_reserve, best = zeros(T), zeros(T), zeros(T)
    for t in 1:T
        energy_price, reserve_price = dispatch.energy_price[t], dispatch.reserve_price[t]
        power_mw = dispatch.power_mw[g, t]
        energy[t] = h * (energy_price * power_mw - cost_per_h(unit, power_mw - unit.min_mw))
        with_reserve[t] = energy[t] + h * reserve_price * dispatch.reserve_mw[g, t]
        # What is best stands at a corner of the cost curve; what is not produced can be held.
        best[t] = maximum(Float64[h * (energy_price * (unit.min_mw + mw) + reserve_price *
            min(unit.range_mw - mw, unit.ramp_up_mw) - cost)
                                  for (mw, cost) in zip(unit.point_mw, unit.point_cost_per_h)])
    end
    return Margins(energy, with_reserve, best,
        MARGIN_TOLERANCE * max(1.0, h * maximum(abs.(unit.point_cost_per_h))))
end

function why_on(unit::ThermalUnit, h, on::BitVector, t, its::Margins, needed::Bool, too_high::Bool)
    unit.must_run && return "MUST_RUN"
    its.energy[t] >= -its.tolerance && return "ECONOMIC"
    its.with_reserve[t] >= -its.tolerance && return "RESERVE"
    needed && return "CAPACITY"
    is_held(unit, on, t, unit.min_up) && return "MIN_UP_TIME"
    too_high && return "SHUTDOWN_LIMIT"
    losing = run_around(s -> on[s] && its.with_reserve[s] < -its.tolerance, t, length(on))
    if last(losing) < length(on) && on[last(losing)+1]      # afterwards it is on for its own sake
        length(losing) < unit.min_down && return "MIN_DOWN_TIME"
        restart = startup_cost_after(unit, length(losing) * h)
        -sum(its.with_reserve[losing]) <= restart + its.tolerance && return "STARTUP_COST"
    end
    return "SYSTEM_COST"
end

function why_off(unit::ThermalUnit, h, on::BitVector, t, its::Margins)
    its.best[t] <= its.tolerance && return "UNECONOMIC"
    is_held(unit, on, t, unit.min_down) && return "MIN_DOWN_TIME"
    paying = run_around(s -> !on[s] && its.best[s] > its.tolerance, t, length(on))
    off = run_around(s -> !on[s], first(paying), length(on))
    before_h = first(off) == 1 && !unit.initially_on ? unit.initial_h : 0.0
    restart = startup_cost_after(unit, before_h + (first(paying) - first(off)) * h)
    sum(its.best[paying]) <= restart && return "STARTUP_COST"
    return length(paying) < unit.min_up ? "MIN_UP_TIME" : "SYSTEM_COST"
end

"Whether the unit must keep the state that it has in a slot, because it has had it for so short a time."
function is_held(unit::ThermalUnit, on::BitVector, t, at_least)
    same = run_around(s -> on[s] == on[t], t, length(on))
    first(same) == 1 && on[1] == unit.initially_on && return t <= unit.held
    return t - first(same) < at_least
end

"The slots around `t`, without a gap, for which `holds`; it does for `t`."
function run_around(holds, t, T)
    from, to = t, t
    while from > 1 && holds(from - 1)
        from -= 1
    end
    while to < T && holds(to + 1)
        to += 1
    end
    return from:to
end
