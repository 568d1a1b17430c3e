# The kind `replay`: from its input to its result.

"""
    compute(input::ReplayInput, progress) -> ReplayResult

What the schedule leads to on the site as it really was; nothing is optimised.
"""
function compute(input::ReplayInput, progress)
    progress(0.0, "follow")
    problem = dispatch_problem(input.site)
    lines = replay_lines(input)
    limits = replay_limits(problem, lines)
    replay!(lines, limits, input.at_limits, problem.slot_h)
    progress(0.8, "account")
    return replay_result(input, problem, lines, limits)
end

"Fixed loads, then the assets in the order of the result."
function replay_lines(input::ReplayInput)
    site, T = input.site, input.site.slots
    slot_s, h = site.slot_duration_s, site.slot_duration_s / 3600
    points = Dict{String,AssetSetPoints}(item.name => item for item in input.schedule)
    lines = ReplayLine[ReplayLine(load) for load in site.loads]
    rest = zeros(T)
    told(item) = haskey(points, item.name) ? points[item.name].power_kw : rest
    add(actor) = push!(lines, ReplayLine(actor, told(actor.given)))
    field(list, i) = "$list[$(i - 1)]"
    foreach(((i, item),) -> add(BatteryActor(item, field("batteries", i), h, T)), enumerate(site.batteries))
    foreach(item -> add(PvActor(item, T, get(points, item.name, nothing))), site.pv)
    foreach(((i, item),) -> add(FlexibleLoadActor(item, field("flexible_loads", i), h)),
        enumerate(site.flexible_loads))
    foreach(((i, item),) -> add(CycleActor(item, field("cycles", i), h, told(item))), enumerate(site.cycles))
    foreach(((i, item),) -> add(VehicleActor(item, field("electric_vehicles", i), h, T)),
        enumerate(site.electric_vehicles))
    foreach(((i, item),) -> add(HeatPumpActor(item, field("heat_pumps", i), h, T)), enumerate(site.heat_pumps))
    foreach(item -> add(GeneratorActor(item, slot_s, told(item), running(get(points, item.name, nothing)))),
        site.generators)
    return lines
end

running(::Nothing) = nothing
running(points::AssetSetPoints) = points.running

"Those of the groups in order, then that of the grid connection."
function replay_limits(problem::DispatchProblem, lines::Vector{ReplayLine})
    T = slots(problem)
    each(limit) = fill(something(limit, Inf), T)
    limits = ReplayLimit[ReplayLimit("groups[$(g - 1)]", group.name, "GROUP_LIMIT",
        ReplayLine[line for line in lines if line.name in group.members],
        each(group.max_import_power_kw), each(group.max_export_power_kw))
                         for (g, group) in enumerate(problem.input.groups)]
    push!(limits, ReplayLimit("grid", nothing, "GRID_LIMIT", lines, problem.max_import_kw,
        problem.max_export_kw))
    return limits
end

function replay_result(input::ReplayInput, problem::DispatchProblem, lines::Vector{ReplayLine},
        limits::Vector{ReplayLimit})
    site, h = input.site, problem.slot_h
    grid_kw = zeros(slots(problem))
    foreach(line -> grid_kw .+= line.power_kw, lines)
    bill = grid_bill(problem, grid_kw)
    costs, co2_kg = replay_costs(problem, lines, bill)
    cost = total(costs)
    baseline_cost, is_within = baseline(problem)
    rule_based_cost = rule_based(problem)
    consumed, produced = shares(lines, h)
    shed_kw = shed(lines, slots(problem))
    found = ReplayViolation[]
    foreach(limit -> unkept!(found, limit), vcat(limits[end:end], limits[1:end-1]))
    assets = ReplayLine[line for line in lines if line.actor !== nothing]
    foreach(line -> unkept!(found, line.actor), assets)
    plan_cost = input.plan_cost
    return ReplayResult(
        start_time = site.start_time, slot_duration_s = site.slot_duration_s, slots = site.slots,
        currency = site.currency, cost = cost, costs = costs,
        bill = bill_lines(problem, bill, costs, co2_kg),
        plan_cost = plan_cost, cost_above_plan = plan_cost === nothing ? nothing : cost - plan_cost,
        baseline_cost = baseline_cost, baseline_within_grid_limits = is_within,
        savings = baseline_cost - cost, rule_based_cost = rule_based_cost,
        rule_based_savings = rule_based_cost - cost,
        assets = ReplayAsset[replay_asset(line, h) for line in assets],
        deviations = ReplayDeviation[ReplayDeviation(line.name, its.reason, its.first_slot - 1,
            its.slot_count, its.energy_kwh) for line in vcat(assets, loads_of(lines)) for its in line.departures],
        violations = found, grid_power_kw = grid_kw, shed_power_kw = shed_kw,
        peak_import_power_kw = greatest(grid_kw), imported_energy_kwh = bill.imported_kwh,
        exported_energy_kwh = bill.exported_kwh,
        self_sufficiency = share_left(bill.imported_kwh, consumed),
        self_consumption = share_left(bill.exported_kwh, produced),
        co2_kg = site.emissions === nothing ? nothing : co2_kg)
end

loads_of(lines::Vector{ReplayLine}) = ReplayLine[line for line in lines if line.actor === nothing]

"The split of the cost, and all CO₂, from what was."
function replay_costs(problem::DispatchProblem, lines::Vector{ReplayLine}, bill::GridBill)
    h, wear, fuel, starts, co2_kg = problem.slot_h, 0.0, 0.0, 0.0, bill.import_co2_kg
    for line in lines
        actor = line.actor
        if actor isa BatteryActor || actor isa VehicleActor
            wear += h * actor.given.battery.wear_cost_per_kwh * sum_of(kw -> max(0.0, -kw), line.power_kw)
        elseif actor isa GeneratorActor
            its = generator_bill(actor.given, h, 0.0 .- line.power_kw, actor.running)
            fuel += its.fuel
            starts += its.start_count * actor.given.start_cost
            co2_kg += its.co2_kg
        end
    end
    return split_costs(problem, bill, fuel, starts, wear, co2_kg), co2_kg
end

"What loads and assets consume, and what PV and generators produce, batteries aside."
function shares(lines::Vector{ReplayLine}, h::Float64)
    consumed = produced = 0.0
    for line in lines
        line.actor isa BatteryActor && continue
        is_source = line.actor isa PvActor || line.actor isa GeneratorActor
        energy = h * sum_of(kw -> max(0.0, is_source ? -kw : kw), line.power_kw)
        is_source ? (produced += energy) : (consumed += energy)
    end
    return consumed, produced
end

share_left(part::Float64, whole::Float64) = whole > 0 ? clamp(1 - part / whole, 0.0, 1.0) : 1.0

"The power of fixed loads that was shed, or nothing where none was."
function shed(lines::Vector{ReplayLine}, T::Int)
    loads = loads_of(lines)
    any(line -> !isempty(line.departures), loads) || return nothing
    shed_kw = zeros(T)
    foreach(line -> shed_kw .+= line.wanted_kw .- line.power_kw, loads)
    return shed_kw
end

function replay_asset(line::ReplayLine, h::Float64)
    actor, kw = line.actor, line.power_kw
    return ReplayAsset(name = line.name, power_kw = kw, energy_kwh = energies(actor),
        running = actor isa GeneratorActor ? actor.running : nothing,
        consumed_energy_kwh = h * sum_of(its -> max(0.0, its), kw),
        produced_energy_kwh = h * sum_of(its -> max(0.0, -its), kw),
        curtailed_energy_kwh = actor isa PvActor ?
            max(0.0, h * (sum(actor.given.available_power_kw) + sum(kw))) : nothing,
        not_followed_kwh = sum_of(its -> its.energy_kwh, line.departures))
end

energies(::Actor) = nothing
energies(actor::Union{BatteryActor,VehicleActor,HeatPumpActor}) = actor.energy_kwh

"A schedule that is followed and one that is not, and limits that make everything do less."
function rehearsals(::Type{ReplayInput})
    site = rehearsal_house()
    points = AssetSetPoints[AssetSetPoints(name = "battery", power_kw = [9.0, 1.0, -3.0, -9.0]),
        AssetSetPoints(name = "roof", power_kw = fill(-1.0, 4))]
    return (ReplayInput(site = site, schedule = points) => nothing,
        ReplayInput(site = rehearsal_house(max_import_kw = 0.1), schedule = points, at_limits = "REDUCE",
            plan_cost = 1.0) => nothing)
end
