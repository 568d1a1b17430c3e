using GridpactCompute: COST, NO_RELIEF, Stop, cvar, futures, power_kw, search

"A site in several futures."
function uncertain(seed; count = 2, shared_slots = 1, members...)
    dice = Dice(seed)
    input = any_input(dice; site = any_site(dice; T = roll(dice, 2:6), odd = false))
    return changed(input; uncertainty = any_uncertainty(dice, input; count = count, shared_slots = min(shared_slots, input.slots), members...))
end

"The input as one of its futures says."
function as_future(input, scenario)
    series(items, name, given) = something((its.power_kw for its in items if its.name == name)..., given)
    return changed(input; uncertainty = nothing,
        loads = [changed(its; power_kw = first([[s.power_kw for s in scenario.loads if s.name == its.name]; [its.power_kw]])) for its in input.loads],
        pv = [changed(its; available_power_kw = first([[s.power_kw for s in scenario.pv if s.name == its.name]; [its.available_power_kw]])) for its in input.pv],
        tariff = changed(input.tariff; import_price_per_kwh = something(scenario.import_price_per_kwh, input.tariff.import_price_per_kwh),
            export_price_per_kwh = something(scenario.export_price_per_kwh, input.tariff.export_price_per_kwh)))
end

@testset "the mean of the worst cases" begin
    @test cvar([1.0, 5.0, 3.0], [0.5, 0.25, 0.25], 0.25) ≈ 5.0
    @test cvar([1.0, 5.0, 3.0], [0.5, 0.25, 0.25], 0.5) ≈ 4.0
    @test cvar([1.0, 5.0, 3.0], [0.5, 0.25, 0.25], 1.0) ≈ 2.5
    @test cvar([2.0], [1.0], 0.1) ≈ 2.0
end

@testset "one future twice is that future" begin
    for seed in 1:25
        input = uncertain(seed; count = 2, risk_weight = 0.2 * (seed % 4))
        scenario = input.uncertainty.scenarios[1]
        twice = changed(input; uncertainty = changed(input.uncertainty; scenarios = [scenario, changed(scenario; name = "Again")]))
        alone, both = result_or_nothing(as_future(input, scenario)), result_or_nothing(twice)
        @test (alone === nothing) == (both === nothing)
        alone === nothing && continue
        # What decides the plan beside its cost is in the mean of both as it is alone.
        beside(result) = input.previous_plan === nothing ? 0.0 : input.previous_plan.deviation_cost_per_kwh * result.deviation_kwh
        any(its -> !isempty(its.reasons) && "RECOVER" in its.reasons, both.batteries) && continue
        @test isapprox(both.cost + beside(both), alone.cost + beside(alone); atol = 1e-5)
        @test isapprox(both.uncertainty.expected_cost, both.cost; atol = 1e-5) || input.previous_plan !== nothing
    end
end

@testset "every future keeps everything, and the told one is the most probable" begin
    told = 0
    for seed in 1:40
        input = uncertain(seed; count = 3, risk_weight = 0.5)
        result = compute(input, ignore)
        scenarios = input.uncertainty.scenarios
        best = argmax([its.probability for its in scenarios])
        @test result.uncertainty.scenario == scenarios[best].name
        future = as_future(input, scenarios[best])
        @test isempty(faults(future, result))
        @test keeps_contract(result)
        plans = result.uncertainty.scenarios
        @test sum(its.probability for its in plans) ≈ 1
        @test isapprox(result.uncertainty.expected_cost, sum(its.probability * its.cost for its in plans); atol = 1e-9)
        @test result.uncertainty.cvar >= result.uncertainty.expected_cost - 1e-9
        @test plans[best].grid_power_kw == result.grid_power_kw
        # Knowing what comes is never worse, and nothing but what is shared keeps it from being known.
        result.status == "OPTIMAL" && input.previous_plan === nothing || continue
        for (scenario, its) in zip(scenarios, plans)
            knowing = result_or_nothing(as_future(input, scenario))
            knowing === nothing || any(plan -> "RECOVER" in plan.reasons, knowing.batteries) || (told += 1; @test knowing.cost <= its.cost + 1e-5)
        end
    end
    @test told > 40
end

@testset "what is shared is the same in every future, and only that" begin
    apart = 0
    for seed in 1:40
        input = uncertain(seed; count = 2, shared_slots = 2, risk_weight = 0.3)
        searched = search(futures(input), COST, NO_RELIEF, Stop(60.0, 0.0))
        searched.solution.has_plan || continue
        value, S = searched.solution.value, input.uncertainty.shared_slots
        one, other = searched.program.sites
        for (a, b) in zip(one.storages, other.storages)
            shared = count(<=(S), a.slots)
            @test isapprox(power_kw(value, a)[1:shared], power_kw(value, b)[1:shared]; atol = 1e-6)
            isapprox(power_kw(value, a), power_kw(value, b); atol = 1e-3) || (apart += 1)
        end
        for (a, b) in zip([one.flexible_loads; one.heat_pumps], [other.flexible_loads; other.heat_pumps])
            shared = hasproperty(a, :slots) ? count(<=(S), a.slots) : S
            @test isapprox(value[a.power[1:shared]], value[b.power[1:shared]]; atol = 1e-6)
        end
        for (a, b) in zip(one.generators, other.generators)
            isempty(a.running) || @test isapprox(value[a.running[1:S]], value[b.running[1:S]]; atol = 1e-6)
            K = a.segment_count
            @test isapprox([sum(value[its.segments[(t-1)*K+1:t*K]]) for t in 1:S for its in (a,)],
                [sum(value[its.segments[(t-1)*K+1:t*K]]) for t in 1:S for its in (b,)]; atol = 1e-6)
        end
    end
    @test apart > 5
end

@testset "more weight on risk never raises the CVaR, nor lowers the mean" begin
    for seed in 1:25
        base = uncertain(seed; count = 3, tail_probability = 0.4)
        base.previous_plan === nothing || (base = changed(base; previous_plan = nothing))
        last_cvar, last_mean = Inf, -Inf
        for weight in (0.0, 0.3, 0.9)
            result = compute(changed(base; uncertainty = changed(base.uncertainty; risk_weight = weight)), ignore)
            "RECOVER" in [reason for its in result.batteries for reason in its.reasons] && break
            result.status == "RELAXED" && break
            @test result.uncertainty.cvar <= last_cvar + 1e-5
            @test result.uncertainty.expected_cost >= last_mean - 1e-5
            last_cvar, last_mean = result.uncertainty.cvar, result.uncertainty.expected_cost
        end
    end
end

@testset "against a battery that must decide before it knows, by hand" begin
    # 1 kWh is to be bought at 0.2 now, or later at 0.1 or 0.5, either as likely.
    cell = Battery(capacity_kwh = 1.0, max_charge_power_kw = 1.0, max_discharge_power_kw = 1.0, charge_efficiency = 1.0, discharge_efficiency = 1.0)
    input = DispatchInput(start_time = "2026-06-01T10:00:00Z", slot_duration_s = 3600, slots = 2, currency = "EUR",
        batteries = [DispatchBattery("Battery", cell, 0.0, nothing)], loads = [DispatchLoad("House", [0.0, 1.0])],
        tariff = DispatchTariff(import_price_per_kwh = [0.2, 0.1], export_price_per_kwh = [0.0, 0.0]),
        grid = DispatchGrid(max_import_power_kw = 5.0, max_export_power_kw = 5.0),
        uncertainty = DispatchUncertainty(scenarios = [DispatchScenario(name = "Cheap", probability = 3.0),
            DispatchScenario(name = "Dear", probability = 1.0, import_price_per_kwh = [0.2, 0.5])]))
    # On average waiting costs 0.75 · 0.1 + 0.25 · 0.5 = 0.2: weigh the dear case, and buying now is better.
    averse = compute(changed(input; uncertainty = changed(input.uncertainty; risk_weight = 0.5, tail_probability = 0.25)), ignore)
    @test averse.batteries[1].power_kw[1] ≈ 1.0
    @test averse.uncertainty.expected_cost ≈ 0.2 && averse.uncertainty.cvar ≈ 0.2
    rare = changed(input; uncertainty = changed(input.uncertainty; scenarios = [input.uncertainty.scenarios[1],
        changed(input.uncertainty.scenarios[2]; probability = 0.5)]))
    waiting = compute(rare, ignore)
    @test waiting.batteries[1].power_kw[1] ≈ 0.0
    @test waiting.cost ≈ 0.1
    @test waiting.uncertainty.cvar ≈ 0.5
end

@testset "a heat pump that is held above its least power stays there" begin
    # Most probably power is dear later, and the tank is filled now; where it is cheap later, less would do.
    future(name, probability, later) = DispatchScenario(name = name, probability = probability, import_price_per_kwh = [0.3, later])
    input = DispatchInput(start_time = "2026-06-01T10:00:00Z", slot_duration_s = 3600, slots = 2, currency = "EUR",
        batteries = DispatchBattery[], loads = [DispatchLoad("House", [1.0, 0.0])],
        heat_pumps = [DispatchHeatPump("Heat pump", 0.5, 2.0, [2.0, 2.0], [0.0, 3.0], DispatchHeatTank(max_energy_kwh = 9.0, initial_energy_kwh = 0.0))],
        tariff = DispatchTariff(import_price_per_kwh = [0.3, 0.3], export_price_per_kwh = [0.0, 0.0]),
        grid = DispatchGrid(max_import_power_kw = 9.0, max_export_power_kw = 9.0),
        uncertainty = DispatchUncertainty(1, 0.0, 1.0, [future("dear", 2.0, 0.9), future("cheap", 0.5, 0.01)]))
    for its in compute(input, ignore).uncertainty.scenarios
        @test isapprox(its.grid_power_kw[1], 2.5; atol = 1e-5)
    end
end
