# The same slots without a plan: with nobody acting, and by the usual rule.

"What the assets draw when nobody plans, the batteries aside: everything as early as it may be."
function unplanned_kw(problem::DispatchProblem)
    input, h = problem.input, problem.slot_h
    power_kw = copy(problem.fixed_kw)
    for vehicle in input.electric_vehicles, stay in vehicle.stays
        stay.required_energy_kwh === nothing && continue
        battery = vehicle.battery
        missing_kwh = (stay.required_energy_kwh - stay.initial_energy_kwh) / battery.charge_efficiency
        early!(power_kw, h, stay.start_slot + 1:stay.end_slot, missing_kwh, battery.max_charge_power_kw)
    end
    for load in input.flexible_loads
        early!(power_kw, h, load.start_slot+1:load.end_slot, load.energy_kwh, load.max_power_kw)
    end
    for cycle in input.cycles, (k, kw) in enumerate(cycle.power_kw)
        power_kw[cycle.start_slot+k] += kw
    end
    for pump in input.heat_pumps, t in 1:slots(problem)
        power_kw[t] += min(pump.max_power_kw, pump.heat_demand_kw[t] / pump.cop[t])
    end
    return power_kw
end

"Take `energy_kwh` with full power from the first of the slots on."
function early!(power_kw::Vector{Float64}, h::Float64, its_slots::UnitRange{Int}, energy_kwh::Float64,
        full_kw::Float64)
    for t in its_slots
        kw = clamp(energy_kwh / h, 0.0, full_kw)
        power_kw[t] += kw
        energy_kwh -= h * kw
    end
end

function curtailable_kw(problem::DispatchProblem)
    total_kw = zeros(slots(problem))
    for (pv, power_kw) in zip(problem.input.pv, problem.available_kw)
        pv.curtailable && (total_kw .+= power_kw)
    end
    return total_kw
end

"The cost without flexibility, and whether the grid limits could be kept."
function baseline(problem::DispatchProblem)
    grid_kw, is_within = unplanned_grid_kw(problem, unplanned_kw(problem), curtailable_kw(problem))
    return cost(grid_bill(problem, grid_kw), problem), is_within
end

"""
The cost when each battery in order stores what would be exported with all PV used, and serves what
would be imported.
"""
function rule_based(problem::DispatchProblem)
    drawn_kw, sun_kw, h = unplanned_kw(problem), curtailable_kw(problem), problem.slot_h
    wear = 0.0
    for item in problem.input.batteries
        battery, energy_kwh = item.battery, item.initial_energy_kwh
        charged, discharged = h * battery.charge_efficiency, h / battery.discharge_efficiency
        for t in 1:slots(problem)
            surplus_kw = sun_kw[t] - drawn_kw[t]
            if surplus_kw > 0
                room_kw = max(0.0, most_energy_kwh(battery) - energy_kwh) / charged
                kw = min(surplus_kw, battery.max_charge_power_kw, room_kw)
                energy_kwh += charged * kw
                drawn_kw[t] += kw
            else
                left_kw = max(0.0, energy_kwh - battery.min_energy_kwh) / discharged
                kw = min(-surplus_kw, battery.max_discharge_power_kw, left_kw)
                energy_kwh -= discharged * kw
                drawn_kw[t] -= kw
                wear += h * battery.wear_cost_per_kwh * kw
            end
        end
    end
    grid_kw, _ = unplanned_grid_kw(problem, drawn_kw, sun_kw)
    return cost(grid_bill(problem, grid_kw), problem) + wear
end

"""
The power at the grid connection when curtailable PV is used as is cheapest in each slot, and whether
the limits are kept; where they cannot be in some slot they are ignored in all.
"""
function unplanned_grid_kw(problem::DispatchProblem, drawn_kw::Vector{Float64}, sun_kw::Vector{Float64})
    grid_kw = cheapest_grid_kw(problem, drawn_kw, sun_kw, problem.max_import_kw, problem.max_export_kw)
    isempty(grid_kw) || return grid_kw, true
    no_limit = fill(Inf, slots(problem))
    return cheapest_grid_kw(problem, drawn_kw, sun_kw, no_limit, no_limit), false
end

"""
The cost of a slot is piecewise linear in the power, so that one of three is the cheapest: the least, the
greatest, or none between them. Of equal ones it is that with the least curtailment. Empty where a limit
cannot be kept.
"""
function cheapest_grid_kw(problem::DispatchProblem, drawn_kw::Vector{Float64}, sun_kw::Vector{Float64},
        max_import_kw::Vector{Float64}, max_export_kw::Vector{Float64})
    grid_kw = zeros(slots(problem))
    for t in eachindex(grid_kw)
        least, most = max(drawn_kw[t] - sun_kw[t], -max_export_kw[t]), min(drawn_kw[t], max_import_kw[t])
        least <= most + 1e-9 || return Float64[]
        best = least
        for kw in (clamp(0.0, least, max(least, most)), most)
            slot_cost(problem, t, kw) < slot_cost(problem, t, best) && (best = kw)
        end
        grid_kw[t] = best
    end
    return grid_kw
end

slot_cost(problem::DispatchProblem, t::Int, kw::Float64) =
    kw * (kw >= 0 ? problem.import_price[t] : problem.export_price[t])
