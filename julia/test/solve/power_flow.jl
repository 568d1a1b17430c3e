using GridpactCompute: ContractError, MsgPack, PlanCheckInput, PowerFlowDivergence, PowerFlowInput, unpack

@testset "power balances at every bus of random networks" begin
    dice = Dice(11)
    for _ in 1:60
        network = any_network(dice)
        result = power_flow(network)
        @test balances(network, result)
        state = result.states[1]
        @test result.by_slot.losses_mw[1] ≈ sum(state.from_active_power_mw) + sum(state.to_active_power_mw) atol = 1e-9
        @test result.by_slot.highest_loading_percent[1] == maximum(state.loading_percent)
        @test state.voltage_pu[1] == network.generators[1].voltage_setpoint_pu
    end
end

@testset "every start leads to the same solution" begin
    dice = Dice(12)
    for _ in 1:20
        network = any_network(dice)
        flat = power_flow(network; start = "FLAT").states[1]
        for start in ("DC", "GIVEN", "AUTO")
            other = power_flow(network; start = start).states[1]
            @test other.voltage_pu ≈ flat.voltage_pu atol = 1e-9
            @test other.angle_deg ≈ flat.angle_deg atol = 1e-7
        end
    end
end

@testset "a line to one load is the root of a quadratic equation" begin
    # V₂⁴ + (2(PR + QX) − V₁²)V₂² + (P² + Q²)(R² + X²) = 0
    P, Q, R, X, V1 = 0.4, 0.1, 0.02, 0.03, 1.02
    network = Network(base_power_mva = 10.0,
        buses = [NetworkBus(name = "a", nominal_voltage_kv = 20.0), NetworkBus(name = "b", nominal_voltage_kv = 20.0)],
        branches = [NetworkBranch(name = "l", kind = "LINE", from_bus = "a", to_bus = "b", resistance_pu = R, reactance_pu = X)],
        generators = [NetworkGenerator(name = "g", bus = "a", role = "SLACK", voltage_setpoint_pu = V1)],
        loads = [NetworkLoad(name = "h", bus = "b", active_power_mw = 10P, reactive_power_mvar = 10Q)])
    half = V1^2 / 2 - (P * R + Q * X)
    V2 = sqrt(half + sqrt(half^2 - (P^2 + Q^2) * (R^2 + X^2)))
    result = power_flow(network)
    @test result.states[1].voltage_pu[2] ≈ V2 atol = 1e-12
    @test result.by_slot.losses_mw[1] ≈ 10 * R * (P^2 + Q^2) / V2^2 atol = 1e-10
end

@testset "a plant at its reactive limit lets its voltage go" begin
    dice = Dice(13)
    seen = 0
    for _ in 1:60
        network = any_network(dice)
        length(network.generators) == 2 || continue
        result = power_flow(network; enforce_reactive_limits = true)
        @test balances(network, result)
        q, v = result.states[1].generator_reactive_power_mvar[2], result.states[1].voltage_pu[end]
        set = network.generators[2].voltage_setpoint_pu
        @test -3 - 1e-5 <= q <= 3 + 1e-5
        @test v ≈ set || (isapprox(q, 3; atol = 1e-5) && v < set) || (isapprox(q, -3; atol = 1e-5) && v > set)
        seen += length(result.reactive_limits)
    end
    @test seen > 5
end

@testset "a series is its slots one by one" begin
    dice = Dice(14)
    network = any_network(dice)
    loads = [NetworkLoad(name = load.name, bus = load.bus, active_power_mw = load.active_power_mw,
        reactive_power_mvar = load.reactive_power_mvar, profile = "day") for load in network.loads]
    given = Network(base_power_mva = network.base_power_mva, buses = network.buses, branches = network.branches,
        generators = network.generators, loads = loads, shunts = network.shunts)
    factors = [0.2, 1.0, 0.6, 1.0]
    options = PowerFlowOptions(report = "ALL", tolerance_pu = 1e-11)
    result = GridpactCompute.compute(PowerFlowInput(network = given, slots = 4,
        profiles = [NetworkProfile("day", "FACTOR", factors)], options = options), without_progress)
    for slot in 1:4
        alone = GridpactCompute.compute(PowerFlowInput(network = given,
            profiles = [NetworkProfile("day", "FACTOR", factors[slot:slot])], options = options), without_progress)
        @test result.states[slot].voltage_pu ≈ alone.states[1].voltage_pu atol = 1e-10
        @test result.by_slot.losses_mw[slot] ≈ alone.by_slot.losses_mw[1] atol = 1e-8
    end
    @test result.extremes.lowest_voltage_pu ≈ minimum(reduce(hcat, [state.voltage_pu for state in result.states]); dims = 2)[:]
end

"Three buses in a row; the last one is cut off when `cut`, and the load is `load_mw`."
function row_of_three(; cut = false, load_mw = 1.0)
    line(name, from, to; in_service = true) = NetworkBranch(name = name, kind = "LINE", from_bus = from, to_bus = to,
        resistance_pu = 0.02, reactance_pu = 0.1, in_service = in_service)
    return Network(base_power_mva = 10.0,
        buses = [NetworkBus(name = name, nominal_voltage_kv = 20.0) for name in ("a", "b", "c")],
        branches = [line("ab", "a", "b"), line("bc", "b", "c"; in_service = !cut)],
        generators = [NetworkGenerator(name = "g", bus = "a", role = "SLACK")],
        loads = [NetworkLoad(name = "h", bus = "c", active_power_mw = load_mw)])
end

blamed(work) = try
    work()
    String[]
catch err
    err isa ContractError || rethrow()
    ["$(v.field):$(v.rule)" for v in err.violations]
end

@testset "what no slack reaches is refused by name, or dead" begin
    network = row_of_three(cut = true)
    @test blamed(() -> power_flow(network)) == ["network.buses[2]:connected-to-slack"]
    result = power_flow(network; islands = "DE_ENERGISE")
    @test result.states[1].voltage_pu == [1.0, 1.0, 0.0]
    @test [island.energised for island in result.islands] == [true, false]
    @test result.islands[2].buses == ["c"]
    @test isempty(result.voltage_violations)
end

@testset "divergence says where, and how much load is carried" begin
    failure = try
        power_flow(row_of_three(load_mw = 40.0))
        nothing
    catch err
        err
    end
    @test failure isa ContractError && failure.reason == "POWER_FLOW_DIVERGED"
    @test [v.rule for v in failure.violations][1:2] == ["converges", "loadability"]
    factor = parse(Float64, match(r"multiplied by ([0-9.]+):", failure.message).captures[1])
    @test blamed(() -> power_flow(row_of_three(load_mw = 40.0 * factor))) == String[]
    @test blamed(() -> power_flow(row_of_three(load_mw = 40.0 * (factor + 1 / 64)))) != String[]
end

@testset "a slot that diverges is named, the others are solved" begin
    network = row_of_three()
    loads = [NetworkLoad(name = "h", bus = "c", active_power_mw = 1.0, profile = "p")]
    given = Network(base_power_mva = 10.0, buses = network.buses, branches = network.branches,
        generators = network.generators, loads = loads)
    result = GridpactCompute.compute(PowerFlowInput(network = given, slots = 3,
        profiles = [NetworkProfile("p", "MW", [1.0, 40.0, 1.0])]), without_progress)
    @test [it.slot for it in result.divergences] == [1]
    @test 0 < result.divergences[1].convergent_factor < 1
    @test result.by_slot.losses_mw[2] == 0
    @test result.by_slot.losses_mw[1] ≈ result.by_slot.losses_mw[3] > 0
end

@testset "contradictions are refused by name" begin
    network = row_of_three()
    with(; generators = network.generators, loads = network.loads) = Network(base_power_mva = 10.0,
        buses = network.buses, branches = network.branches, generators = generators, loads = loads)
    slack(name, v) = NetworkGenerator(name = name, bus = "a", role = "SLACK", voltage_setpoint_pu = v)
    @test blamed(() -> power_flow(with(generators = [slack("g", 1.0), slack("h", 1.01)]))) ==
          ["network.generators[1].voltage_setpoint_pu:same-setpoint"]
    idle = NetworkGenerator(name = "g", bus = "a", role = "SLACK", in_service = false)
    @test "network.generators:contains" in blamed(() -> power_flow(with(generators = [idle])))
    load = NetworkLoad(name = "h", bus = "c", active_power_mw = 1.0, profile = "q")
    @test blamed(() -> GridpactCompute.compute(PowerFlowInput(network = with(loads = [load]),
        profiles = [NetworkProfile("q", "MVAR", [1.0])]), without_progress)) == ["network.loads[0].profile:unit"]
end

@testset "bad input is refused by name before a solver sees it" begin
    plain(kind) = MsgPack.unpack(MsgPack.pack(first(GridpactCompute.rehearsals(kind))[1]))
    network(change!) = given -> change!(given["network"])
    cases = (
        network(it -> it["branches"] = Any[]) => "network.branches:min-items",
        network(it -> it["buses"][2]["name"] = it["buses"][1]["name"]) => "network.buses[1].name:unique",
        network(it -> it["branches"][1]["to_bus"] = "nowhere") => "network.branches[0].to_bus:refers-to",
        network(it -> it["loads"][1]["bus"] = "nowhere") => "network.loads[0].bus:refers-to",
        network(it -> it["shunts"][1]["bus"] = "nowhere") => "network.shunts[0].bus:refers-to",
        network(it -> it["branches"][1]["tap_ratio"] = 0) => "network.branches[0].tap_ratio:exclusive-minimum",
        network(it -> merge!(it["branches"][1], Dict("resistance_pu" => 0, "reactance_pu" => 0.0))) =>
            "network.branches[0].resistance_pu:not-all-zero",
        network(it -> it["branches"][1]["to_bus"] = it["branches"][1]["from_bus"]) =>
            "network.branches[0].to_bus:unique",
        network(it -> it["generators"][1]["role"] = "PV") => "network.generators:contains",
        network(it -> it["buses"][1]["min_voltage_pu"] = 1.5) => "network.buses[0].min_voltage_pu:at-most",
        (it -> it["profiles"][1]["values"] = [1.0]) => "profiles[0].values:length-equals",
        (it -> it["profiles"][1]["name"] = "another") => "network.loads[0].profile:refers-to",
    )
    for kind in (PowerFlowInput, PlanCheckInput), (change!, violation) in cases
        given = plain(kind)
        change!(given)
        @test violation in blamed(() -> unpack(kind, MsgPack.pack(given)))
    end
    plan(change!) = (given = plain(PlanCheckInput); change!(given);
        blamed(() -> unpack(PlanCheckInput, MsgPack.pack(given))))
    @test "schedule[0].power_kw:length-equals" in plan(it -> it["schedule"][1]["power_kw"] = [1.0])
    @test "connections[0].bus:refers-to" in plan(it -> it["connections"][1]["bus"] = "nowhere")
    @test "schedule[1].name:unique" in plan(it -> push!(it["schedule"], it["schedule"][1]))
    # What is no number is no message.
    bytes = MsgPack.pack(plain(PowerFlowInput))
    nan = reinterpret(UInt8, [hton(reinterpret(UInt64, NaN))])
    base = findfirst(i -> bytes[i] == 0xcb && bytes[i+1:i+8] == reinterpret(UInt8, [hton(10.0)]), 1:length(bytes)-8)
    bytes[base+1:base+8] = nan
    @test refusal(() -> unpack(PowerFlowInput, bytes)) == "MESSAGE_MALFORMED"
end
