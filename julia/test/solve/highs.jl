using GridpactCompute: Highs, LinearProgram, constraint!, variable!

solve(lp; time_limit_s = 10.0, relative_gap = 0.0, on_progress = nothing) =
    Highs.solve(lp; time_limit_s = time_limit_s, relative_gap = relative_gap, on_progress = on_progress)

"A knapsack of several dimensions: `count` binary columns; 60 take a solver minutes, 25 half a second."
function knapsack(count; dice = Dice(1))
    lp = LinearProgram()
    rows = [constraint!(lp, -Inf, 12.5 * count) for _ in 1:8]
    for _ in 1:count
        weights = [Float64(roll(dice, 5:50)) for _ in rows]
        variable!(lp, 0.0, 1.0, -sum(weights) / 8 - roll(dice, 0.0, 5.0), map(=>, rows, weights); is_integer = true)
    end
    return lp
end

this_thread() = ccall(:syscall, Clong, (Clong,), 186)      # gettid, on x86_64

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

@testset "a search tells what it has found and proven, on the thread that asked" begin
    heard, threads, started = Any[], Set{Int}(), time()
    solution = solve(knapsack(60); time_limit_s = 3.0, on_progress = (found...) -> begin
        push!(heard, found)
        push!(threads, this_thread())
        GC.gc(false)                                        # as may happen in any callback
    end)
    @test solution.status == :time_limit && solution.has_plan
    @test solution.bound <= solution.objective
    @test threads == Set(this_thread())
    @test 5 <= length(heard) <= 1 + 10 * (time() - started)
    @test heard[1] == (nothing, nothing, nothing)
    told = filter(found -> !any(isnothing, found), heard)
    @test length(told) >= 3
    for (objective, bound, gap) in told
        @test bound <= solution.objective <= objective
        @test gap ≈ (objective - bound) / abs(objective)
    end
    @test issorted(first.(told); rev = true) && issorted(getindex.(told, 2))
end

@testset "a model that nobody needs is not destroyed while another one is solved" begin
    lp = LinearProgram()
    variable!(lp, 0.0, 1.0, 1.0, ())
    abandoned = Highs.Model(lp)
    told_count = 0
    solve(knapsack(40); time_limit_s = 0.6, on_progress = (_...) -> begin
        finalize(abandoned)                                 # as the garbage collector would
        told_count += 1
        @test abandoned.highs != C_NULL
    end)
    @test told_count >= 1
    finalize(abandoned)
    @test abandoned.highs == C_NULL
end

@testset "what hears of a search may end it" begin
    started = time()
    @test_throws DomainError solve(knapsack(60); time_limit_s = 60.0, on_progress = (_...) -> throw(DomainError(1)))
    @test time() - started < 10
    @test solve(knapsack(10)).status == :optimal            # and the next one is none the worse
end

@testset "a linear program has nothing to tell on its way" begin
    lp = LinearProgram()
    variable!(lp, 1.0, 2.0, 1.0, ())
    @test solve(lp; on_progress = (_...) -> error("called")).objective == 1.0
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

"Transport with random costs, supplies and limits: rows first supplies, then demands."
function transport(dice; from = 6, to = 8)
    lp = LinearProgram()
    supplies = [constraint!(lp, 0.0, roll(dice, 5.0, 10.0) * to / from) for _ in 1:from]
    demands = [constraint!(lp, roll(dice, 1.0, 11.0), Inf) for _ in 1:to]
    for supply in supplies, demand in demands
        variable!(lp, 0.0, roll(dice, 1.0, 8.0), roll(dice, 0.0, 9.0), (supply => 1.0, demand => 1.0))
    end
    return lp
end

same(one, other) = one.status == other.status &&
    (!one.has_plan || isapprox(one.objective, other.objective; atol = 1e-7))

@testset "a model that was changed in place gives what a new one gives" begin
    dice = Dice(5)
    infeasible_count = 0
    lp = transport(dice)
    model = Highs.Model(lp)
    for round in 1:200
        next = transport(dice)
        first = roll(dice, 1:30)
        # Some of it changes, and what HiGHS is told is kept in a program of our own.
        span = first:roll(dice, first:length(lp.cost))
        lp.cost[span] = next.cost[span]
        Highs.change_costs!(model, first, lp.cost[span])
        if roll(dice, (true, false))
            lp.lower[span], lp.upper[span] = next.lower[span], next.upper[span]
            Highs.change_bounds!(model, first, lp.lower[span], lp.upper[span])
        end
        rows = roll(dice, 1:7):14
        lp.row_lower[rows], lp.row_upper[rows] = next.row_lower[rows], next.row_upper[rows]
        Highs.change_rows!(model, Base.first(rows), lp.row_lower[rows], lp.row_upper[rows])
        if roll(dice, (true, false))
            entry = roll(dice, 1:length(lp.row))
            lp.coefficient[entry] = roll(dice, 0.5, 1.5)
            Highs.change_coefficient!(model, lp.row[entry] + 1, (entry + 1) ÷ 2, lp.coefficient[entry])
        end
        roll(dice, 1:10) == 1 && Highs.change_basis!(model, nothing)
        warm, cold = Highs.solve!(model; time_limit_s = 10.0), solve(lp)
        @test same(warm, cold)
        infeasible_count += warm.status == :infeasible
    end
    @test 0 < infeasible_count < 100
    close(model)
end

@testset "a model starts from the basis it is given" begin
    lp = transport(Dice(6); from = 40, to = 60)
    steps(model) = (Highs.solve!(model; time_limit_s = 10.0); Highs.int_info(model.highs, "simplex_iteration_count"))
    first, second = Highs.Model(lp), Highs.Model(lp)
    cold = steps(first)
    @test cold > 20
    @test steps(first) == 0                                 # nothing changed
    Highs.change_basis!(second, Highs.basis(first))
    @test steps(second) == 0
    Highs.change_basis!(second, nothing)
    @test steps(second) == cold
    @test_throws DimensionMismatch Highs.change_basis!(second, Highs.Basis(Int32[1], Int32[1]))
end

@testset "a model has its time limit again in every run" begin
    model = Highs.Model(knapsack(60))
    for _ in 1:3
        started = time()
        found = Highs.solve!(model; time_limit_s = 0.4)
        @test found.status == :time_limit && found.has_plan
        @test 0.3 < time() - started < 20
    end
    close(model)
end

@testset "the deadline of the task ends a search before it, with the best plan" begin
    try
        for left_s in (0.6, 1.5)
            started = time_ns()
            Highs.DEADLINE_NS[] = started + round(UInt64, 1e9 * left_s)
            Highs.GIVEN_S[] = left_s
            found = solve(knapsack(60); time_limit_s = 60.0)
            took_s = (time_ns() - started) / 1e9
            @test found.status == :time_limit && found.has_plan
            @test left_s / 3 < took_s < 20              # of 60
        end
        # The last search of a task leaves as much for its answer as the first.
        for (given_s, left_s, most_s) in ((0.6, 0.6, 0.3), (10.0, 10.0, 8.0), (100.0, 100.0, 85.0), (60.0, 30.0, 18.0),
                (60.0, 20.0, 10.0), (60.0, 0.5, 0.2))
            Highs.GIVEN_S[] = given_s
            Highs.DEADLINE_NS[] = time_ns() + round(UInt64, 1e9 * left_s)
            @test left_s / 3 < Highs.allowed_s(600.0, true) <= most_s
        end
        Highs.DEADLINE_NS[] = time_ns() - UInt64(1)         # it has passed
        @test solve(knapsack(60); time_limit_s = 60.0).status == :time_limit
    finally
        Highs.DEADLINE_NS[] = typemax(UInt64)
    end
    @test Highs.allowed_s(7.0, true) == 7.0
end

@testset "what is beyond a model is refused, and so is a closed one" begin
    model = Highs.Model(transport(Dice(6)))
    @test_throws BoundsError Highs.change_costs!(model, 48, [1.0, 2.0])
    @test_throws BoundsError Highs.change_costs!(model, 0, [1.0])
    @test_throws BoundsError Highs.change_bounds!(model, 1, [1.0], [1.0, 2.0])
    @test_throws BoundsError Highs.change_rows!(model, 15, [1.0], [1.0])
    @test_throws BoundsError Highs.change_coefficient!(model, 1, 49, 1.0)
    close(model)
    close(model)
    @test_throws ArgumentError Highs.solve!(model; time_limit_s = 1.0)
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
    for _ in 1:200                                          # nobody closes these
        Highs.solve!(Highs.Model(lp); time_limit_s = 10.0)
    end
    GC.gc()
    @test resident() - before < 64 * 1024 * 1024
end
