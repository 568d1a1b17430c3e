# What the units that are on produce and hold in reserve, and what one more MW would cost.

"""
Powers in MW, one row a unit and one column a slot; prices per MWh, and per MW of reserve held for an
hour.
"""
struct FleetDispatch
    power_mw::Matrix{Float64}
    reserve_mw::Matrix{Float64}
    renewable_mw::Vector{Float64}
    energy_price::Vector{Float64}
    reserve_price::Vector{Float64}
end

"For the linear program that remains once the commitment is known, however late that is."
const DISPATCH_TIME_LIMIT_S = 60.0

"""
    economic_dispatch(fleet, on) -> FleetDispatch

The cheapest production of the units that are `on` (unit, slot). Only they have variables: the program
is a tenth of the one that decided the commitment. Throws `ContractError("SOLVER_FAILED")` where there
is none.
"""
function economic_dispatch(fleet::Fleet, on::BitMatrix)
    lp, T, h = LinearProgram(), slots(fleet), fleet.slot_h
    fixed = Float64[sum(Float64[unit.min_mw for (g, unit) in enumerate(fleet.units) if on[g, t]])
                    for t in 1:T]
    balance = Int[equation!(lp, fleet.demand_mw[t] - fixed[t]) for t in 1:T]
    held = Int[constraint!(lp, fleet.reserve_mw[t], Inf) for t in 1:T]
    renewable = Int[variable!(lp, fleet.min_renewable_mw[t], fleet.max_renewable_mw[t], 0.0,
                        (balance[t] => 1.0,)) for t in 1:T]
    columns = UnitDispatch[unit_dispatch!(lp, h, unit, view(on, g, :), balance, held)
                           for (g, unit) in enumerate(fleet.units)]
    solution = Highs.solve(lp; time_limit_s = DISPATCH_TIME_LIMIT_S, relative_gap = 0.0)
    solution.status == :optimal || throw(ContractError("SOLVER_FAILED", "",
        "no dispatch of the commitment was found: HiGHS says $(solution.status)"))
    power, reserve = zeros(size(on)), zeros(size(on))
    for (g, unit) in enumerate(fleet.units), t in 1:T
        on[g, t] || continue
        its = columns[g]
        above = sum(Float64[solution.value[column] for column in its.segment[t]])
        # Within the solver's tolerance of a limit is on it.
        above = clamp(above, 0.0, unit.range_mw)
        power[g, t] = unit.min_mw + above
        its.reserve[t] == 0 ||
            (reserve[g, t] = clamp(solution.value[its.reserve[t]], 0.0, unit.range_mw - above))
    end
    return FleetDispatch(power, reserve,
        clamp.(solution.value[renewable], fleet.min_renewable_mw, fleet.max_renewable_mw),
        solution.row_dual[balance] ./ h .+ 0.0, solution.row_dual[held] ./ h .+ 0.0)
end

"One unit's columns in each slot: none where it is off, no reserve where none is asked for."
struct UnitDispatch
    segment::Vector{Vector{Int}}
    reserve::Vector{Int}
end

function unit_dispatch!(lp::LinearProgram, h, unit::ThermalUnit, on, balance, held)
    T = length(on)
    was_on(t) = t == 1 ? unit.initially_on : on[t-1]
    none = zeros(Int, T)
    most, rise, fall = copy(none), copy(none), copy(none)
    for t in 1:T
        if on[t]        # power and reserve: less in the slot of a start, and in the one before a stop
            limit = was_on(t) ? unit.range_mw : min(unit.range_mw, unit.first_mw)
            t < T && !on[t+1] && (limit = min(limit, unit.last_mw))
            most[t] = at_most!(lp, limit)
            unit.ramp_up_mw < unit.range_mw && was_on(t) &&
                (rise[t] = at_most!(lp, unit.ramp_up_mw + (t == 1 ? unit.initial_mw : 0.0)))
        end
        # Whether it goes on or stops: what it falls from is bound by the ramp.
        unit.ramp_down_mw < unit.range_mw && t > 1 && on[t-1] && (fall[t] = at_most!(lp, unit.ramp_down_mw))
        t == 1 && on[t] && unit.initial_mw > unit.ramp_down_mw &&
            (fall[t] = at_most!(lp, unit.ramp_down_mw - unit.initial_mw))
    end
    next(rows, t) = t < T ? rows[t+1] : 0
    segment = Vector{Int}[on[t] ? Int[variable!(lp, 0.0, segment_width(unit, l),
                  h * cost_per_mwh(unit, l), (balance[t] => 1.0, most[t] => 1.0, rise[t] => 1.0,
                      next(rise, t) => -1.0, fall[t] => -1.0, next(fall, t) => 1.0))
              for l in 1:segment_count(unit)] : Int[] for t in 1:T]
    reserve = Int[on[t] ? variable!(lp, 0.0, unit.range_mw, 0.0,
                  (held[t] => 1.0, most[t] => 1.0, rise[t] => 1.0)) : 0 for t in 1:T]
    return UnitDispatch(segment, reserve)
end

at_most!(lp::LinearProgram, limit) = constraint!(lp, -Inf, limit)
