# The kind `dispatch`: from its input to its result.

"""
    compute(input::DispatchInput, progress) -> DispatchResult

Plan the slots of `input` and say why. Throws `ContractError` as `solve_futures` does, and
INVALID_ARGUMENT for what neither schema nor rules can refuse.
"""
compute(input::DispatchInput, progress) = dispatch(input, progress, nothing)

"The same, the linear relaxation starting from what `warm` has kept."
function dispatch(input::DispatchInput, progress, warm::Union{WarmProgram,Nothing})
    refuse_contradictions(input)
    progress(0.0, "build")
    problems = futures(input)
    options = input.options === nothing ? SolverOptions() : input.options
    progress(0.1, "solve")
    stop = Stop(options.time_limit_s, options.relative_gap; warm = warm, report = (objective, bound, relative_gap) ->
        progress(0.1 + 0.8 * (1 - min(1.0, something(relative_gap, 1.0))), "solve"; objective = objective,
            bound = bound, relative_gap = relative_gap))
    answer = solve_futures(problems, stop; may_relax = input.on_conflict == "RELAX")
    progress(0.9, "explain"; objective = answer.plan.objective, relative_gap = answer.relative_gap)
    return dispatch_result(answer)
end

"What contradicts itself, by field."
function refuse_contradictions(input::DispatchInput)
    found = Violation[]
    for (i, load) in enumerate(input.flexible_loads)
        load.interruptible || load.min_power_kw > 0 ||
            push!(found, Violation("flexible_loads[$(i - 1)].min_power_kw", "interruptible",
                "must be above 0 where the load is not interruptible, else running and pausing are the same"))
    end
    for (i, generator) in enumerate(input.generators)
        generator.initially_running || generator.initial_power_kw == 0 ||
            push!(found, Violation("generators[$(i - 1)].initial_power_kw", "initially-running",
                "must be 0 where the generator is not initially running; it is " *
                Shapes.number(generator.initial_power_kw)))
    end
    isempty(found) || refuse(found)
    return nothing
end

function dispatch_result(answer::Answer)
    plan = answer.plan
    problem, costs, bill = plan.site.problem, plan.costs, plan.bill
    input, site = problem.input, SitePrices(plan)
    baseline_cost, is_within = baseline(problem)
    rule_based_cost = rule_based(problem)
    figures = key_figures(plan)
    reserve = plan.site.reserve
    return DispatchResult(
        status = !isempty(answer.violations) ? "RELAXED" : answer.is_proven ? "OPTIMAL" : "TIME_LIMIT",
        start_time = input.start_time, slot_duration_s = input.slot_duration_s,
        slots = input.slots, currency = input.currency,
        cost = plan.cost, costs = costs, baseline_cost = baseline_cost,
        baseline_within_grid_limits = is_within, savings = baseline_cost - plan.cost,
        rule_based_cost = rule_based_cost, rule_based_savings = rule_based_cost - plan.cost,
        energy_cost = costs.energy_import + costs.energy_export + costs.grid_fees + costs.tiers,
        wear_cost = costs.wear, relative_gap = answer.relative_gap,
        deviation_kwh = figures.deviation_kwh, bill = bill_lines(problem, bill, costs, figures.co2_kg),
        violations = answer.violations, peak_import_power_kw = greatest(plan.grid_kw),
        imported_energy_kwh = bill.imported_kwh, exported_energy_kwh = bill.exported_kwh,
        self_sufficiency = figures.self_sufficiency, self_consumption = figures.self_consumption,
        co2_kg = input.emissions === nothing ? nothing : figures.co2_kg,
        batteries = DispatchBatteryPlan[battery_plan(plan, b, site) for b in eachindex(input.batteries)],
        pv = pv_plans(plan, site),
        flexible_loads = DispatchFlexibleLoadPlan[flexible_load_plan(plan, i, site)
                                                  for i in eachindex(input.flexible_loads)],
        cycles = DispatchCyclePlan[cycle_plan(plan, i) for i in eachindex(input.cycles)],
        electric_vehicles = vehicle_plans(plan, site),
        heat_pumps = DispatchHeatPumpPlan[heat_pump_plan(plan, i, site) for i in eachindex(input.heat_pumps)],
        generators = DispatchGeneratorPlan[generator_plan(plan, i, site) for i in eachindex(input.generators)],
        groups = DispatchGroupPlan[group_plan(plan, g) for g in eachindex(input.groups)],
        grid_power_kw = plan.grid_kw, grid_price_per_kwh = plan.grid_price,
        import_limit_value_per_kwh = site.import_value, export_limit_value_per_kwh = site.export_value,
        upward_reserve_price_per_kw = isempty(reserve.upward) ? nothing : site.upward_reserve,
        downward_reserve_price_per_kw = isempty(reserve.downward) ? nothing : site.downward_reserve,
        uncertainty = answer.uncertainty)
end

# ------------------------------------------------------------------------------------ by asset

function battery_plan(plan::DispatchPlan, b::Int, site::SitePrices)
    item, storage = plan.site.problem.input.batteries[b], plan.site.storages[b]
    prices = AssetPrices(plan, item.name, storage.meter)
    value = stored_value(plan, storage, prices.price)
    kw, h = power_kw(plan.value, storage), plan.site.problem.slot_h
    taken_kwh = h * sum_of(its -> max(0.0, -its), kw) / item.battery.discharge_efficiency
    return DispatchBatteryPlan(name = item.name, power_kw = kw, energy_kwh = plan.value[storage.level.energy],
        marginal_value_per_kwh = value.least,
        reasons = storage_reasons(plan, storage, site, prices, value, "FINAL_ENERGY"),
        full_cycles = taken_kwh / item.battery.capacity_kwh,
        capacity_value_per_kwh = capacity_value(plan, storage),
        charge_power_value_per_kw = charge_power_value(plan, storage),
        discharge_power_value_per_kw = discharge_power_value(plan, storage))
end

"Each vehicle with all its stays; between them it is away."
function vehicle_plans(plan::DispatchPlan, site::SitePrices)
    problem, found = plan.site.problem, DispatchElectricVehiclePlan[]
    T, next = slots(problem), length(problem.input.batteries)
    for vehicle in problem.input.electric_vehicles
        kw, energy, marginal, reasons = zeros(T), zeros(T), zeros(T), fill("AWAY", T)
        prices = AssetPrices(plan, vehicle.name, plan.site.storages[next+1].meter)
        for _ in vehicle.stays
            next += 1
            storage = plan.site.storages[next]
            its = storage.slots
            value = stored_value(plan, storage, prices.price[its])
            kw[its], energy[its] = power_kw(plan.value, storage), plan.value[storage.level.energy]
            marginal[its] = value.least
            reasons[its] = storage_reasons(plan, storage, site, prices, value, "DEPARTURE")
        end
        push!(found, DispatchElectricVehiclePlan(name = vehicle.name, power_kw = kw, energy_kwh = energy,
            marginal_value_per_kwh = marginal, reasons = reasons,
            charged_energy_kwh = problem.slot_h * sum_of(its -> max(0.0, its), kw)))
    end
    return found
end

function pv_plans(plan::DispatchPlan, site::SitePrices)
    used_kw = used_pv_kw(plan)
    plants_of = zeros(Int, length(used_kw))
    for (k, plants) in enumerate(plan.site.plants)
        plants_of[plants.members] .= k
    end
    return DispatchPvPlan[pv_plan(plan, p, plants_of[p], used_kw[p], site) for p in eachindex(used_kw)]
end

"The plan of a plant that is one of the plants `k`; 0 stands for one that must be taken."
function pv_plan(plan::DispatchPlan, p::Int, k::Int, used_kw::Vector{Float64}, site::SitePrices)
    problem, name = plan.site.problem, plan.site.problem.input.pv[p].name
    available_kw = problem.available_kw[p]
    prices = AssetPrices(plan, name, k == 0 ? taken_meter(plan, name) : plan.site.plants[k].meter)
    return DispatchPvPlan(name = name, power_kw = 0.0 .- used_kw,
        curtailed_energy_kwh = max(0.0, problem.slot_h * (sum(available_kw) - sum(used_kw))),
        marginal_value_per_kwh = k == 0 ? prices.price : available_value(plan, plan.site.plants[k]),
        reasons = String[pv_reason(site, prices, t, used_kw[t], available_kw[t]) for t in eachindex(used_kw)])
end

"What each plant delivers: what plants that nothing tells apart leave unused is shared in proportion."
function used_pv_kw(plan::DispatchPlan)
    problem = plan.site.problem
    used_kw = Vector{Float64}[copy(available) for available in problem.available_kw]
    for plants in plan.site.plants, t in 1:slots(problem)
        total = plants.available_kw[t]
        total > 0 || continue
        share = min(1.0, plan.value[plants.used[t]] / total)
        share < 1 && foreach(p -> used_kw[p][t] *= share, plants.members)
    end
    return used_kw
end

"Where a plant that must be taken is counted: its value is that of any power there."
function taken_meter(plan::DispatchPlan, name::String)
    site, T = plan.site, slots(plan.site.problem)
    meter = Line[Line(first(site.balance), T, -1.0)]
    for limit in site.group_limits
        name in site.problem.input.groups[limit.group].members &&
            push!(meter, Line(first(limit.rows), T, limit.factor))
    end
    return meter
end

function flexible_load_plan(plan::DispatchPlan, i::Int, site::SitePrices)
    its, load = plan.site.problem.input.flexible_loads[i], plan.site.flexible_loads[i]
    kw = zeros(slots(plan.site.problem))
    kw[load.slots] = plan.value[load.power]
    marginal_cost = plan.row_dual[load.energy_row]
    prices = AssetPrices(plan, its.name, load.meter)
    return DispatchFlexibleLoadPlan(name = its.name, power_kw = kw, marginal_cost_per_kwh = marginal_cost,
        reasons = flexible_load_reasons(plan, load, its, site, prices, marginal_cost))
end

function cycle_plan(plan::DispatchPlan, i::Int)
    its, cycle = plan.site.problem.input.cycles[i], plan.site.cycles[i]
    kw = zeros(slots(plan.site.problem))
    start = cycle.first_start + argmax(plan.value[cycle.start]) - 1
    its_slots = start:start+length(its.power_kw)-1
    kw[its_slots] = its.power_kw
    return DispatchCyclePlan(name = its.name, start_slot = start - 1, power_kw = kw,
        energy_cost = plan.site.problem.slot_h * weighted_sum(its.power_kw, plan.grid_price[its_slots]),
        reason = length(cycle.start) == 1 ? "NO_CHOICE" : "CHEAPEST")
end

function heat_pump_plan(plan::DispatchPlan, i::Int, site::SitePrices)
    its, pump = plan.site.problem.input.heat_pumps[i], plan.site.heat_pumps[i]
    value = Float64[-plan.row_dual[row] for row in pump.level.rows]
    prices = AssetPrices(plan, its.name, pump.meter)
    return DispatchHeatPumpPlan(name = its.name, power_kw = plan.value[pump.power],
        tank_energy_kwh = plan.value[pump.level.energy], marginal_value_per_kwh = value,
        reasons = heat_pump_reasons(plan, pump, its, site, prices, value))
end

function generator_plan(plan::DispatchPlan, i::Int, site::SitePrices)
    problem = plan.site.problem
    its, generator = problem.input.generators[i], plan.site.generators[i]
    kw, running = output(plan.value, generator, its, slots(problem))
    bill = generator_bill(its, problem.slot_h, kw, running)
    prices = AssetPrices(plan, its.name, generator.meter)
    return DispatchGeneratorPlan(name = its.name, power_kw = 0.0 .- kw, running = running,
        start_count = bill.start_count, cost = bill.fuel + bill.start_count * its.start_cost,
        marginal_value_per_kwh = output_value(plan, generator),
        reasons = generator_reasons(plan, generator, its, site, prices, kw, running))
end

function group_plan(plan::DispatchPlan, g::Int)
    group, h = plan.site.problem.input.groups[g], plan.site.problem.slot_h
    values = (zeros(slots(plan.site.problem)), zeros(slots(plan.site.problem)))
    for limit in plan.site.group_limits
        limit.group == g || continue
        value = values[limit.factor > 0 ? 1 : 2]
        for (t, row) in enumerate(limit.rows)
            value[t] = row_value(plan, row) / h
        end
    end
    return DispatchGroupPlan(name = group.name, power_kw = group_kw(plan, group),
        import_limit_value_per_kwh = values[1], export_limit_value_per_kwh = values[2])
end

# ---------------------------------------------------------------------------------- key figures

"The power of every asset by name, in the signs of the contract; loads included."
function asset_powers(plan::DispatchPlan)
    problem, site, value = plan.site.problem, plan.site, plan.value
    input, T = problem.input, slots(problem)
    found = Pair{String,Vector{Float64}}[]
    for (load, kw) in zip(input.loads, problem.loads_kw)
        push!(found, load.name => kw)
    end
    for (pv, kw) in zip(input.pv, used_pv_kw(plan))
        push!(found, pv.name => 0.0 .- kw)
    end
    for (item, storage) in zip(input.batteries, site.storages)
        push!(found, item.name => power_kw(value, storage))
    end
    next = length(input.batteries)
    for vehicle in input.electric_vehicles
        kw = zeros(T)
        for _ in vehicle.stays
            next += 1
            kw[site.storages[next].slots] = power_kw(value, site.storages[next])
        end
        push!(found, vehicle.name => kw)
    end
    for (its, load) in zip(input.flexible_loads, site.flexible_loads)
        kw = zeros(T)
        kw[load.slots] = value[load.power]
        push!(found, its.name => kw)
    end
    for i in eachindex(input.cycles)
        push!(found, input.cycles[i].name => cycle_plan(plan, i).power_kw)
    end
    for (its, pump) in zip(input.heat_pumps, site.heat_pumps)
        push!(found, its.name => value[pump.power])
    end
    for (its, generator) in zip(input.generators, site.generators)
        push!(found, its.name => 0.0 .- output(value, generator, its, T)[1])
    end
    return found
end

"Power of all members of a group; positive flows to them."
function group_kw(plan::DispatchPlan, group::DispatchGroup)
    total_kw = zeros(slots(plan.site.problem))
    for (name, kw) in asset_powers(plan)
        name in group.members && (total_kw .+= kw)
    end
    return total_kw
end

"Reserve that is held in each slot."
function held_kw(plan::DispatchPlan, is_upward::Bool)
    site = plan.site
    total_kw = zeros(slots(site.problem))
    add(columns) = isempty(columns) || (total_kw .+= plan.value[columns])
    for storage in site.storages
        add(is_upward ? storage.upward.power : storage.downward.power)
    end
    for provider in Iterators.flatten((site.plants, site.generators))
        add(is_upward ? provider.upward : provider.downward)
    end
    return total_kw
end

"What the schedule comes to: shares are of energy."
function key_figures(plan::DispatchPlan)
    problem, h = plan.site.problem, plan.site.problem.slot_h
    input = problem.input
    consumed, produced, deviation = 0.0, 0.0, 0.0
    batteries = Set{String}(item.name for item in input.batteries)
    for (name, kw) in asset_powers(plan)
        previous = previous_kw(input, name)
        previous === nothing || (deviation += h * sum_of(t -> abs(kw[t] - previous[t]), eachindex(previous)))
        name in batteries && continue
        is_source = any(pv -> pv.name == name, input.pv) || any(its -> its.name == name, input.generators)
        is_source ? (produced -= h * sum_of(identity, kw)) :
        (consumed += h * sum_of(its -> max(0.0, its), kw))
    end
    emitted = plan.bill.import_co2_kg
    for (its, generator) in zip(input.generators, plan.site.generators)
        emitted += h * its.co2_kg_per_kwh * sum_of(identity, output(plan.value, generator, its, slots(problem))[1])
    end
    return (deviation_kwh = input.previous_plan === nothing ? nothing : deviation, co2_kg = emitted,
        self_sufficiency = consumed > 0 ? clamp(1 - plan.bill.imported_kwh / consumed, 0.0, 1.0) : 1.0,
        self_consumption = produced > 0 ? clamp(1 - plan.bill.exported_kwh / produced, 0.0, 1.0) : 1.0)
end

function bill_lines(problem::DispatchProblem, bill::GridBill, costs::DispatchCosts, co2_kg::Float64)
    input = problem.input
    tariff, lines = input.tariff, DispatchBillLine[]
    line(item, name, quantity, unit, amount) = push!(lines, DispatchBillLine(item, name, quantity, unit, amount))
    line("IMPORT", nothing, bill.imported_kwh, "kWh", costs.energy_import)
    line("EXPORT", nothing, bill.exported_kwh, "kWh", costs.energy_export)
    for (fee, amount) in zip(tariff.grid_fees, bill.fees)
        line("GRID_FEE", fee.name, bill.imported_kwh, "kWh", amount)
    end
    if tariff.import_tiers !== nothing
        for (tier, kwh) in zip(tariff.import_tiers.tiers, bill.tier_kwh)
            kwh > TOLERANCE && line("TIER", nothing, kwh, "kWh", kwh * tier.surcharge_per_kwh)
        end
    end
    for (charge, peak) in zip(tariff.demand_charges, bill.peaks_kw)
        line("DEMAND_CHARGE", charge.name, peak, "kW", peak * charge.price_per_kw)
    end
    input.emissions === nothing || line("CO2", nothing, co2_kg, "kg", costs.co2)
    return lines
end
