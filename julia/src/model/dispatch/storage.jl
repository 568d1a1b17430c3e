# Batteries, and vehicles: each stay of a vehicle is a battery of its own.

"A battery, or a vehicle during one stay, in the program."
struct Storage
    battery::Battery
    slots::UnitRange{Int}            # those it is there in; columns and rows are counted from the first
    level::Level
    charge::UnitRange{Int}
    discharge::UnitRange{Int}
    switch::Switch                   # on: charging
    meter::Meter
    upward::HeldReserve
    downward::HeldReserve
end

"A battery in all slots."
function battery!(draft::Draft, b::Int, choices::Vector{Bool})
    item = draft.problem.input.batteries[b]
    final = item.final_energy_kwh
    window = Window(item.battery.min_energy_kwh, most_energy_kwh(item.battery),
        something(final, -Inf), something(final, Inf), LimitId(:final_energy, b, 0))
    return storage!(draft, item.battery, 1:slots(draft), meter!(draft, item.name), window,
        item.initial_energy_kwh, 0.0, choices; holds_reserve = true)
end

"A vehicle in the slots of one stay; its meter is that of all its stays."
function stay!(draft::Draft, v::Int, s::Int, meter::Meter, choices::Vector{Bool})
    vehicle = draft.problem.input.electric_vehicles[v]
    stay = vehicle.stays[s]
    window = Window(vehicle.battery.min_energy_kwh, most_energy_kwh(vehicle.battery),
        something(stay.required_energy_kwh, -Inf), Inf, LimitId(:required_energy, v, s))
    least = vehicle.min_charge_power_kw
    count = stay.end_slot - stay.start_slot
    return storage!(draft, vehicle.battery, stay.start_slot+1:stay.end_slot, meter, window,
        stay.initial_energy_kwh, least, least > 0 ? fill(true, count) : choices; holds_reserve = false)
end

most_energy_kwh(battery::Battery) = something(battery.max_energy_kwh, battery.capacity_kwh)

"""
    energy[t] − energy[t−1] − h η⁺ charge[t] + h/η⁻ discharge[t] = 0
    0 ≤ charge ≤ C,   0 ≤ discharge ≤ D,   one of them 0 where that is chosen
"""
function storage!(draft::Draft, battery::Battery, its_slots::UnitRange{Int}, meter::Meter, window::Window,
        initial_kwh::Float64, least_charge_kw::Float64, choices::Vector{Bool}; holds_reserve::Bool)
    lp, h, count = draft.lp, draft.problem.slot_h, length(its_slots)
    most_charge, most_discharge = battery.max_charge_power_kw, battery.max_discharge_power_kw
    rows = level_rows!(lp, count, initial_kwh, 1.0)
    upward, downward = NO_RESERVE, NO_RESERVE
    reserve = draft.problem.input.reserve
    if holds_reserve && reserve !== nothing
        hold_h = reserve.duration_s / 3600
        upward = held_reserve!(draft, draft.reserve.upward, battery, most_discharge,
            hold_h / battery.discharge_efficiency, -window.min_kwh, initial_kwh - window.min_kwh)
        downward = held_reserve!(draft, draft.reserve.downward, battery, most_charge,
            hold_h * battery.charge_efficiency, window.max_kwh, window.max_kwh - initial_kwh)
    end
    switch = switch!(draft, count, choices, least_charge_kw, fill(most_charge, count),
        fill(most_discharge, count))
    first_charge = column_count(lp) + 1
    for t in 1:count
        variable!(draft, 0.0, most_charge, 0.0)
        draw!(draft, meter, its_slots[t], 1.0)
        term!(lp, rows[t], -h * battery.charge_efficiency)
        flow_term!(lp, switch, t)
        term!(lp, row_at(upward.power_rows, t), -1.0)
        term!(lp, row_at(downward.power_rows, t), 1.0)
    end
    charge = first_charge:column_count(lp)
    for t in 1:count
        variable!(draft, 0.0, most_discharge, h * battery.wear_cost_per_kwh)
        draw!(draft, meter, its_slots[t], -1.0)
        term!(lp, rows[t], h / battery.discharge_efficiency)
        opposite_term!(lp, switch, t)
        term!(lp, row_at(upward.power_rows, t), 1.0)
        term!(lp, row_at(downward.power_rows, t), -1.0)
    end
    discharge = last(charge)+1:column_count(lp)
    level = level!(draft, rows, window, initial_kwh, 1.0, upward, downward)
    return Storage(battery, its_slots, level, charge, discharge, switch, meter, upward, downward)
end
