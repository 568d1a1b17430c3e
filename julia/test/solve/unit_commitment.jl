using GridpactCompute: UnitCommitmentInput, UnitCommitmentThermalUnit, UnitCommitmentStartupCategory,
    UnitCommitmentCostPoint, UnitCommitmentOptions, LinearProgram, RowProgram, category_after, compute,
    constraint!, fleet_of, linear_program, rehearsals, startup_cost_after, term!, variable!, whole_slots

silently(fraction, stage; known...) = nothing

"A unit that has been off for five hours; what is given replaces its members."
gas(; changes...) = UnitCommitmentThermalUnit(; merge((name = "Gas", min_power_mw = 20.0,
    max_power_mw = 80.0, min_up_time_h = 1.0, min_down_time_h = 1.0, initial_duration_h = 5.0,
    startup_categories = [UnitCommitmentStartupCategory(1.0, 300.0)],
    production_cost = [UnitCommitmentCostPoint(20.0, 900.0), UnitCommitmentCostPoint(80.0, 3900.0)]),
    values(changes))...)

three_hours(units; demand_mw = [30.0, 50.0, 30.0], reserve_mw = nothing) = UnitCommitmentInput(
    start_time = "2026-06-01T00:00:00Z", slot_duration_s = 3600, slots = 3, currency = "EUR",
    demand_mw = demand_mw, reserve_requirement_mw = reserve_mw, thermal_units = units,
    options = UnitCommitmentOptions(relative_gap = 0.0))

@testset "one unit: cost, prices, start" begin
    result = compute(three_hours([gas()]), silently)
    @test result.status == "OPTIMAL"
    @test result.cost ≈ 300 + (900 + 500) + (900 + 1500) + (900 + 500)
    @test (result.startup_cost, result.no_load_cost) == (300.0, 2700.0)
    @test result.energy_price_per_mwh ≈ [50, 50, 50]
    unit = result.thermal_units[1]
    @test unit.commitment == [1, 1, 1]
    @test unit.power_mw ≈ [30, 50, 30]
    @test [(s.slot, s.category, s.off_time_h, s.cost) for s in unit.starts] == [(0, 0, 5.0, 300.0)]
end

@testset "what cannot be met is named with its slot and MW" begin
    failure = try
        compute(three_hours([gas()]; demand_mw = [30.0, 92.5, 30.0], reserve_mw = [0.0, 0.0, 60.0]), silently)
    catch err
        err
    end
    @test failure.reason == "INFEASIBLE"
    @test [v.field for v in failure.violations] == ["demand_mw[1]", "reserve_requirement_mw[2]"]
    @test failure.violations[1].message ==
          "must be at most 80; it is 92.5 (it exceeds what the units can produce by 12.5 MW)"
end

@testset "a unit is on because it must, or may not stop yet" begin
    cheap = gas(name = "Cheap", initial_power_mw = 50.0, production_cost =
        [UnitCommitmentCostPoint(20.0, 100.0), UnitCommitmentCostPoint(80.0, 400.0)])
    for (changes, reason) in ((must_run = true,) => "MUST_RUN", (min_up_time_h = 9.0,) => "MIN_UP_TIME")
        dear = gas(; initial_power_mw = 20.0, changes...)
        result = compute(three_hours([dear, cheap]; demand_mw = [60.0, 70.0, 60.0]), silently)
        @test result.thermal_units[1].reasons == fill(reason, 3)
    end
end

@testset "the category follows the time off" begin
    unit = fleet_of(three_hours([gas(startup_categories = [UnitCommitmentStartupCategory(2.0, 10.0),
        UnitCommitmentStartupCategory(6.0, 100.0)])])).units[1]
    @test [category_after(unit, h) for h in (0.0, 2.0, 5.9, 6.0, 99.0)] == [1, 1, 1, 2, 2]
    @test startup_cost_after(unit, 6.0) == 100.0
end

@testset "hours become slots, rounded up" begin
    @test [whole_slots(h, 0.25) for h in (-1.0, 0.0, 0.25, 0.3, 1.0)] == [0, 0, 1, 2, 4]
end

@testset "rows become columns" begin
    program = RowProgram()
    x, y = variable!(program, 0.0, 1.0, 2.0; is_integer = true), variable!(program, 0.0, 9.0, 3.0)
    first_row, second_row = constraint!(program, 1.0, Inf), constraint!(program, -Inf, 4.0)
    term!(program, second_row, x, 5.0)
    term!(program, first_row, y, 6.0)
    term!(program, first_row, x, 7.0)
    term!(program, second_row, y, 0.0)
    lp = linear_program(program)
    @test (lp.start, lp.row, lp.coefficient) == ([0, 2, 3], [0, 1, 0], [7.0, 5.0, 6.0])
    @test (lp.cost, lp.is_integer, lp.row_lower) == ([2.0, 3.0], [true, false], [1.0, -Inf])
end
