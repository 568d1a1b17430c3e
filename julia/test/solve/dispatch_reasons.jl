using GridpactCompute: DispatchProblem, PlannedBattery, reasons, solve_dispatch, stored_value

const WORDS = ["CHARGE_FROM_SURPLUS", "CHARGE_FROM_GRID", "DISCHARGE_TO_LOAD", "DISCHARGE_TO_EXPORT",
    "HOLD_FULL", "HOLD_EMPTY", "HOLD_NO_GAIN", "GRID_LIMIT", "POWER_LIMIT", "FINAL_ENERGY"]

function why(problem)
    plan = solve_dispatch(problem)
    return reasons(problem, plan, 1, stored_value(problem, plan, 1))
end

cell(; initial = 0.0, final = nothing, power = 2.0, max = 4.0, wear = 0.0) =
    PlannedBattery(0.0, max, power, power, 0.9, 0.9, wear, initial, final)

house(import_price, load_kw, battery; export_price = zero(import_price), max_import_kw = 20.0, max_export_kw = 20.0) =
    DispatchProblem(1.0, import_price, export_price, load_kw, zero(load_kw), max_import_kw, max_export_kw, [battery])

@testset "each reason, where it is plain" begin
    # Cheap, dear: buy, then use. The second slot wants no more than 1 kW, so no power limit binds.
    @test why(house([0.1, 0.4], [1.0, 1.0], cell())) == ["CHARGE_FROM_GRID", "DISCHARGE_TO_LOAD"]
    # Sun, then night.
    @test why(house([0.3, 0.3], [-1.5, 1.0], cell())) == ["CHARGE_FROM_SURPLUS", "DISCHARGE_TO_LOAD"]
    # Nothing to gain: one price, a lossy battery.
    @test why(house([0.3, 0.3, 0.3], [1.0, 1.0, 1.0], cell())) |> unique == ["HOLD_EMPTY"]
    # A dearer slot to come, but not dear enough to buy for.
    @test why(house([0.38, 0.385, 0.4], [1.0, 1.0, 1.0], cell(initial = 1.0)))[1:2] == fill("HOLD_NO_GAIN", 2)
    # The power limit: one cheap slot, three dear ones that could use more than it charges.
    @test why(house([0.1, 0.4, 0.4], [0.0, 3.0, 3.0], cell()))[1] == "POWER_LIMIT"
    # Sold at a peak that pays more than any load.
    @test why(house([0.5, 0.9], [0.1, 0.1], cell(initial = 1.0, power = 9.0); export_price = [0.1, 0.55])) ==
          ["HOLD_NO_GAIN", "DISCHARGE_TO_EXPORT"]
    # Full before the peak, with nothing left to want.
    @test why(house([0.1, 0.2, 0.5], [0.0, 0.0, 9.0], cell(power = 9.0)))[2] == "HOLD_FULL"
    # The import limit keeps it from charging more.
    @test why(house([0.1, 0.5], [2.0, 3.5], cell(power = 9.0); max_import_kw = 3.0))[1] == "GRID_LIMIT"
    # It must end full, and charges for nothing else.
    @test why(house([0.3, 0.31], [1.0, 1.0], cell(final = 1.0, power = 9.0)))[1] == "FINAL_ENERGY"
end

@testset "the words are the contract's, one a slot, and fit what the battery does" begin
    seen = Set{String}()
    for seed in 1:400
        problem = any_problem(Dice(seed))
        isempty(problem.batteries) && continue
        plan = plan_or_nothing(problem)
        plan === nothing && continue
        for (b, its) in enumerate(plan.batteries)
            found = reasons(problem, plan, b, stored_value(problem, plan, b))
            @test length(found) == slots(problem) && issubset(found, WORDS)
            for (power, reason) in zip(its.power_kw, found)
                startswith(reason, "CHARGE") && @test power > 0
                startswith(reason, "DISCHARGE") && @test power < 0
                startswith(reason, "HOLD") && @test abs(power) <= 1e-6
            end
            union!(seen, found)
        end
    end
    @test seen == Set(WORDS)
end

@testset "the value of stored energy is what more of it saves" begin
    checked = 0
    for seed in 1:200
        problem = any_problem(Dice(seed); odd = false)
        plan = plan_or_nothing(problem)
        (plan === nothing || isempty(problem.batteries)) && continue
        battery, step = problem.batteries[1], 1e-4
        battery.initial_kwh + step < battery.max_kwh && battery.initial_kwh - step > battery.min_kwh || continue
        cost(change) = begin
            changed = plan_or_nothing(with_batteries(problem,
                [with_initial(battery, battery.initial_kwh + change); problem.batteries[2:end]]))
            changed === nothing ? NaN : changed.cost
        end
        more, less = (plan.cost - cost(step)) / step, (cost(-step) - plan.cost) / step
        (isnan(more) || isnan(less)) && continue
        # What energy is worth before the first slot is what it is worth after it, unless a limit binds there.
        its = plan.batteries[1]
        battery.min_kwh + 0.01 < its.energy_kwh[1] < battery.max_kwh - 0.01 || continue
        checked += 1
        value = stored_value(problem, plan, 1)
        @test more - 1e-5 <= value.least[1] <= less + 1e-5
        @test more - 1e-5 <= value.most[1] <= less + 1e-5
        @test value.least[1] <= value.most[1] + 1e-9
    end
    @test checked > 30
end

@testset "the solver's own value lies between the smallest and the largest" begin
    for seed in 1:200
        problem = any_problem(Dice(seed); odd = false)
        plan = plan_or_nothing(problem)
        plan === nothing && continue
        for (b, its) in enumerate(plan.batteries)
            value = stored_value(problem, plan, b)
            @test all(value.least .- 1e-6 .<= its.marginal_value .<= value.most .+ 1e-6)
        end
    end
end
