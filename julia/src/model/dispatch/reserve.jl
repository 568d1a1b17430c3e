# Reserve: power that the site can change by at any time.

"What is asked for in each slot, or nothing; `direction` is `:upward` or `:downward`."
function reserve_kw(problem::DispatchProblem, direction::Symbol)
    reserve = problem.input.reserve
    reserve === nothing && return nothing
    return direction == :upward ? reserve.upward_power_kw : reserve.downward_power_kw
end

"The rows `Σ reserve ≥ required` of both directions."
function reserve_rows!(draft::Draft)
    upward, downward = reserve_kw(draft.problem, :upward), reserve_kw(draft.problem, :downward)
    draft.reserve = ReserveRows(at_least!(draft.lp, upward), at_least!(draft.lp, downward), 0, 0)
    return nothing
end

at_least!(::LinearProgram, ::Nothing) = 1:0
function at_least!(lp::LinearProgram, required::Vector{Float64})
    rows = constraints!(lp, length(required), 0.0, Inf)
    lp.row_lower[rows] = required
    return rows
end

"The columns by which required reserve gives way, in its own rows and in the grid's."
function reserve_relief!(draft::Draft, import_limits::Vector{FlowLimit}, export_limits::Vector{FlowLimit})
    its = draft.reserve
    draft.reserve = ReserveRows(its.upward, its.downward,
        reserve_relief!(draft, :upward_reserve, its.upward, export_limits),
        reserve_relief!(draft, :downward_reserve, its.downward, import_limits))
    return nothing
end

function reserve_relief!(draft::Draft, kind::Symbol, rows::UnitRange{Int}, limits::Vector{FlowLimit})
    relief = relief!(draft, LimitId(kind, 0, 0))
    relief == 0 && return 0
    foreach(row -> term!(draft.lp, row, 1.0), rows)
    for limit in limits
        foreach(row -> term!(draft.lp, row, -1.0), limit.reserve_rows)
    end
    return relief
end

"""
What a battery holds back in one direction: its columns in kW, and the rows that limit it by power and by
the energy at the start and at the end of each slot. All empty where none is asked for.
"""
struct HeldReserve
    power::UnitRange{Int}
    power_rows::UnitRange{Int}
    start_rows::UnitRange{Int}
    end_rows::UnitRange{Int}
end

const NO_RESERVE = HeldReserve(1:0, 1:0, 1:0, 1:0)

"""
    upward      reserve ≤ D − discharge + charge      reserve · hours/η⁻ ≤ energy − min
    downward    reserve ≤ C − charge + discharge      reserve · hours·η⁺ ≤ max − energy

`kwh_per_kw` is the factor of the energy rows, `energy_limit` their right-hand side, `room_kwh` what is
left of it before the first slot. What stands on the right is added with the columns of the battery.

Energy outside of the window is no reserve. Where the battery starts there, a binary i says that it is
inside at the end of a slot:

    reserve · … ≤ energy − min + 2 · distance (1 − i),   reserve ≤ (D + C + 1) i     at both ends of a slot
"""
function held_reserve!(draft::Draft, required::UnitRange{Int}, battery::Battery, most_kw::Float64, kwh_per_kw::Float64,
        energy_limit::Float64, room_kwh::Float64)
    isempty(required) && return NO_RESERVE
    lp, count = draft.lp, length(required)
    # Twice the distance: a row that is off binds nothing, and takes no part in the duals.
    distance = room_kwh < -INSIDE_KWH ? -2 * room_kwh : 0.0
    power_rows = constraints!(lp, count, -Inf, most_kw)
    start_rows = constraints!(lp, count, -Inf, energy_limit + distance)
    end_rows = constraints!(lp, count, -Inf, energy_limit + distance)
    lp.row_upper[start_rows[1]] = max(0.0, room_kwh)
    gates = distance == 0 ? (1:0, 1:0) : (constraints!(lp, count, -Inf, 0.0), constraints!(lp, count, -Inf, 0.0))
    first = column_count(lp) + 1
    for t in 1:count
        variable!(draft, 0.0, Inf, 0.0)
        term!(lp, required[t], 1.0)
        term!(lp, power_rows[t], 1.0)
        term!(lp, start_rows[t], kwh_per_kw)
        term!(lp, end_rows[t], kwh_per_kw)
        foreach(gate -> term!(lp, row_at(gate, t), 1.0), gates)
    end
    held = HeldReserve(first:column_count(lp), power_rows, start_rows, end_rows)
    distance == 0 && return held
    most_kw = battery.max_discharge_power_kw + battery.max_charge_power_kw + 1.0
    for t in 1:count
        binary!(draft, 0.0)
        term!(lp, end_rows[t], distance)
        term!(lp, gates[1][t], -most_kw)
        t == count && continue
        term!(lp, start_rows[t+1], distance)
        term!(lp, gates[2][t+1], -most_kw)
    end
    # Before the first slot it is outside.
    lp.lower[first] = lp.upper[first] = 0.0
    return held
end

"One column of reserve a slot, counted in the site's rows and in `own` rows; empty without."
function reserve_columns!(draft::Draft, required::UnitRange{Int}, own::UnitRange{Int})
    first = column_count(draft.lp) + 1
    for t in 1:length(required)
        variable!(draft, 0.0, Inf, 0.0)
        term!(draft.lp, required[t], 1.0)
        term!(draft.lp, own[t], 1.0)
    end
    return first:column_count(draft.lp)
end
