using GridpactCompute: BOTH_WAYS, DECIDE, Directions, DispatchProblem, Highs, ONLY_NEGATIVE,
    ONLY_POSITIVE, PlannedBattery, baseline, column_count, formulate, row_count, slots


@testset "the program has the size that the formulation says" begin
    for seed in 1:20
        problem = any_problem(Dice(seed))
        T, B = slots(problem), length(problem.batteries)
        program = formulate(problem, Directions(problem))
        @test column_count(program.lp) == (3 + 3B) * T
        @test row_count(program.lp) == (1 + B) * T
        @test length(program.lp.row) == (3 + 6B) * T - B
        @test !any(program.lp.is_integer)
        directions = Directions(fill(DECIDE, T), [fill(DECIDE, T) for _ in 1:B])
        decided = formulate(problem, directions)
        @test count(decided.lp.is_integer) == (1 + B) * T
        @test row_count(decided.lp) == (1 + B) * T + 2 * (1 + B) * T
    end
end

@testset "a direction that is forbidden has no room" begin
    problem = any_problem(Dice(1))
    T = slots(problem)
    program = formulate(problem, Directions(fill(ONLY_NEGATIVE, T),
        [fill(ONLY_POSITIVE, T) for _ in problem.batteries]))
    @test all(==(0.0), program.lp.upper[program.import_])
    @test program.lp.upper[program.export_] == fill(problem.max_export_kw, T)
    for (battery, columns) in zip(problem.batteries, program.batteries)
        @test all(==(0.0), program.lp.upper[columns.discharge])
        @test program.lp.upper[columns.charge] == fill(battery.max_charge_kw, T)
    end
end

@testset "the baseline is the cheapest plan of a site without batteries" begin
    # Against the program itself, where buying and selling at once is never worth it.
    for seed in 1:60
        problem = without_batteries(any_problem(Dice(seed)))
        cost, within_limits = baseline(problem)
        program = formulate(problem, Directions(problem))
        solution = Highs.solve(program.lp; time_limit_s = 10.0, relative_gap = 0.0)
        @test within_limits == (solution.status == :optimal)
        within_limits && all(problem.export_price .<= problem.import_price) &&
            @test isapprox(cost, solution.objective; atol = 1e-7)
    end
end

@testset "a baseline beyond the grid limits ignores them" begin
    problem = DispatchProblem(1.0, [0.3, 0.2], [0.1, 0.1], [5.0, 1.0], [0.0, 0.0], 3.0, 3.0, PlannedBattery[])
    @test baseline(problem) == (5.0 * 0.3 + 1.0 * 0.2, false)
end

@testset "PV is left unused only where exporting costs" begin
    problem = DispatchProblem(1.0, [0.3, 0.3, -0.1], [0.1, -0.1, -0.2], [1.0, 1.0, 1.0],
        [4.0, 4.0, 4.0], 9.0, 9.0, PlannedBattery[])
    # Sell 3 kWh; use 1 kWh and no more; use nothing, because importing pays.
    @test baseline(problem)[1] ≈ -3.0 * 0.1 + 0.0 - 0.1
end
