# Flexible loads: an amount of energy within a window.

struct FlexibleLoad
    slots::UnitRange{Int}            # the window; columns are counted from its first slot
    power::UnitRange{Int}            # columns
    energy_row::Int                  # Σ h power = energy
    switch::Switch                   # on: running; none where any power from 0 will do
    meter::Meter
    relief::Int                      # column by which the energy gives way, or 0
end

"""
    Σ h power[t] = energy,   0 ≤ power ≤ max,   or min y ≤ power ≤ max y where there is a least power
    y[t] − y[t−1] ≤ start[t],   Σ start ≤ 1     where it must not pause
"""
function flexible_load!(draft::Draft, i::Int)
    load = draft.problem.input.flexible_loads[i]
    lp, h = draft.lp, draft.problem.slot_h
    its_slots = load.start_slot+1:load.end_slot
    count = length(its_slots)
    meter = meter!(draft, load.name)
    limit = LimitId(:flexible_energy, i, 0)
    energy_row = constraint!(lp, load.energy_kwh, load.energy_kwh)
    relief = relief!(draft, limit)
    if relief != 0
        term!(lp, energy_row, 1.0)
        lp.upper[relief] = load.energy_kwh
    end
    has_least = load.min_power_kw > 0
    start_rows = has_least && !load.interruptible ? constraints!(lp, count, -Inf, 0.0) : 1:0
    switch = has_least ? switch!(draft, count, fill(true, count), load.min_power_kw,
        fill(load.max_power_kw, count), Float64[]; change = start_rows) : NO_SWITCH
    if !isempty(start_rows)
        once = constraint!(lp, -Inf, 1.0)
        for t in 1:count
            variable!(draft, 0.0, 1.0, 0.0)
            term!(lp, start_rows[t], -1.0)
            term!(lp, once, 1.0)
        end
    end
    first = column_count(lp) + 1
    for t in 1:count
        variable!(draft, 0.0, load.max_power_kw, 0.0)
        draw!(draft, meter, its_slots[t], 1.0)
        term!(lp, energy_row, h)
        flow_term!(lp, switch, t)
    end
    return FlexibleLoad(its_slots, first:column_count(lp), energy_row, switch, meter, relief)
end
