using GridpactCompute: Highs, baseline, cost, dispatch_problem, formulate, grid_bill, rule_based, unplanned_kw

"A site of one load and one plant, without assets."
function bare(import_price, export_price, load_kw, sun_kw; limit = 9.0, members...)
    return DispatchInput(; start_time = "2026-06-01T10:00:00Z", slot_duration_s = 3600, slots = length(load_kw),
        currency = "EUR", batteries = DispatchBattery[], pv = [DispatchPv("Roof", true, sun_kw)],
        loads = [DispatchLoad("House", load_kw)],
        tariff = DispatchTariff(import_price_per_kwh = import_price, export_price_per_kwh = export_price),
        grid = DispatchGrid(max_import_power_kw = limit, max_export_power_kw = limit), members...)
end

@testset "the baseline is the cheapest plan of a site without assets" begin
    # Against the program itself, where buying and selling at once is never worth it.
    for seed in 1:60
        problem = dispatch_problem(any_site(Dice(seed); batteries = 0, odd = seed % 2 == 0))
        its_cost, within_limits = baseline(problem)
        solution = Highs.solve(formulate(problem).lp; time_limit_s = 10.0, relative_gap = 0.0)
        @test within_limits == (solution.status == :optimal)
        within_limits && all(problem.export_price .<= problem.import_price) &&
            @test isapprox(its_cost, solution.objective; atol = 1e-7)
    end
end

@testset "a baseline beyond the grid limits ignores them" begin
    problem = dispatch_problem(bare([0.3, 0.2], [0.1, 0.1], [5.0, 1.0], [0.0, 0.0]; limit = 3.0))
    @test baseline(problem) == (5.0 * 0.3 + 1.0 * 0.2, false)
end

@testset "PV is left unused only where exporting costs" begin
    problem = dispatch_problem(bare([0.3, 0.3, -0.1], [0.1, -0.1, -0.2], [1.0, 1.0, 1.0], [4.0, 4.0, 4.0]))
    # Sell 3 kWh; use 1 kWh and no more; use nothing, because importing pays.
    @test baseline(problem)[1] ≈ -3.0 * 0.1 + 0.0 - 0.1
end

@testset "without a plan everything runs as early as it may" begin
    cell = Battery(capacity_kwh = 10.0, max_charge_power_kw = 2.0, max_discharge_power_kw = 0.0,
        charge_efficiency = 0.8, discharge_efficiency = 1.0)
    problem = dispatch_problem(bare(fill(0.3, 5), fill(0.1, 5), zeros(5), zeros(5);
        flexible_loads = [DispatchFlexibleLoad("Pump", 1, 4, 3.0, 0.0, 2.0, true)],
        cycles = [DispatchCycle("Washer", 2, 5, [1.0, 0.5])],
        electric_vehicles = [DispatchElectricVehicle("Car", cell, 0.0,
            [DispatchStay(0, 2, 1.0, 2.6), DispatchStay(3, 5, 4.0, nothing)])],
        heat_pumps = [DispatchHeatPump("Heat pump", 0.0, 1.0, fill(4.0, 5), [0.0, 2.0, 8.0, 0.0, 0.0],
            DispatchHeatTank(max_energy_kwh = 20.0, initial_energy_kwh = 10.0))],
        generators = [DispatchGenerator(name = "Engine", max_power_kw = 1.0, cost_segments = [DispatchCostSegment(1.0, 0.0)])]))
    # Car 2 kW; pump 2 + 1, heat 0.5; washer 1 + 0.5, heat 1.
    @test unplanned_kw(problem) ≈ [2.0, 2.0 + 0.5, 1.0 + 1.0 + 1.0, 0.5, 0.0]
end

@testset "the rule stores surplus and serves the load" begin
    cell = Battery(capacity_kwh = 4.0, min_energy_kwh = 0.5, max_charge_power_kw = 2.0, max_discharge_power_kw = 1.0,
        charge_efficiency = 0.5, discharge_efficiency = 0.5, wear_cost_per_kwh = 0.01)
    problem = dispatch_problem(bare([0.3, 0.3, 0.3], [0.1, 0.1, 0.1], [1.0, 3.0, 3.0], [5.0, 0.0, 0.0];
        ))
    with_battery = dispatch_problem(changed(problem.input; batteries = [DispatchBattery("Battery", cell, 1.0, nothing)]))
    # 4 kW over: 2 kW stored (1 kWh), 2 sold. Then 1.5 kWh of 2 give 0.75 kWh, within 1 kW.
    @test rule_based(with_battery) ≈ -2 * 0.1 + (3.0 - 0.75) * 0.3 + 3.0 * 0.3 + 0.75 * 0.01
    @test rule_based(problem) ≈ baseline(problem)[1]
end

@testset "tiers and demand charges are charged on a baseline" begin
    problem = dispatch_problem(bare([0.3, 0.3], [0.1, 0.1], [4.0, 2.0], [0.0, 0.0]))
    more = dispatch_problem(changed(problem.input; tariff = changed(problem.input.tariff;
        import_tiers = DispatchTiers(imported_energy_kwh = 1.0, tiers = [DispatchTier(3.0, 0.05)]),
        demand_charges = [DispatchDemandCharge(name = "Peak", price_per_kw = 2.0, billing_interval_s = 3600, peak_so_far_kw = 1.0)])))
    @test baseline(more)[1] ≈ baseline(problem)[1] + (6.0 - 2.0) * 0.05 + (4.0 - 1.0) * 2.0
end
