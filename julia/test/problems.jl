# Dispatch problems by dice, and what every plan must keep: an account of a result that knows nothing of
# the program which led to it.

using GridpactCompute: Battery, DispatchAssetPower, DispatchBattery, DispatchCostSegment, DispatchCycle,
    DispatchDemandCharge, DispatchElectricVehicle, DispatchEmissions, DispatchFlexibleLoad,
    DispatchGenerator, DispatchGrid, DispatchGridFee, DispatchGroup, DispatchHeatPump, DispatchHeatTank,
    DispatchInput, DispatchLoad, DispatchPreviousPlan, DispatchPv, DispatchReserve, DispatchScenario,
    DispatchScenarioSeries, DispatchSlotWindow, DispatchStay, DispatchTariff, DispatchTier, DispatchTiers,
    DispatchUncertainty, SolverOptions, compute

ignore(fraction, stage; objective = nothing, bound = nothing, relative_gap = nothing) = nothing

"Whether a message keeps its own contract: one that breaks it is not written."
keeps_contract(message) = (GridpactCompute.pack(message); true)

"The same message with some members changed."
function changed(message; members...)
    T = typeof(message)
    return T((get(members, name, getfield(message, name)) for name in fieldnames(T))...)
end

# ------------------------------------------------------------------------------------- by dice

"A site with a load, PV and prices, and as many batteries as said; prices may be upside down when `odd`."
function any_site(dice; T = roll(dice, 2:12), odd = false, batteries = roll(dice, 0:2),
        slot_s = roll(dice, (900, 1800, 3600)))
    import_price = [roll(dice, 0.1, 0.4) for _ in 1:T]
    export_price = [price - roll(dice, 0.02, 0.2) for price in import_price]
    if odd
        for t in 1:T
            roll(dice, 1:4) == 1 && (import_price[t] = roll(dice, -0.2, 0.1))
            roll(dice, 1:4) == 1 && (export_price[t] = roll(dice, -0.3, 0.5))
        end
    end
    sun(most) = [roll(dice, 1:2) == 1 ? 0.0 : roll(dice, 0.0, most) for _ in 1:T]
    return DispatchInput(start_time = "2026-06-01T10:00:00Z", slot_duration_s = slot_s, slots = T,
        currency = "EUR", batteries = [any_battery(dice, b) for b in 1:batteries],
        pv = [DispatchPv("Roof", true, sun(5.0)), DispatchPv("Shed", false, sun(3.0))],
        loads = [DispatchLoad("House", [roll(dice, 0.0, 4.0) for _ in 1:T])],
        tariff = DispatchTariff(import_price_per_kwh = import_price, export_price_per_kwh = export_price),
        grid = DispatchGrid(max_import_power_kw = roll(dice, (5.0, 8.0, 30.0)),
            max_export_power_kw = roll(dice, (2.0, 8.0, 30.0))),
        options = SolverOptions(relative_gap = 0.0))
end

function any_cell(dice; power = roll(dice, 0.5, 5.0), capacity = roll(dice, 2.0, 12.0))
    efficiency() = roll(dice, (0.85, 0.95, 1.0))
    return Battery(capacity_kwh = capacity, min_energy_kwh = roll(dice, 0.0, 0.3) * capacity,
        max_charge_power_kw = power, max_discharge_power_kw = roll(dice, 0.5, 5.0),
        charge_efficiency = efficiency(), discharge_efficiency = efficiency(),
        wear_cost_per_kwh = roll(dice, (0.0, 0.0, 0.02)))
end

function any_battery(dice, b)
    cell = any_cell(dice)
    initial = roll(dice, cell.min_energy_kwh, cell.capacity_kwh)
    return DispatchBattery("Battery $b", cell, initial, roll(dice, 1:2) == 1 ? nothing : initial)
end

"A window of slots, counted as in the contract."
function any_window(dice, T)
    start = roll(dice, 0:T-1)
    return start, roll(dice, start+1:T)
end

function any_vehicle(dice, T, h)
    cell = any_cell(dice)
    roll(dice, 1:2) == 1 && (cell = changed(cell; max_discharge_power_kw = 0.0))
    cut = roll(dice, 1:T)
    stays = [any_stay(dice, cell, window, h) for window in (cut < T ? [(0, cut), (cut, T)] : [any_window(dice, T)])]
    least = roll(dice, 1:3) == 1 ? 0.4 * cell.max_charge_power_kw : 0.0
    return DispatchElectricVehicle("Car", cell, least, stays)
end

function any_stay(dice, cell, window, h)
    # Below its window too, as a vehicle may arrive.
    initial = roll(dice, 0.7, 1.0) * roll(dice, cell.min_energy_kwh, cell.capacity_kwh)
    reachable = initial + h * (window[2] - window[1]) * cell.max_charge_power_kw * cell.charge_efficiency
    required = roll(dice, 1:3) == 1 ? nothing : min(cell.capacity_kwh, roll(dice, 0.3, 0.9) * reachable)
    return DispatchStay(window..., initial, required)
end

function any_flexible_load(dice, T, h, name)
    start, stop = any_window(dice, T)
    power = roll(dice, 0.5, 3.0)
    kind = roll(dice, 1:3)
    run = roll(dice, 1:stop-start)
    energy = kind == 1 ? roll(dice, 0.0, 1.0) * power * h * (stop - start) : 0.8 * power * h * run
    return DispatchFlexibleLoad(name, start, stop, energy, kind == 1 ? 0.0 : 0.6 * power, power, kind != 3)
end

function any_cycle(dice, T)
    start, stop = any_window(dice, T)
    return DispatchCycle("Washer", start, stop, [roll(dice, 0.0, 2.0) for _ in 1:roll(dice, 1:stop-start)])
end

function any_heat_pump(dice, T, h)
    power = roll(dice, 1.0, 4.0)
    cop = [roll(dice, 2.0, 4.0) for _ in 1:T]
    most = roll(dice, 2.0, 12.0)
    return DispatchHeatPump("Heat pump", roll(dice, (0.0, 0.3)) * power, power, cop,
        [roll(dice, 0.0, 0.6) * power * its for its in cop],
        DispatchHeatTank(min_energy_kwh = 0.1 * most, max_energy_kwh = most,
            initial_energy_kwh = roll(dice, 0.05, 1.04) * most, loss_per_h = roll(dice, (0.0, 0.02)),
            final_energy_kwh = roll(dice, (nothing, 0.3 * most))))
end

function any_generator(dice, slot_s)
    power = roll(dice, 1.0, 6.0)
    price = roll(dice, 0.05, 0.3)
    if roll(dice, 1:3) == 1
        return DispatchGenerator(name = "Engine", max_power_kw = power,
            cost_segments = [DispatchCostSegment(power, price)], ramp_up_kw_per_h = roll(dice, (nothing, power)),
            co2_kg_per_kwh = 0.5)
    end
    running = roll(dice, (true, false))
    least = roll(dice, 0.0, 0.5) * power
    return DispatchGenerator(name = "Engine", min_power_kw = least, max_power_kw = power,
        cost_segments = [DispatchCostSegment(0.6 * power, price), DispatchCostSegment(power, price + roll(dice, 0.0, 0.1))],
        no_load_cost_per_h = roll(dice, (0.0, 0.1)), start_cost = roll(dice, (0.0, 0.2)),
        min_up_duration_s = roll(dice, 0:3) * slot_s, min_down_duration_s = roll(dice, 0:3) * slot_s,
        ramp_up_kw_per_h = roll(dice, (nothing, 2 * power)), ramp_down_kw_per_h = roll(dice, (nothing, 1.5 * power)),
        initially_running = running, initial_duration_s = roll(dice, 0:3) * slot_s,
        initial_power_kw = running ? roll(dice, 0.0, power) : 0.0, co2_kg_per_kwh = 0.4)
end

"A site with any of everything."
function any_input(dice; site = any_site(dice; odd = roll(dice, 1:3) == 1))
    T, h = site.slots, site.slot_duration_s / 3600
    maybe(make) = roll(dice, 1:3) == 1 ? [make()] : []
    input = changed(site;
        flexible_loads = DispatchFlexibleLoad[any_flexible_load(dice, T, h, "Pump $i") for i in 1:roll(dice, 0:2)],
        cycles = DispatchCycle[its for its in maybe(() -> any_cycle(dice, T))],
        electric_vehicles = DispatchElectricVehicle[its for its in maybe(() -> any_vehicle(dice, T, h))],
        heat_pumps = DispatchHeatPump[its for its in maybe(() -> any_heat_pump(dice, T, h))],
        generators = DispatchGenerator[its for its in maybe(() -> any_generator(dice, site.slot_duration_s))],
        tariff = any_tariff(dice, site),
        emissions = roll(dice, 1:3) == 1 ? DispatchEmissions([roll(dice, 0.1, 0.6) for _ in 1:T], roll(dice, (0.0, 0.1))) : nothing)
    roll(dice, 1:4) == 1 && (input = changed(input; grid = changed(input.grid;
        import_limits_kw = [roll(dice, 4.0, 20.0) for _ in 1:T], export_limits_kw = [roll(dice, 3.0, 20.0) for _ in 1:T])))
    roll(dice, 1:3) == 1 && (input = changed(input; groups = any_groups(dice, input)))
    roll(dice, 1:4) == 1 && (input = changed(input; reserve = any_reserve(dice, T)))
    roll(dice, 1:4) == 1 && (input = changed(input; previous_plan = any_previous_plan(dice, input)))
    return input
end

function any_tariff(dice, site)
    T, tariff = site.slots, site.tariff
    fees = [DispatchGridFee("Fee $i", [roll(dice, 0.0, 0.05) for _ in 1:T]) for i in 1:roll(dice, 0:2)]
    steps = [roll(dice, -0.05, 0.08) for _ in 1:roll(dice, 1:3)]
    tiers = roll(dice, 1:3) == 1 ? DispatchTiers(roll(dice, 0.0, 4.0),
        [DispatchTier(2.0 * k - roll(dice, 0.0, 1.5), step) for (k, step) in enumerate(steps)]) : nothing
    charges = roll(dice, 1:3) == 1 ? [DispatchDemandCharge(name = "Peak", price_per_kw = roll(dice, 0.0, 1.0),
        billing_interval_s = roll(dice, (900, 1800, 3600)), peak_so_far_kw = roll(dice, 0.0, 3.0),
        interval_energy_so_far_kwh = roll(dice, 0.0, 1.0),
        windows = roll(dice, 1:2) == 1 ? DispatchSlotWindow[] : [DispatchSlotWindow(any_window(dice, T)...)])] :
        DispatchDemandCharge[]
    return changed(tariff; grid_fees = fees, import_tiers = tiers, demand_charges = charges)
end

function asset_names(input)
    return String[its.name for its in Iterators.flatten((input.batteries, input.pv, input.flexible_loads,
        input.cycles, input.electric_vehicles, input.heat_pumps, input.generators))]
end

any_groups(dice, input) = [DispatchGroup(name = "Group $g",
    members = [name for name in [asset_names(input); "House"] if roll(dice, 1:2) == 1 || name == "Roof"],
    max_import_power_kw = roll(dice, (nothing, 6.0)), max_export_power_kw = roll(dice, (nothing, 4.0))) for g in 1:roll(dice, 1:2)]

any_reserve(dice, T) = DispatchReserve(
    upward_power_kw = roll(dice, (nothing, [roll(dice, 0.0, 1.0) for _ in 1:T])),
    downward_power_kw = roll(dice, (nothing, [roll(dice, 0.0, 1.0) for _ in 1:T])), duration_s = roll(dice, (900, 3600)))

any_previous_plan(dice, input) = DispatchPreviousPlan(roll(dice, 0.0, 0.1),
    [DispatchAssetPower(name, [roll(dice, -2.0, 2.0) for _ in 1:roll(dice, 1:input.slots)])
     for name in asset_names(input) if roll(dice, 1:2) == 1 || name == "Roof"])

"As many futures of a site as said."
any_uncertainty(dice, input; count = 2, shared_slots = 1, risk_weight = 0.0, tail_probability = 0.5) =
    DispatchUncertainty(shared_slots, risk_weight, tail_probability,
        [DispatchScenario(name = "Future $s", probability = roll(dice, 0.2, 1.0),
            loads = [DispatchScenarioSeries("House", [roll(dice, 0.0, 4.0) for _ in 1:input.slots])],
            pv = [DispatchScenarioSeries("Roof", [roll(dice, 0.0, 4.0) for _ in 1:input.slots])],
            import_price_per_kwh = roll(dice, 1:2) == 1 ? nothing :
                input.tariff.import_price_per_kwh .+ roll(dice, 0.0, 0.1)) for s in 1:count])

# ------------------------------------------------------------------------------------ the account

const NEAR = 1e-5

near(a, b) = abs(a - b) <= NEAR * max(1.0, abs(b))

"What a result breaks, in words; empty when it keeps everything. `loads` and `pv` are those of the future told."
function faults(input, result; loads = [its.power_kw for its in input.loads],
        available = [its.available_power_kw for its in input.pv], prices = input.tariff)
    found = String[]
    claim(holds, words) = holds || push!(found, words)
    T, h = input.slots, input.slot_duration_s / 3600
    broken(field) = sum([v.amount for v in result.violations if v.field == field])
    powers = Dict{String,Vector{Float64}}(its.name => kw for (its, kw) in zip(input.loads, loads))

    for (its, plan, most) in zip(input.pv, result.pv, available)
        powers[its.name] = plan.power_kw
        claim(all(-NEAR .<= -plan.power_kw .<= most .+ NEAR), "$(its.name): power")
        its.curtailable || claim(all(near.(-plan.power_kw, most)), "$(its.name): is curtailed")
        claim(near(plan.curtailed_energy_kwh, h * sum(most .+ plan.power_kw)), "$(its.name): curtailed energy")
    end
    for (b, (its, plan)) in enumerate(zip(input.batteries, result.batteries))
        powers[its.name] = plan.power_kw
        append!(found, "$(its.name): " .* store_faults(its.battery, plan.power_kw, plan.energy_kwh, its.initial_energy_kwh, h))
        its.final_energy_kwh === nothing || claim(abs(plan.energy_kwh[T] - its.final_energy_kwh) <=
            broken("batteries[$(b - 1)].final_energy_kwh") + NEAR, "$(its.name): final energy")
        claim(near(plan.full_cycles, h * sum(max.(0.0, -plan.power_kw)) / its.battery.discharge_efficiency / its.battery.capacity_kwh),
            "$(its.name): cycles")
    end
    for (v, (its, plan)) in enumerate(zip(input.electric_vehicles, result.electric_vehicles))
        powers[its.name] = plan.power_kw
        there = fill(false, T)
        for (s, stay) in enumerate(its.stays)
            slots = stay.start_slot+1:stay.end_slot
            there[slots] .= true
            append!(found, "$(its.name): " .* store_faults(its.battery, plan.power_kw[slots], plan.energy_kwh[slots], stay.initial_energy_kwh, h))
            stay.required_energy_kwh === nothing || claim(plan.energy_kwh[stay.end_slot] >= stay.required_energy_kwh -
                broken("electric_vehicles[$(v - 1)].stays[$(s - 1)].required_energy_kwh") - NEAR, "$(its.name): departure")
        end
        claim(all(there .| (abs.(plan.power_kw) .<= NEAR)), "$(its.name): acts while away")
        claim(all((plan.power_kw .<= NEAR) .| (plan.power_kw .>= its.min_charge_power_kw - NEAR)), "$(its.name): least power")
        claim((plan.reasons .== "AWAY") == .!there, "$(its.name): reasons while away")
    end
    for (i, (its, plan)) in enumerate(zip(input.flexible_loads, result.flexible_loads))
        kw = powers[its.name] = plan.power_kw
        claim(all(-NEAR .<= kw .<= its.max_power_kw + NEAR), "$(its.name): power")
        claim(all((kw .<= NEAR) .| (kw .>= its.min_power_kw - NEAR)), "$(its.name): least power")
        claim(all(t -> kw[t] <= NEAR || its.start_slot < t <= its.end_slot, 1:T), "$(its.name): window")
        missed = its.energy_kwh - h * sum(kw)
        claim(-NEAR <= missed <= broken("flexible_loads[$(i - 1)].energy_kwh") + NEAR, "$(its.name): energy")
        its.interruptible || claim(count(t -> kw[t] > NEAR && (t == 1 || kw[t-1] <= NEAR), 1:T) <= 1, "$(its.name): pauses")
    end
    for (its, plan) in zip(input.cycles, result.cycles)
        kw = powers[its.name] = plan.power_kw
        expected = zeros(T)
        expected[plan.start_slot+1:plan.start_slot+length(its.power_kw)] = its.power_kw
        claim(its.start_slot <= plan.start_slot <= its.end_slot - length(its.power_kw), "$(its.name): start")
        claim(kw == expected, "$(its.name): profile")
    end
    for (i, (its, plan)) in enumerate(zip(input.heat_pumps, result.heat_pumps))
        kw, tank = plan.power_kw, its.tank
        powers[its.name] = kw
        claim(all(-NEAR .<= kw .<= its.max_power_kw + NEAR), "$(its.name): power")
        claim(all((kw .<= NEAR) .| (kw .>= its.min_power_kw - NEAR)), "$(its.name): least power")
        energy, given, lowest, highest = tank.initial_energy_kwh, 0.0, min(tank.min_energy_kwh, tank.initial_energy_kwh),
        max(tank.max_energy_kwh, tank.initial_energy_kwh)
        for t in 1:T
            energy = (1 - min(1.0, tank.loss_per_h * h)) * energy + h * (its.cop[t] * kw[t] - its.heat_demand_kw[t])
            given += plan.tank_energy_kwh[t] - energy
            claim(plan.tank_energy_kwh[t] >= energy - NEAR, "$(its.name): tank")
            energy = plan.tank_energy_kwh[t]
            claim(lowest - NEAR <= energy <= highest + NEAR, "$(its.name): window")
            lowest, highest = max(lowest, min(tank.min_energy_kwh, energy)), min(highest, max(tank.max_energy_kwh, energy))
        end
        claim(given <= broken("heat_pumps[$(i - 1)].tank.min_energy_kwh") + NEAR, "$(its.name): heat from nowhere")
        tank.final_energy_kwh === nothing || claim(energy >= tank.final_energy_kwh -
            broken("heat_pumps[$(i - 1)].tank.final_energy_kwh") - NEAR, "$(its.name): final energy")
    end
    fuel, starts, emitted = 0.0, 0.0, 0.0
    for (its, plan) in zip(input.generators, result.generators)
        powers[its.name] = plan.power_kw
        append!(found, "$(its.name): " .* generator_faults(its, plan, input))
        its_fuel = h * (its.no_load_cost_per_h * sum(plan.running) + sum(fuel_per_h(its, -kw) for kw in plan.power_kw))
        fuel += its_fuel
        starts += its.start_cost * plan.start_count
        emitted += h * its.co2_kg_per_kwh * sum(-plan.power_kw)
        claim(near(plan.cost, its_fuel + its.start_cost * plan.start_count), "$(its.name): cost")
    end

    grid_kw = result.grid_power_kw
    claim(all(near.(grid_kw, sum(values(powers)))), "balance")
    more(member) = broken("grid.$member")
    claim(all(grid_kw .<= input.grid.max_import_power_kw + more("max_import_power_kw") + NEAR), "import limit")
    claim(all(-grid_kw .<= input.grid.max_export_power_kw + more("max_export_power_kw") + NEAR), "export limit")
    input.grid.import_limits_kw === nothing || claim(all(grid_kw .<= input.grid.import_limits_kw .+ more("import_limits_kw") .+ NEAR), "import limits")
    input.grid.export_limits_kw === nothing || claim(all(-grid_kw .<= input.grid.export_limits_kw .+ more("export_limits_kw") .+ NEAR), "export limits")
    for (g, (its, plan)) in enumerate(zip(input.groups, result.groups))
        kw = sum(powers[name] for name in its.members)
        claim(all(near.(kw, plan.power_kw)), "$(its.name): power")
        its.max_import_power_kw === nothing || claim(all(kw .<= its.max_import_power_kw + broken("groups[$(g - 1)].max_import_power_kw") + NEAR), "$(its.name): import")
        its.max_export_power_kw === nothing || claim(all(-kw .<= its.max_export_power_kw + broken("groups[$(g - 1)].max_export_power_kw") + NEAR), "$(its.name): export")
    end
    input.reserve === nothing || append!(found, reserve_faults(input, result, available, broken))

    claim(all(line.item != "TIER" || line.quantity > 1e-6 for line in result.bill), "an empty line of the bill")
    # What it costs, once more.
    imported, exported = max.(0.0, grid_kw), max.(0.0, -grid_kw)
    costs = result.costs
    kwh = h * sum(imported)
    claim(near(costs.energy_import, h * sum(imported .* prices.import_price_per_kwh)), "cost of imports")
    claim(near(costs.energy_export, -h * sum(exported .* prices.export_price_per_kwh)), "income of exports")
    claim(near(costs.grid_fees, h * sum([sum(imported .* fee.price_per_kwh) for fee in input.tariff.grid_fees])), "fees")
    claim(near(costs.tiers, input.tariff.import_tiers === nothing ? 0.0 : surcharges(input.tariff.import_tiers, kwh)), "tiers")
    claim(near(costs.demand_charges, sum([its.price_per_kw * max(0.0, peak(input, its, imported) - its.peak_so_far_kw)
                                          for its in input.tariff.demand_charges])), "demand charges")
    claim(near(costs.generation, fuel) && near(costs.starts, starts), "cost of generation")
    wear = sum([h * its.battery.wear_cost_per_kwh * sum(max.(0.0, -powers[its.name]))
                for its in Iterators.flatten((input.batteries, input.electric_vehicles))])
    claim(near(costs.wear, wear) && near(result.wear_cost, wear), "wear")
    if input.emissions !== nothing
        emitted += h * sum(imported .* input.emissions.import_kg_per_kwh)
        claim(near(result.co2_kg, emitted) && near(costs.co2, emitted * input.emissions.price_per_kg), "CO2")
    end
    total = costs.energy_import + costs.energy_export + costs.grid_fees + costs.tiers + costs.demand_charges +
        costs.generation + costs.starts + costs.wear + costs.co2
    claim(near(result.cost, total), "the sum of costs")
    claim(near(result.savings, result.baseline_cost - result.cost), "savings")
    if input.previous_plan !== nothing
        claim(near(result.deviation_kwh, sum([h * sum(abs.(powers[its.name][1:length(its.power_kw)] .- its.power_kw))
                                                 for its in input.previous_plan.assets])), "deviation")
    end
    return found
end

"Energy of a store follows from its net power, within its window; outside it never gets further."
function store_faults(cell, power_kw, energy_kwh, initial, h)
    found = String[]
    most = something(cell.max_energy_kwh, cell.capacity_kwh)
    lowest, highest, energy = min(cell.min_energy_kwh, initial), max(most, initial), initial
    for (kw, after) in zip(power_kw, energy_kwh)
        -cell.max_discharge_power_kw - NEAR <= kw <= cell.max_charge_power_kw + NEAR || push!(found, "power")
        energy += h * (kw >= 0 ? kw * cell.charge_efficiency : kw / cell.discharge_efficiency)
        abs(energy - after) <= NEAR || push!(found, "energy")
        lowest - NEAR <= after <= highest + NEAR || push!(found, "window")
        lowest, highest = max(lowest, min(cell.min_energy_kwh, after)), min(highest, max(most, after))
    end
    return found
end

function fuel_per_h(its, kw)
    total, from = 0.0, 0.0
    for item in its.cost_segments
        total += item.cost_per_kwh * max(0.0, min(kw, item.up_to_power_kw) - from)
        from = item.up_to_power_kw
    end
    return total
end

function generator_faults(its, plan, input)
    found = String[]
    h, slot_s, on, kw = input.slot_duration_s / 3600, input.slot_duration_s, plan.running .> 0.5, -plan.power_kw
    free = its.min_power_kw == its.no_load_cost_per_h == its.start_cost == 0 && its.min_up_duration_s == its.min_down_duration_s == 0
    was_on, before = its.initially_running, its.initially_running ? max(its.min_power_kw, its.initial_power_kw) : 0.0
    since_s, starts = its.initial_duration_s, 0
    up, down = something(its.ramp_up_kw_per_h, Inf) * h, something(its.ramp_down_kw_per_h, Inf) * h
    for t in eachindex(kw)
        on[t] ? (its.min_power_kw - NEAR <= kw[t] <= its.max_power_kw + NEAR || push!(found, "power")) :
        (kw[t] <= NEAR || push!(found, "power while resting"))
        if on[t] != was_on
            least = was_on ? its.min_up_duration_s : its.min_down_duration_s
            free || since_s >= least - 1e-6 || push!(found, was_on ? "least running time" : "least resting time")
            on[t] && (starts += 1)
            since_s = 0
        end
        since_s += slot_s
        kw[t] - before <= (was_on || free ? up : max(its.min_power_kw, up)) + NEAR || push!(found, "ramp up")
        before - kw[t] <= (on[t] || free ? down : max(its.min_power_kw, down)) + NEAR || push!(found, "ramp down")
        was_on, before = on[t], kw[t]
    end
    starts == plan.start_count || push!(found, "starts")
    return found
end

function reserve_faults(input, result, available, broken)
    found, reserve = String[], input.reserve
    hold_h = reserve.duration_s / 3600
    for t in 1:input.slots, upward in (true, false)
        required = upward ? reserve.upward_power_kw : reserve.downward_power_kw
        required === nothing && continue
        held = 0.0
        for (its, plan) in zip(input.batteries, result.batteries)
            cell, kw = its.battery, plan.power_kw[t]
            energies = (t == 1 ? its.initial_energy_kwh : plan.energy_kwh[t-1], plan.energy_kwh[t])
            room = upward ? minimum(energies) - cell.min_energy_kwh : something(cell.max_energy_kwh, cell.capacity_kwh) - maximum(energies)
            factor = upward ? cell.discharge_efficiency / hold_h : 1 / (cell.charge_efficiency * hold_h)
            held += max(0.0, min(upward ? cell.max_discharge_power_kw + kw : cell.max_charge_power_kw - kw, room * factor))
        end
        for (its, plan) in zip(input.generators, result.generators)
            kw, free = -plan.power_kw[t], its.min_power_kw == 0
            held += upward ? max(0.0, (plan.running[t] > 0.5 || (free && its.start_cost == its.no_load_cost_per_h == its.min_up_duration_s == its.min_down_duration_s == 0) ? its.max_power_kw : 0.0) - kw) :
                max(0.0, kw - its.min_power_kw * plan.running[t])
        end
        for (its, plan, most) in zip(input.pv, result.pv, available)
            its.curtailable && (held += upward ? most[t] + plan.power_kw[t] : -plan.power_kw[t])
        end
        wanted = max(0.0, required[t] - broken("reserve.$(upward ? "upward" : "downward")_power_kw"))
        held >= wanted - NEAR || push!(found, "reserve")
        room = upward ? input.grid.max_export_power_kw + broken("grid.max_export_power_kw") + result.grid_power_kw[t] :
            input.grid.max_import_power_kw + broken("grid.max_import_power_kw") - result.grid_power_kw[t]
        room >= wanted - NEAR || push!(found, "room for reserve at the grid")
    end
    return found
end

"Kilowatt-hour by kilowatt-hour, as a bill would say it."
function surcharges(tiers, kwh)
    total, done, target = 0.0, tiers.imported_energy_kwh, tiers.imported_energy_kwh + kwh
    for (k, tier) in enumerate(tiers.tiers)
        stop = k < length(tiers.tiers) ? tiers.tiers[k+1].from_energy_kwh : Inf
        total += tier.surcharge_per_kwh * max(0.0, min(target, stop) - max(done, tier.from_energy_kwh))
    end
    return total
end

"The greatest mean of a billing interval, second by second in steps of five minutes; the start is on the hour."
function peak(input, charge, imported)
    counts(t) = isempty(charge.windows) || any(w -> w.start_slot < t <= w.end_slot, charge.windows)
    interval_s, slot_s = charge.billing_interval_s, input.slot_duration_s
    slot_s > interval_s && return maximum([0.0; [imported[t] for t in 1:input.slots if counts(t)]])
    step_s = 300
    sums = Dict{Int,Float64}()
    for k in 0:div(input.slots * slot_s, step_s)-1
        t = 1 + div(k * step_s, slot_s)
        counts(t) || continue
        interval = div(k * step_s, interval_s)
        sums[interval] = get(sums, interval, interval == 0 ? charge.interval_energy_so_far_kwh : 0.0) + imported[t] * step_s / 3600
    end
    return maximum([0.0; [kwh * 3600 / interval_s for kwh in values(sums)]])
end

"The result of an input, or nothing where no plan exists that keeps every limit."
function result_or_nothing(input)
    try
        return compute(changed(input; on_conflict = "FAIL"), ignore)
    catch err
        err isa ContractError && err.reason == "INFEASIBLE" || rethrow()
        return nothing
    end
end

cost_of(input) = (result = result_or_nothing(input); result === nothing ? NaN : result.cost)
