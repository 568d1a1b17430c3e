using GridpactCompute: ANY_PLAN, Futures, Highs, LEAST_RELIEF, Relief, Stop, conflict, dispatch_problem, limits, search

store(; initial = 1.0, final = nothing, power = 2.0) = DispatchBattery("Battery", Battery(capacity_kwh = 10.0,
    max_charge_power_kw = power, max_discharge_power_kw = power, charge_efficiency = 1.0, discharge_efficiency = 1.0), initial, final)

"An hourly site; `load_kw` below 0 is PV that must be taken."
site(load_kw; limit = 3.0, members...) = DispatchInput(; start_time = "2026-06-01T10:00:00Z", slot_duration_s = 3600,
    slots = length(load_kw), currency = "EUR", batteries = DispatchBattery[], pv = [DispatchPv("Roof", false, max.(0.0, .-load_kw))],
    loads = [DispatchLoad("House", max.(0.0, load_kw))],
    tariff = DispatchTariff(import_price_per_kwh = fill(0.3, length(load_kw)), export_price_per_kwh = fill(0.1, length(load_kw))),
    grid = DispatchGrid(max_import_power_kw = limit, max_export_power_kw = limit), members...)

"The violations of the relaxed plan, which keeps all else, and the error that says the same."
function broken(input)
    result = compute(input, ignore)
    @test result.status == "RELAXED"
    @test isempty(faults(input, result))
    err = try
        compute(changed(input; on_conflict = "FAIL"), ignore)
    catch err
        err
    end
    @test err isa ContractError && err.reason == "INFEASIBLE"
    @test [(v.field, v.rule, v.message) for v in err.violations] == [(v.field, "feasible", v.message) for v in result.violations]
    return result.violations
end

only_one(input) = (found = broken(input); @test length(found) == 1; found[1])

@testset "a load above the import limit names the limit that would do, and where" begin
    found = only_one(site([1.0, 2.0, 4.5, 4.0]))
    @test (found.field, found.slot, found.unit) == ("grid.max_import_power_kw", 2, "kW")
    @test found.message == "must be at least 4.5; it is 3 (slot 2)"
    @test found.amount ≈ 1.5 && found.name === nothing
end

@testset "limits by slot are named with their slot" begin
    input = site([1.0, 2.0, 2.5]; grid = DispatchGrid(max_import_power_kw = 9.0, max_export_power_kw = 9.0, import_limits_kw = [3.0, 1.5, 2.0]))
    @test only_one(input).message == "must be at least 2; it is 1.5 (slot 1)"
end

@testset "PV that cannot be curtailed names the export limit" begin
    found = only_one(site([-1.0, -5.25]))
    @test found.field == "grid.max_export_power_kw"
    @test found.message == "must be at least 5.25; it is 3 (slot 1)"
end

@testset "a wish gives way before a fuse does" begin
    # 3 kW of import less 2 kW of load leaves 1 kW to charge with: 3 kWh by the end, not 5.
    found = only_one(site(fill(2.0, 2); batteries = [store(final = 5.0)]))
    @test (found.field, found.name, found.slot, found.unit) == ("batteries[0].final_energy_kwh", "Battery", 1, "kWh")
    @test found.message == "must be at most 3; it is 5"
    # A kWh of it more or less is bought at 0.3: giving way by one more saves that.
    @test isapprox(found.price_per_unit, 0.3; atol = 1e-6)
    # Too full an end likewise: nothing can take more than 1 kW.
    @test only_one(site([0.0]; batteries = [store(initial = 5.0, final = 1.0)])).message == "must be at least 3; it is 1"
end

@testset "what is needed together is named together" begin
    # The import limit is below the load of slot 0, and the battery's own power cannot fill it.
    found = broken(site([9.0, 0.0]; batteries = [store(initial = 0.0, final = 9.0)]))
    @test [v.field for v in found] == ["grid.max_import_power_kw", "batteries[0].final_energy_kwh"]
end

@testset "every limit that gives way is named in its own words" begin
    hours(n) = fill(1.0, n)
    car = DispatchElectricVehicle("Car", store().battery, 0.0, [DispatchStay(0, 2, 1.0, 9.0)])
    found = only_one(site(zeros(3); electric_vehicles = [car]))
    @test (found.field, found.name, found.slot) == ("electric_vehicles[0].stays[0].required_energy_kwh", "Car", 1)
    @test found.message == "must be at most 5; it is 9"
    found = only_one(site(zeros(3); flexible_loads = [DispatchFlexibleLoad("Pump", 0, 2, 5.0, 0.0, 2.0, true)]))
    @test (found.field, found.message, found.slot) == ("flexible_loads[0].energy_kwh", "must be at most 4; it is 5", 1)
    pump(; members...) = DispatchHeatPump("Heat pump", 0.0, 1.0, hours(2), hours(2) .* 2, DispatchHeatTank(; max_energy_kwh = 9.0, members...))
    found = only_one(site(zeros(2); heat_pumps = [pump(initial_energy_kwh = 1.5)]))
    @test (found.field, found.name, found.unit) == ("heat_pumps[0].tank.min_energy_kwh", "Heat pump", "kWh")
    @test isapprox(found.amount, 0.5; atol = 1e-6) && occursin("0.5 kWh of heat cannot be delivered", found.message)
    found = only_one(site(zeros(2); heat_pumps = [pump(initial_energy_kwh = 3.0, final_energy_kwh = 2.0)]))
    @test (found.field, found.message) == ("heat_pumps[0].tank.final_energy_kwh", "must be at most 1; it is 2")
    found = only_one(site(zeros(2); reserve = DispatchReserve(upward_power_kw = [5.0, 5.0]), batteries = [store(initial = 5.0)]))
    # 2 kW of charging that could stop and 2 kW of discharging.
    @test (found.field, found.slot, found.message) == ("reserve.upward_power_kw", 0, "must be at most 4; it is 5 (slot 0)")
    groups = [DispatchGroup(name = "Cellar", members = ["House"], max_import_power_kw = 1.0)]
    found = only_one(site([2.0, 2.5]; groups = groups))
    @test (found.field, found.name, found.message) == ("groups[0].max_import_power_kw", "Cellar", "must be at least 2.5; it is 1 (slot 0)")
end

"A site that may ask for too much in several ways."
function greedy(seed)
    dice = Dice(seed)
    input = any_site(dice; T = roll(dice, 2:4), batteries = 2)
    T, h = input.slots, input.slot_duration_s / 3600
    return changed(input; grid = DispatchGrid(max_import_power_kw = roll(dice, 0.5, 4.0), max_export_power_kw = roll(dice, 0.1, 3.0)),
        batteries = [changed(its; final_energy_kwh = roll(dice, its.battery.min_energy_kwh, its.battery.capacity_kwh)) for its in input.batteries],
        flexible_loads = [DispatchFlexibleLoad("Pump", 0, T, roll(dice, 0.0, 2.5) * h * T, 0.0, 2.0, true)],
        groups = [DispatchGroup(name = "Cellar", members = ["Battery 1", "Pump"], max_import_power_kw = roll(dice, 0.2, 3.0))])
end

@testset "the set is irreducible, keeps what is hard to change, and its amounts are the least" begin
    sizes = Int[]
    for seed in 1:150
        input = greedy(seed)
        result = compute(input, ignore)
        result.status == "RELAXED" || continue
        @test isempty(faults(input, result))
        futures, stop = Futures(dispatch_problem(input)), Stop(60.0, 0.0)
        possible(ids) = search(futures, ANY_PLAN, Relief(ids), stop).solution.status == :optimal
        found, all_of = conflict(futures, stop), limits(input)
        push!(sizes, length(found))
        @test length(found) == length(result.violations)
        @test possible(found)
        for id in found
            @test !possible(filter(!=(id), found))
            # With all that is easier to change instead, there is still no plan.
            later = all_of[findfirst(==(id), all_of)+1:end]
            @test !possible(vcat(filter(other -> findfirst(==(other), all_of) < findfirst(==(id), all_of), found), later))
        end
        # By brute force: no smaller total of the same limits.
        total = sum(v.amount for v in result.violations)
        less = Relief(found; most_total = total - 1e-4)
        @test search(futures, ANY_PLAN, less, stop).solution.status != :optimal
    end
    @test length(sizes) > 40 && maximum(sizes) > 1
end

@testset "changing what the answer names makes a plan" begin
    tried = 0
    for seed in 1:150
        input = greedy(seed)
        result = compute(input, ignore)
        result.status == "RELAXED" || continue
        tried += 1
        mended = input
        for found in result.violations
            limit = parse(Float64, match(r"must be at (?:least|most) ([0-9.e-]+)", found.message).captures[1])
            if found.field == "grid.max_import_power_kw"
                mended = changed(mended; grid = changed(mended.grid; max_import_power_kw = limit))
            elseif found.field == "grid.max_export_power_kw"
                mended = changed(mended; grid = changed(mended.grid; max_export_power_kw = limit))
            elseif found.field == "groups[0].max_import_power_kw"
                mended = changed(mended; groups = [changed(mended.groups[1]; max_import_power_kw = limit)])
            elseif found.field == "flexible_loads[0].energy_kwh"
                mended = changed(mended; flexible_loads = [changed(mended.flexible_loads[1]; energy_kwh = max(0.0, limit))])
            else
                # An end that is met exactly leaves no room for the rounding of the number told.
                b = parse(Int, match(r"\[([0-9]+)\]", found.field).captures[1]) + 1
                given = input.batteries[b].final_energy_kwh
                @test isapprox(limit, given + found.amount * sign(limit - given); atol = 1e-6)
                limit = given + found.amount * sign(limit - given)
                mended = changed(mended; batteries = [k == b ? changed(its; final_energy_kwh = limit) : its for (k, its) in enumerate(mended.batteries)])
            end
        end
        @test result_or_nothing(mended) !== nothing
    end
    @test tried > 40
end

@testset "the price of a violation is what one unit more of it would save" begin
    checked = 0
    for seed in 1:150
        input = greedy(seed)
        result = compute(input, ignore)
        result.status == "RELAXED" && length(result.violations) == 1 || continue
        found = result.violations[1]
        found.field == "flexible_loads[0].energy_kwh" || continue
        energy(amount) = changed(input; flexible_loads = [changed(input.flexible_loads[1]; energy_kwh = input.flexible_loads[1].energy_kwh - amount)])
        cost(amount) = cost_of(energy(amount))
        step = 1e-3
        here, there = cost(found.amount + 2step), cost(found.amount + 3step)
        (isnan(here) || isnan(there)) && continue
        checked += 1
        # Convex in the amount: further on it saves no more than at the start.
        @test (here - there) / step <= found.price_per_unit + 1e-4
        @test (cost(found.amount + 2e-5) - cost(found.amount + 2e-5 + step)) / step <= found.price_per_unit + 1e-3
    end
    @test checked > 3
end

@testset "contradictions are refused by name before a solver sees them" begin
    never = site([1.0, 1.0]; flexible_loads = [DispatchFlexibleLoad("Pump", 0, 2, 1.0, 0.0, 2.0, false)],
        generators = [DispatchGenerator(name = "Engine", max_power_kw = 2.0, cost_segments = [DispatchCostSegment(2.0, 0.1)], initial_power_kw = 1.0)])
    err = try
        compute(never, ignore)
    catch err
        err
    end
    @test err isa ContractError && err.reason == "INVALID_ARGUMENT"
    @test [(v.field, v.rule) for v in err.violations] ==
          [("flexible_loads[0].min_power_kw", "interruptible"), ("generators[0].initial_power_kw", "initially-running")]
end
