# Heat pumps with a tank.

struct HeatPump
    power::UnitRange{Int}            # columns, electric
    level::Level                     # of the tank
    switch::Switch                   # on: running; none where any power from 0 will do
    meter::Meter
    missing_heat::UnitRange{Int}     # columns in kWh, where the demand gives way
end

"""
    energy[t] − (1 − loss) energy[t−1] − h cop[t] power[t] = − h demand[t]
    0 ≤ power ≤ max,   or min y ≤ power ≤ max y where there is a least power
"""
function heat_pump!(draft::Draft, i::Int)
    pump = draft.problem.input.heat_pumps[i]
    lp, h, T, tank = draft.lp, draft.problem.slot_h, slots(draft), pump.tank
    kept = 1.0 - min(1.0, tank.loss_per_h * h)
    meter = meter!(draft, pump.name)
    rows = level_rows!(lp, T, tank.initial_energy_kwh, kept)
    for t in 1:T
        lp.row_lower[rows[t]] -= h * pump.heat_demand_kw[t]
        lp.row_upper[rows[t]] = lp.row_lower[rows[t]]
    end
    switch = pump.min_power_kw == 0 ? NO_SWITCH : switch!(draft, T, fill(true, T), pump.min_power_kw,
        fill(pump.max_power_kw, T), Float64[])
    first = column_count(lp) + 1
    for t in 1:T
        variable!(draft, 0.0, pump.max_power_kw, 0.0)
        draw!(draft, meter, t, 1.0)
        term!(lp, rows[t], -h * pump.cop[t])
        flow_term!(lp, switch, t)
    end
    power = first:column_count(lp)
    window = Window(tank.min_energy_kwh, tank.max_energy_kwh, something(tank.final_energy_kwh, -Inf), Inf,
        LimitId(:tank_final_energy, i, 0))
    level = level!(draft, rows, window, tank.initial_energy_kwh, kept, NO_RESERVE, NO_RESERVE)
    return HeatPump(power, level, switch, meter, missing_heat!(draft, i, rows))
end

"Heat that enters the tank from nowhere, all of it within what gives way."
function missing_heat!(draft::Draft, i::Int, rows::UnitRange{Int})
    limit = LimitId(:tank_min_energy, i, 0)
    gives_way(draft, limit) || return 1:0
    total = constraint!(draft.lp, -Inf, 0.0)
    relief!(draft, limit)
    term!(draft.lp, total, -1.0)
    first = column_count(draft.lp) + 1
    for row in rows
        variable!(draft, 0.0, Inf, 0.0)
        term!(draft.lp, row, -1.0)
        term!(draft.lp, total, 1.0)
    end
    return first:column_count(draft.lp)
end
