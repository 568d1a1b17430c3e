using GridpactCompute: DispatchResult, pack, unpack

"A house with two roofs, one of which may be curtailed, and a battery, over `T` hours."
function house_input(T; export_price = fill(0.08, T), max_import_kw = 30.0)
    sun = [max(0.0, 4 * sin(2π * (t - 7) / 24)) for t in 1:T]
    return DispatchInput(start_time = "2026-06-01T00:00:00Z", slot_duration_s = 3600, slots = T, currency = "EUR",
        batteries = [DispatchBattery("Keller", Battery(capacity_kwh = 10.0, min_energy_kwh = 1.0,
            max_charge_power_kw = 5.0, max_discharge_power_kw = 5.0, charge_efficiency = 0.95,
            discharge_efficiency = 0.95, wear_cost_per_kwh = 0.01), 5.0, 5.0)],
        pv = [DispatchPv("south", true, sun), DispatchPv("west", true, 2 .* sun), DispatchPv("shed", false, 0.1 .* sun)],
        loads = [DispatchLoad("house", fill(0.5, T)), DispatchLoad("car", [t % 24 == 20 ? 7.0 : 0.0 for t in 1:T])],
        tariff = DispatchTariff(import_price_per_kwh = [0.25 + 0.1 * (t % 24 > 16) for t in 1:T], export_price_per_kwh = export_price),
        grid = DispatchGrid(max_import_power_kw = max_import_kw, max_export_power_kw = 10.0))
end

@testset "a result keeps its contract and comes back from the wire as it was" begin
    input = house_input(48)
    @test keeps_contract(input)
    result = compute(unpack(DispatchInput, pack(input)), ignore)
    @test keeps_contract(result)
    @test pack(unpack(DispatchResult, pack(result))) == pack(result)
end

@testset "powers balance in every slot, in the signs of the contract" begin
    input = house_input(48; export_price = [t % 5 == 0 ? -0.1 : 0.05 for t in 1:48])
    result = compute(input, ignore)
    drawn = sum(load.power_kw for load in input.loads) .+ result.batteries[1].power_kw
    for plant in result.pv
        drawn .+= plant.power_kw
    end
    @test isapprox(drawn, result.grid_power_kw; atol = 1e-6)
    for (plant, planned) in zip(input.pv, result.pv)
        @test all(0 .<= -planned.power_kw .<= plant.available_power_kw .+ 1e-9)
        @test isapprox(planned.curtailed_energy_kwh, sum(plant.available_power_kw .+ planned.power_kw); atol = 1e-6)
    end
    @test result.pv[3].curtailed_energy_kwh == 0
    @test result.pv[1].curtailed_energy_kwh > 0
    @test result.cost ≈ result.energy_cost + result.wear_cost
    @test result.savings ≈ result.baseline_cost - result.cost
    @test result.savings > 0
    @test (result.status, result.relative_gap) == ("OPTIMAL", 0.0)
end

@testset "loads and plants that are split give the same cost" begin
    input = house_input(24)
    joined = DispatchInput(start_time = input.start_time, slot_duration_s = 3600, slots = 24, currency = "EUR",
        batteries = input.batteries,
        pv = [DispatchPv("roof", true, input.pv[1].available_power_kw .+ input.pv[2].available_power_kw), input.pv[3]],
        loads = [DispatchLoad("all", input.loads[1].power_kw .+ input.loads[2].power_kw)],
        tariff = input.tariff, grid = input.grid)
    @test compute(input, ignore).cost ≈ compute(joined, ignore).cost
end

@testset "a site without batteries gains nothing" begin
    input = house_input(24)
    bare = DispatchInput(start_time = input.start_time, slot_duration_s = 3600, slots = 24, currency = "EUR",
        batteries = DispatchBattery[], pv = input.pv, loads = input.loads, tariff = input.tariff, grid = input.grid)
    result = compute(bare, ignore)
    @test isapprox(result.savings, 0.0; atol = 1e-9)
    @test result.baseline_within_grid_limits
end

@testset "progress is told while it works" begin
    stages = String[]
    compute(house_input(24), (fraction, stage; options...) -> push!(stages, stage))
    @test stages == ["build", "solve", "explain"]
end

# The acceptance data stands beside the project, not in it.
const HOUSEHOLD = joinpath(get(ENV, "GRIDPACT_DATA", joinpath(@__DIR__, "..", "..", "..", "..", "..", "shared", "data")), "household-15min")

field(text, name) = match(Regex("\"$name\": (\\[[^\\]]*\\]|-?[0-9.e+-]+)"), text).captures[1]
number_in(text, name) = parse(Float64, field(text, name))
numbers_in(text, name) = parse.(Float64, split(strip(field(text, name), ['[', ']']), ','))

@testset "the household of $count slots costs what its exact optimum says" for count in (96, 672)
    path = joinpath(HOUSEHOLD, "dispatch-$count.json")
    if !isfile(path)
        @info "skipped: no acceptance data beside the project"
        @test_skip false
        continue
    end
    text = read(path, String)
    power = number_in(text, "max_power_kw")
    battery = Battery(capacity_kwh = number_in(text, "capacity_kwh"), min_energy_kwh = number_in(text, "min_energy_kwh"),
        max_charge_power_kw = power, max_discharge_power_kw = power,
        charge_efficiency = number_in(text, "charge_efficiency"), discharge_efficiency = number_in(text, "discharge_efficiency"))
    input = DispatchInput(start_time = "2019-06-30T22:00:00Z", slot_duration_s = 900, slots = count, currency = "EUR",
        batteries = [DispatchBattery("battery", battery, number_in(text, "initial_energy_kwh"), number_in(text, "final_energy_kwh"))],
        pv = [DispatchPv("roof", false, numbers_in(text, "pv_kw"))], loads = [DispatchLoad("house", numbers_in(text, "load_kw"))],
        tariff = DispatchTariff(import_price_per_kwh = numbers_in(text, "import_price_eur_per_kwh"), export_price_per_kwh = numbers_in(text, "export_price_eur_per_kwh")),
        grid = DispatchGrid(max_import_power_kw = number_in(text, "grid_limit_kw"),
            max_export_power_kw = number_in(text, "grid_limit_kw")))
    result = compute(input, ignore)
    @test abs(result.cost - number_in(text, "optimal_cost_eur")) <= 1e-6
end
