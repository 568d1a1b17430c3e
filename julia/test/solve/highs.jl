using GridpactCompute: Highs, LinearProgram, constraint!, variable!

solve(lp; time_limit_s = 10.0, relative_gap = 0.0) =
    Highs.solve(lp; time_limit_s = time_limit_s, relative_gap = relative_gap)

@testset "a linear program gives its minimum and its duals" begin
    # minimise 2x + 3y with x + y ≥ 4 and x ≤ 3
    lp = LinearProgram()
    row = constraint!(lp, 4.0, Inf)
    variable!(lp, 0.0, 3.0, 2.0, (row => 1.0,))
    variable!(lp, 0.0, Inf, 3.0, (row => 1.0,))
    solution = solve(lp)
    @test solution.status == :optimal && solution.has_plan
    @test solution.objective ≈ 9.0
    @test solution.value ≈ [3.0, 1.0]
    @test solution.row_dual ≈ [3.0]            # one more unit costs what y costs
    @test solution.reduced_cost ≈ [-1.0, 0.0]  # one more unit of x saves one
end

@testset "integers are integers" begin
    # maximise 5a + 4b + 3c with 2a + 3b + c ≤ 5, all binary: a and b
    lp = LinearProgram()
    row = constraint!(lp, -Inf, 5.0)
    for (cost, weight) in ((-5.0, 2.0), (-4.0, 3.0), (-3.0, 1.0))
        variable!(lp, 0.0, 1.0, cost, (row => weight,); is_integer = true)
    end
    solution = solve(lp)
    @test solution.status == :optimal
    @test solution.objective ≈ -9.0
    @test round.(solution.value) == [1.0, 1.0, 0.0]
    @test solution.relative_gap == 0.0
end

@testset "what has no solution says so" begin
    lp = LinearProgram()
    row = constraint!(lp, 2.0, Inf)
    variable!(lp, 0.0, 1.0, 1.0, (row => 1.0,))
    @test solve(lp).status == :infeasible
    @test !solve(lp).has_plan
end

@testset "a program that is none is refused" begin
    lp = LinearProgram()
    constraint!(lp, 0.0, 1.0)
    variable!(lp, 0.0, 1.0, NaN, (7 => 1.0,))
    @test refusal(() -> solve(lp)) == "SOLVER_FAILED"
end

@testset "memory is given back" begin
    lp = LinearProgram()
    row = constraint!(lp, 4.0, Inf)
    foreach(_ -> variable!(lp, 0.0, 3.0, 2.0, (row => 1.0,)), 1:1000)
    resident() = parse(Int, split(read("/proc/self/statm", String))[2]) * 4096
    foreach(_ -> solve(lp), 1:50)
    before = resident()
    foreach(_ -> solve(lp), 1:200)
    @test resident() - before < 32 * 1024 * 1024
end
