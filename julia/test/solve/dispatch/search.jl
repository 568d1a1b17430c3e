using GridpactCompute: Choices, Highs, LinearProgram, constraint!, dispatch_problem, fix!, formulate, slots, term!,
    variable!, widen!

@testset "every plan keeps everything, whatever the site has" begin
    statuses = Dict{String,Int}()
    for seed in 1:300
        input = any_input(Dice(seed))
        @assert keeps_contract(input)
        result = compute(input, ignore)
        @test isempty(faults(input, result))
        @test keeps_contract(result)
        statuses[result.status] = get(statuses, result.status, 0) + 1
    end
    @test statuses["OPTIMAL"] > 200 && statuses["RELAXED"] > 5
end

"The cheapest of all plans of batteries and grid that go one way, by trying every combination of directions."
function cheapest_of_all(problem)
    T, B = slots(problem), length(problem.input.batteries)
    flows = (B + 1) * T
    best = Inf
    for combination in 0:2^flows-1
        program = formulate(problem)
        site, upper = program.sites[1], program.lp.upper
        pairs = [(site.grid.import_, site.grid.export_); [(its.charge, its.discharge) for its in site.storages]]
        for i in 1:flows
            pair, t = pairs[1+div(i - 1, T)], 1 + (i - 1) % T
            upper[pair[1+((combination >> (i - 1)) & 1)][t]] = 0.0
        end
        solution = Highs.solve(program.lp; time_limit_s = 10.0, relative_gap = 0.0)
        solution.status == :optimal && (best = min(best, solution.objective))
    end
    return best
end

@testset "no choice of directions is cheaper" begin
    for seed in 1:40
        site = any_site(Dice(seed); T = 3, odd = true, batteries = seed % 2)
        # Whatever makes both ways worth while: prices, or a group that cannot send its surplus away.
        seed % 3 == 0 && (site = changed(site; groups = [DispatchGroup(name = "Group",
            members = ["Shed"; [its.name for its in site.batteries]], max_export_power_kw = 0.5)]))
        result = result_or_nothing(site)
        best = cheapest_of_all(dispatch_problem(site))
        @test result === nothing ? best == Inf : isapprox(result.cost, best; atol = 1e-6)
    end
end

house(; import_price, export_price, load_kw, cells = DispatchBattery[]) = DispatchInput(
    start_time = "2026-06-01T10:00:00Z", slot_duration_s = 3600, slots = length(load_kw), currency = "EUR",
    batteries = cells, loads = [DispatchLoad("House", load_kw)],
    tariff = DispatchTariff(import_price_per_kwh = import_price, export_price_per_kwh = export_price),
    grid = DispatchGrid(max_import_power_kw = 10.0, max_export_power_kw = 10.0), options = SolverOptions(relative_gap = 0.0))

@testset "a negative price does not make a battery burn energy" begin
    cell = Battery(capacity_kwh = 4.0, max_charge_power_kw = 2.0, max_discharge_power_kw = 2.0,
        charge_efficiency = 0.9, discharge_efficiency = 0.9)
    input = house(import_price = [-0.2, -0.2], export_price = [-0.3, -0.3], load_kw = [1.0, 1.0],
        cells = [DispatchBattery("Battery", cell, 4.0, 4.0)])
    result = compute(input, ignore)
    @test isempty(faults(input, result)) && result.status == "OPTIMAL"
    # Emptying it first makes room to take more; importing and emptying at once would pay yet more.
    @test result.cost ≈ cheapest_of_all(dispatch_problem(input))
end

@testset "a price that is higher to sell than to buy is no money machine" begin
    @test compute(house(import_price = [0.1], export_price = [0.5], load_kw = [1.0]), ignore).cost ≈ 0.1
end

@testset "a discount for more energy does not make one of it either" begin
    # From 2 kWh on a kWh costs 0.1 less than exporting earns.
    site = house(import_price = [0.3, 0.3], export_price = [0.2, 0.2], load_kw = [1.5, 1.5])
    input = changed(site; tariff = changed(site.tariff; import_tiers = DispatchTiers(tiers = [DispatchTier(2.0, -0.2)])))
    @test compute(input, ignore).cost ≈ 3.0 * 0.3 - 1.0 * 0.2
end

@testset "a plan found in time but not proven says so" begin
    # Every slot needs a decision: selling pays more than buying costs.
    T = 2000
    dice = Dice(7)
    input = changed(house(import_price = [roll(dice, -0.3, 0.1) for _ in 1:T], export_price = [roll(dice, -0.1, 0.4) for _ in 1:T],
        load_kw = [roll(dice, 0.0, 4.0) for _ in 1:T], cells = [any_battery(dice, b) for b in 1:3]);
        slot_duration_s = 900, options = SolverOptions(time_limit_s = 1.0, relative_gap = 0.0))
    result = compute(input, ignore)
    @test result.status == "TIME_LIMIT"
    @test isempty(faults(input, result))
    @test result.relative_gap > 0
end

@testset "no time, no plan" begin
    T = 5000
    input = changed(house(import_price = fill(0.3, T), export_price = fill(0.1, T), load_kw = fill(1.0, T),
        cells = [any_battery(Dice(i), i) for i in 1:5]); options = SolverOptions(time_limit_s = 1e-6))
    @test refusal(() -> compute(input, ignore)) == "TASK_TIMEOUT"
end

"At most 1 and at least a little more than 1; and 3 or more of another."
function nearly(missing)
    lp = LinearProgram()
    rows = [constraint!(lp, -Inf, 1.0), constraint!(lp, 1.0 + missing, Inf), constraint!(lp, 3.0, Inf)]
    variable!(lp, 0.0, Inf, 1.0)
    foreach(row -> term!(lp, row, 1.0), rows[1:2])
    variable!(lp, 0.0, Inf, 1.0)
    term!(lp, rows[3], 1.0)
    return lp
end

@testset "rows that rounding contradicts are widened by that, others are left alone" begin
    status(lp) = Highs.solve(lp; time_limit_s = 9.0, relative_gap = 0.0).status
    lp = nearly(2e-6)
    @test status(lp) == :infeasible
    @test widen!(lp) && status(lp) == :optimal
    @test isapprox(lp.row_upper[1] - lp.row_lower[2], 0.0; atol = 1e-8) && (lp.row_lower[3], lp.row_upper[3]) == (3.0, Inf)
    lp = nearly(1e-3)
    @test !widen!(lp) && status(lp) == :infeasible
end
