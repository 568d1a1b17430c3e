using GridpactCompute: Directions, DispatchProblem, Highs, ONLY_NEGATIVE, ONLY_POSITIVE, PlannedBattery,
    formulate, solve_dispatch

@testset "a plan keeps every limit and goes one way in each slot" begin
    plans = 0
    for seed in 1:300
        problem = any_problem(Dice(seed))
        plan = plan_or_nothing(problem)
        plan === nothing && continue
        plans += 1
        @test keeps_everything(problem, plan)
        @test plan.status == :optimal
    end
    @test plans > 200
end

"The cheapest of all plans that go one way, by trying every combination of directions."
function cheapest_of_all(problem)
    T, B = slots(problem), length(problem.batteries)
    flows = (B + 1) * T
    best = Inf
    for combination in 0:2^flows-1
        ways = [(combination >> (i - 1)) & 1 == 1 ? ONLY_POSITIVE : ONLY_NEGATIVE for i in 1:flows]
        directions = Directions(ways[1:T], [ways[b*T+1:b*T+T] for b in 1:B])
        solution = Highs.solve(formulate(problem, directions).lp; time_limit_s = 10.0, relative_gap = 0.0)
        solution.status == :optimal && (best = min(best, solution.objective))
    end
    return best
end

@testset "no choice of directions is cheaper" begin
    for seed in 1:40
        problem = any_problem(Dice(seed); slot_count = 3, odd = true)
        length(problem.batteries) > 1 && continue
        plan = plan_or_nothing(problem)
        cost = plan === nothing ? Inf : plan.cost
        @test isapprox(cost, cheapest_of_all(problem); atol = 1e-6) || cost == cheapest_of_all(problem)
    end
end

@testset "a negative price does not make a battery burn energy" begin
    battery = PlannedBattery(0.0, 4.0, 2.0, 2.0, 0.9, 0.9, 0.0, 4.0, 4.0)
    problem = DispatchProblem(1.0, [-0.2, -0.2], [-0.3, -0.3], [1.0, 1.0], [0.0, 0.0], 10.0, 10.0, [battery])
    plan = solve_dispatch(problem)
    @test keeps_everything(problem, plan)
    @test plan.status == :optimal
    # Emptying it first makes room to take more; importing and emptying at once would pay yet more.
    @test plan.cost ≈ cheapest_of_all(problem)
end

@testset "a price that is higher to sell than to buy is no money machine" begin
    problem = DispatchProblem(1.0, [0.1], [0.5], [1.0], [0.0], 10.0, 10.0, PlannedBattery[])
    @test solve_dispatch(problem).cost ≈ 0.1
end

@testset "prices say what one more kWh costs" begin
    checked = 0
    for seed in 1:80
        problem = any_problem(Dice(seed); odd = false)
        plan = plan_or_nothing(problem)
        plan === nothing && continue
        t, step = 1 + seed % slots(problem), 1e-4
        cost_at(change) = begin
            load = copy(problem.load_kw)
            load[t] += change
            changed = plan_or_nothing(with_load(problem, load))
            changed === nothing ? NaN : changed.cost
        end
        up, down = (cost_at(step) - plan.cost) / step, (plan.cost - cost_at(-step)) / step
        (isnan(up) || isnan(down)) && continue
        checked += 1
        @test down - 1e-5 <= problem.slot_h * plan.grid_price[t] <= up + 1e-5
    end
    @test checked > 40
end

@testset "a plan found in time but not proven says so" begin
    # Every slot needs a decision: selling pays more than buying costs.
    T = 2000
    dice = Dice(7)
    batteries = [any_battery(dice) for _ in 1:3]
    problem = DispatchProblem(0.25, [roll(dice, -0.3, 0.1) for _ in 1:T], [roll(dice, -0.1, 0.4) for _ in 1:T],
        [roll(dice, 0.0, 4.0) for _ in 1:T], zeros(T), 30.0, 30.0, batteries)
    plan = solve_dispatch(problem; time_limit_s = 1.0, relative_gap = 0.0)
    @test plan.status == :time_limit
    @test keeps_everything(problem, plan)
    @test plan.relative_gap > 0
end

@testset "no time, no plan" begin
    problem = any_problem(Dice(3); slot_count = 12)
    T = 5000
    long = DispatchProblem(0.25, fill(0.3, T), fill(0.1, T), fill(1.0, T), zeros(T), 30.0, 30.0,
        [any_battery(Dice(i)) for i in 1:5])
    @test refusal(() -> solve_dispatch(long; time_limit_s = 1e-6)) == "TASK_TIMEOUT"
end
