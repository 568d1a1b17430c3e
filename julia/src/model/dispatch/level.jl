# The level of a store: a battery, a vehicle while it stays, the tank of a heat pump.

"What a store's energy must keep: a window in every slot, and what the end of the last slot asks for."
struct Window
    min_kwh::Float64
    max_kwh::Float64
    least_at_end_kwh::Float64        # −Inf where nothing is asked for
    most_at_end_kwh::Float64         # Inf likewise
    end_limit::LimitId               # who asks
end

"""
Stored energy at the end of each slot, within its window. Where it starts outside, the violated bound
is moved out to it, never further out again, and what is outside costs:

    energy[t] − kept · energy[t−1] − what flows in = 0
    energy[t] ≥ min − outside[t]   or   energy[t] ≤ max + outside[t],   outside[t] ≤ outside[t−1]
"""
struct Level
    window::Window
    initial_kwh::Float64
    rows::UnitRange{Int}             # energy balance
    energy::UnitRange{Int}           # columns
    outside::UnitRange{Int}          # columns; empty where it starts inside
    window_rows::UnitRange{Int}
    end_relief::Int                  # column by which the end gives way, or 0
end

is_below(level::Level) = level.initial_kwh < level.window.min_kwh

"How far outside of its window a store starts; less than this is rounding of the measurement."
const INSIDE_KWH = 1e-9

"The energy balance of `count` slots, still without what flows."
function level_rows!(lp::LinearProgram, count::Int, initial_kwh::Float64, kept::Float64)
    rows = constraints!(lp, count, 0.0, 0.0)
    lp.row_lower[rows[1]] = lp.row_upper[rows[1]] = kept * initial_kwh
    return rows
end

"""
    level!(draft, rows, window, initial_kwh, kept, upward, downward) -> Level

The energy columns of `rows`. `upward` and `downward` are the reserve that the energy must be able to
hold: `reserve[t] ≤ (energy − min) · …` at the start and the end of t, and likewise below max.
"""
function level!(draft::Draft, rows::UnitRange{Int}, window::Window, initial_kwh::Float64, kept::Float64,
        upward::HeldReserve, downward::HeldReserve)
    lp, count = draft.lp, length(rows)
    lowest, highest = min(window.min_kwh, initial_kwh), max(window.max_kwh, initial_kwh)
    starts_outside = max(window.min_kwh - lowest, highest - window.max_kwh) > INSIDE_KWH
    below = initial_kwh < window.min_kwh
    no_rows = 1:0
    window_rows = !starts_outside ? no_rows :
                  below ? constraints!(lp, count, window.min_kwh, Inf) :
                  constraints!(lp, count, -Inf, window.max_kwh)
    decrease_rows = starts_outside ? constraints!(lp, count, -Inf, 0.0) : no_rows
    least, most, gives = window.least_at_end_kwh, window.most_at_end_kwh, gives_way(draft, window.end_limit)
    least_row = gives && isfinite(least) ? constraint!(lp, least, Inf) : 0
    most_row = gives && isfinite(most) ? constraint!(lp, -Inf, most) : 0

    first_energy = column_count(lp) + 1
    for t in 1:count
        low, high = lowest, highest
        t == count && !gives && (low = max(low, least); high = min(high, most))
        variable!(draft, low, high, 0.0)
        term!(lp, rows[t], 1.0)
        t < count && term!(lp, rows[t+1], -kept)
        term!(lp, row_at(window_rows, t), 1.0)
        energy_terms!(lp, upward, t, -1.0)
        energy_terms!(lp, downward, t, 1.0)
        t == count && (term!(lp, least_row, 1.0); term!(lp, most_row, 1.0))
    end
    energy = first_energy:column_count(lp)
    penalty = starts_outside ? outside_penalty(draft.problem) : 0.0
    starts_outside && for t in 1:count
        variable!(draft, 0.0, t == 1 ? max(window.min_kwh - lowest, highest - window.max_kwh) : Inf, penalty)
        term!(lp, window_rows[t], below ? 1.0 : -1.0)
        t > 1 && term!(lp, decrease_rows[t], 1.0)
        t < count && term!(lp, decrease_rows[t+1], -1.0)
    end
    outside = last(energy)+1:column_count(lp)
    end_relief = gives ? relief!(draft, window.end_limit) : 0
    term!(lp, least_row, 1.0)
    term!(lp, most_row, -1.0)
    return Level(window, initial_kwh, rows, energy, outside, window_rows, end_relief)
end

"The variable added last is energy at the end of slot t, which is the start of the next."
function energy_terms!(lp::LinearProgram, reserve::HeldReserve, t::Int, factor::Float64)
    isempty(reserve.end_rows) && return nothing
    term!(lp, reserve.end_rows[t], factor)
    t < length(reserve.start_rows) && term!(lp, reserve.start_rows[t+1], factor)
end
