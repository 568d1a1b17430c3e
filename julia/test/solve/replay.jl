using GridpactCompute: AssetSetPoints, DispatchInput, ReplayInput, compute

"The schedule of a plan, as a user copies it out of the result."
function schedule_of(plan)
    points = AssetSetPoints[]
    for list in (plan.batteries, plan.pv, plan.flexible_loads, plan.cycles, plan.electric_vehicles, plan.heat_pumps)
        append!(points, [AssetSetPoints(name = its.name, power_kw = its.power_kw) for its in list])
    end
    return append!(points, [AssetSetPoints(name = its.name, power_kw = its.power_kw, running = its.running)
                            for its in plan.generators])
end

"The stored energies that a plan tells, by name."
energies_of(plan) = Dict([its.name => energy for (list, energies) in
    ((plan.batteries, :energy_kwh), (plan.electric_vehicles, :energy_kwh), (plan.heat_pumps, :tank_energy_kwh))
    for its in list for energy in (getproperty(its, energies),)])

replayed(site, schedule; more...) = compute(ReplayInput(; site = site, schedule = schedule, more...), ignore)

same(a, b) = isapprox(a, b; rtol = 1e-9, atol = 1e-9)

@testset "a plan replayed on its own input is what it was" begin
    proven = 0
    for seed in 1:80
        dice = Dice(seed)
        site = any_input(dice)
        plan = compute(site, ignore)
        plan.status == "OPTIMAL" || continue
        proven += 1
        result = replayed(site, schedule_of(plan); plan_cost = plan.cost)
        @test same(result.cost, plan.cost)
        @test same(result.cost_above_plan, 0.0)
        @test all(same.(result.grid_power_kw, plan.grid_power_kw))
        energies = energies_of(plan)
        @test all(all(same.(asset.energy_kwh, energies[asset.name])) for asset in result.assets if asset.energy_kwh !== nothing)
        @test isempty(result.deviations)
        @test isempty(result.violations)
        @test same(result.self_sufficiency, plan.self_sufficiency)
        @test same(result.self_consumption, plan.self_consumption)
        @test same(sum([line.amount for line in result.bill]), sum([line.amount for line in plan.bill]))
        @test result.rule_based_cost == plan.rule_based_cost
    end
    @test proven > 40
end

house(; more...) = changed(GridpactCompute.rehearsal_house(); more...)
one_day(power_kw; more...) = replayed(house(), [AssetSetPoints(name = "battery", power_kw = power_kw)]; more...)

@testset "what a battery cannot follow is said with its reason" begin
    result = one_day([9.0, 5.0, -6.0, -9.0])
    battery = result.assets[1]
    @test battery.name == "battery"
    # 5 kWh at first, 4 left above the minimum, 0.95 each way.
    @test battery.power_kw[1] == 5.0
    @test battery.energy_kwh[1] == 9.75
    @test same(battery.power_kw[2], 0.25 / 0.95) && battery.energy_kwh[2] == 10.0
    @test battery.power_kw[3] == -5.0
    @test same(battery.power_kw[4], -(9 - 5 / 0.95) * 0.95) && battery.energy_kwh[4] == 1.0
    @test [(its.reason, its.slot, its.slot_count) for its in result.deviations] ==
          [("POWER_LIMIT", 0, 2), ("FULL", 1, 1), ("EMPTY", 3, 1)]
    @test same(result.deviations[1].energy_kwh, 4.0 + 1.0)
    @test same(battery.not_followed_kwh, sum(abs.([9.0, 5.0, -6.0, -9.0] .- battery.power_kw)))
    @test [(its.field, its.slot, its.unit) for its in result.violations] == [("batteries[0].final_energy_kwh", 3, "kWh")]
    @test same(result.violations[1].amount, 4.0)
end

@testset "a battery measured outside its window comes back and goes no further" begin
    battery = changed(house().batteries[1]; initial_energy_kwh = 0.5, final_energy_kwh = nothing)
    site = house(batteries = [battery])
    result = replayed(site, [AssetSetPoints(name = "battery", power_kw = [-1.0, 0.2, 1.0, -5.0])])
    @test result.assets[1].power_kw[1:3] == [0.0, 0.2, 1.0]
    @test result.assets[1].energy_kwh[4] == 1.0
    @test [its.reason for its in result.deviations] == ["EMPTY"] && result.deviations[1].slot_count == 2
end

@testset "at a limit it flows, or PV gives way, or everything does" begin
    site = house(grid = changed(house().grid; max_import_power_kw = 1.5, max_export_power_kw = 0.5))
    points = [AssetSetPoints(name = "battery", power_kw = [1.0, 0.0, 0.0, -3.0])]
    answer(at_limits) = replayed(site, points; at_limits = at_limits)
    fields(result) = [(its.field, its.slot, its.slot_count) for its in result.violations if startswith(its.field, "grid")]
    # Loads 2 2 1 2, PV 0 0.5 3 1.
    let result = answer("VIOLATE")
        @test result.grid_power_kw ≈ [3.0, 1.5, -2.0, -2.0]
        @test fields(result) == [("grid.max_import_power_kw", 0, 1), ("grid.max_export_power_kw", 2, 2)]
        @test [its.amount for its in result.violations if startswith(its.field, "grid")] ≈ [1.5, 1.5]
        @test result.shed_power_kw === nothing
    end
    let result = answer("CURTAIL")
        @test result.grid_power_kw ≈ [3.0, 1.5, -0.5, -1.0]
        @test fields(result) == [("grid.max_import_power_kw", 0, 1), ("grid.max_export_power_kw", 3, 1)]
        @test [(its.name, its.reason) for its in result.deviations] == [("roof", "GRID_LIMIT")]
        @test result.assets[2].curtailed_energy_kwh ≈ 1.5 + 1.0
    end
    let result = answer("REDUCE")
        @test result.grid_power_kw ≈ [1.5, 1.5, -0.5, -0.5]
        @test isempty(fields(result))
        @test result.assets[1].power_kw ≈ [0.0, 0.0, 0.0, -2.5]
        @test result.shed_power_kw ≈ [0.5, 0.0, 0.0, 0.0]
        @test [(its.name, its.reason) for its in result.deviations] ==
              [("battery", "GRID_LIMIT"), ("roof", "GRID_LIMIT"), ("house", "GRID_LIMIT")]
        @test result.imported_energy_kwh ≈ 3.0
    end
end

@testset "PV is held by a ceiling only where it is limited" begin
    points(; more...) = [AssetSetPoints(; name = "roof", power_kw = fill(-0.75, 4), more...)]
    power(schedule) = replayed(house(), schedule).assets[2].power_kw
    @test power(points()) == [0.0, -0.5, -0.75, -0.75]
    @test power(points(limited = [1.0, 1.0, 0.0, 1.0])) == [0.0, -0.5, -3.0, -0.75]
    @test power(AssetSetPoints[]) == [0.0, -0.5, -3.0, -1.0]
    fixed = house(pv = [changed(house().pv[1]; curtailable = false)])
    @test replayed(fixed, points()).assets[2].power_kw == [0.0, -0.5, -3.0, -1.0]
end
