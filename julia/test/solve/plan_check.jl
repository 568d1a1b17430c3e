using GridpactCompute: PlanCheckInput, PlanConnection, DispatchAssetPower

@testset "the change that an asset makes is the slope of the power flow" begin
    dice = Dice(21)
    seen = 0
    for _ in 1:15
        network = any_network(dice)
        bus = "b$(roll(dice, 2:length(network.buses)))"
        check(scale; report = "ALL") = GridpactCompute.compute(PlanCheckInput(network = network, slots = 1,
            schedule = [DispatchAssetPower("park", [6000.0 * scale]), DispatchAssetPower("idle", [0.0])],
            connections = [PlanConnection(asset = "idle", bus = "b1"),
                PlanConnection(asset = "park", bus = bus, power_factor = 0.9)],
            options = PowerFlowOptions(report = report, tolerance_pu = 1e-11)), without_progress)
        result = check(1.0)
        h = 1e-5
        state(scale) = check(scale).power_flow.states[1]
        up, down = state(1 + h), state(1 - h)
        number = Dict(branch.name => m for (m, branch) in enumerate(network.branches))
        for overload in result.overloads
            m = number[overload.branch]
            change = overload.loading_changes_percent[findfirst(==("park"), overload.assets)]
            @test change ≈ (up.loading_percent[m] - down.loading_percent[m]) / 2h rtol = 1e-4 atol = 1e-3
            @test issorted(overload.loading_changes_percent; rev = true)
            seen += 1
        end
        @test result.violated_slot_count == (isempty(result.overloads) && isempty(result.voltage_violations) ? 0 : 1)
        @test result.within_limits == (result.violated_slot_count == 0)
    end
    @test seen > 5
end

@testset "without the plan is the network alone" begin
    network = any_network(Dice(22))
    result = GridpactCompute.compute(PlanCheckInput(network = network, slots = 2,
        schedule = [DispatchAssetPower("park", [0.0, 30_000.0])],
        connections = [PlanConnection(asset = "park", bus = "b3")]), without_progress)
    alone = power_flow(network).states[1]
    number = Dict(branch.name => m for (m, branch) in enumerate(network.branches))
    @test any(it -> it.slot == 1, result.overloads)
    for overload in result.overloads
        @test overload.loading_without_plan_percent ≈ alone.loading_percent[number[overload.branch]] atol = 1e-5
    end
end
