const WORDS_OF_BATTERIES = ["CHARGE_FROM_SURPLUS", "CHARGE_FROM_GRID", "DISCHARGE_TO_LOAD", "DISCHARGE_TO_EXPORT",
    "HOLD_FULL", "HOLD_EMPTY", "HOLD_NO_GAIN", "GRID_LIMIT", "POWER_LIMIT", "FINAL_ENERGY"]

cell(; power = 2.0, capacity = 4.0, members...) = Battery(; capacity_kwh = capacity, max_charge_power_kw = power,
    max_discharge_power_kw = power, charge_efficiency = 0.9, discharge_efficiency = 0.9, members...)

battery(; initial = 0.0, final = nothing, members...) = DispatchBattery("Battery", cell(; members...), initial, final)

"An hourly site; `load_kw` below 0 is PV that must be taken."
function home(import_price, load_kw; export_price = zero(import_price), limit = 20.0, members...)
    return DispatchInput(; start_time = "2026-06-01T10:00:00Z", slot_duration_s = 3600, slots = length(load_kw), currency = "EUR",
        batteries = DispatchBattery[], pv = [DispatchPv("Roof", false, max.(0.0, .-load_kw))],
        loads = [DispatchLoad("House", max.(0.0, load_kw))],
        tariff = DispatchTariff(import_price_per_kwh = import_price, export_price_per_kwh = export_price),
        grid = DispatchGrid(max_import_power_kw = limit, max_export_power_kw = limit), members...)
end

why(import_price, load_kw, its; members...) =
    compute(home(import_price, load_kw; batteries = [its], members...), ignore).batteries[1].reasons

@testset "each reason of a battery, where it is plain" begin
    # Cheap, dear: buy, then use. The second slot wants no more than 1 kW, so no power limit binds.
    @test why([0.1, 0.4], [1.0, 1.0], battery()) == ["CHARGE_FROM_GRID", "DISCHARGE_TO_LOAD"]
    # Sun, then night.
    @test why([0.3, 0.3], [-1.5, 1.0], battery()) == ["CHARGE_FROM_SURPLUS", "DISCHARGE_TO_LOAD"]
    # Nothing to gain: one price, a lossy battery.
    @test unique(why([0.3, 0.3, 0.3], [1.0, 1.0, 1.0], battery())) == ["HOLD_EMPTY"]
    # A dearer slot to come, but not dear enough to buy for.
    @test why([0.38, 0.385, 0.4], [1.0, 1.0, 1.0], battery(initial = 1.0))[1:2] == fill("HOLD_NO_GAIN", 2)
    # The power limit: one cheap slot, three dear ones that could use more than it charges.
    @test why([0.1, 0.4, 0.4], [0.0, 3.0, 3.0], battery())[1] == "POWER_LIMIT"
    # Sold at a peak that pays more than any load.
    @test why([0.5, 0.9], [0.1, 0.1], battery(initial = 1.0, power = 9.0); export_price = [0.1, 0.55]) == ["HOLD_NO_GAIN", "DISCHARGE_TO_EXPORT"]
    # Full before the peak, with nothing left to want.
    @test why([0.1, 0.2, 0.5], [0.0, 0.0, 9.0], battery(power = 9.0))[2] == "HOLD_FULL"
    # The import limit keeps it from charging more.
    @test why([0.1, 0.5], [2.0, 3.0], battery(power = 9.0); limit = 3.0)[1] == "GRID_LIMIT"
    # It must end full, and charges for nothing else.
    @test why([0.3, 0.31], [1.0, 1.0], battery(final = 1.0, power = 9.0))[1] == "FINAL_ENERGY"
    # Measured above its window, it is brought back.
    @test why([0.3, 0.3], [1.0, 1.0], battery(initial = 3.9, max_energy_kwh = 3.0))[1] == "RECOVER"
end

@testset "the common reasons, where they are plain" begin
    # A fuse of the battery keeps it from charging more.
    fuse = [DispatchGroup(name = "Cellar", members = ["Battery"], max_import_power_kw = 0.5)]
    @test why([0.1, 0.5], [0.0, 3.0], battery(); groups = fuse)[1] == "GROUP_LIMIT"
    # A demand charge makes it serve a load that it would not serve at one price.
    peak = DispatchTariff(import_price_per_kwh = [0.3, 0.3], export_price_per_kwh = [0.0, 0.0],
        demand_charges = [DispatchDemandCharge(name = "Peak", price_per_kw = 9.0, billing_interval_s = 3600)])
    @test why([0.3, 0.3], [0.0, 2.0], battery(); tariff = peak)[2] == "PEAK_PRICE"
    # Held for the last plan's sake: departing would gain less than it costs.
    last_plan = DispatchPreviousPlan(0.5, [DispatchAssetPower("Battery", [0.0, 0.0])])
    @test why([0.1, 0.4], [1.0, 1.0], battery(initial = 1.0); previous_plan = last_plan)[1] == "PREVIOUS_PLAN"
    # Energy that would pay is kept as reserve.
    kept = DispatchReserve(upward_power_kw = [1.0, 1.0], duration_s = 3600)
    @test "RESERVE" in why([0.3, 0.5], [2.0, 2.0], battery(initial = 1.5); reserve = kept)
end

@testset "each reason of the other assets, where it is plain" begin
    car(its...; members...) = DispatchElectricVehicle("Car", cell(; members...), 0.0, [its...])
    reasons(; prices = [0.1, 0.2, 0.3], load_kw = zeros(length(prices)), members...) =
        (result = compute(home(prices, load_kw; members...), ignore); (result.electric_vehicles, result.pv,
            result.flexible_loads, result.cycles, result.heat_pumps, result.generators))
    of(n; members...) = reasons(; members...)[n][1].reasons
    # It leaves with what it needs, and is away then.
    @test of(1; electric_vehicles = [car(DispatchStay(0, 2, 0.0, 0.5))])[[1, 3]] == ["DEPARTURE", "AWAY"]
    # Nobody takes the power, and exporting costs; then somebody does.
    @test compute(home([0.3, 0.3], [0.0, 2.0]; export_price = [-0.1, -0.1], pv = [DispatchPv("Roof", true, [1.0, 1.0])]), ignore).pv[1].reasons ==
          ["CURTAIL_PRICE", "FULL_OUTPUT"]
    @test compute(home([0.3], [0.0]; export_price = [0.1], limit = 0.5, pv = [DispatchPv("Roof", true, [1.0])]), ignore).pv[1].reasons == ["GRID_LIMIT"]
    pump(energy; start = 0) = [DispatchFlexibleLoad("Pump", start, 3, energy, 0.0, 1.0, true)]
    @test of(3; flexible_loads = pump(0.5)) == ["CHEAPEST", "DEARER", "DEARER"]
    @test of(3; flexible_loads = pump(1.5)) == ["POWER_LIMIT", "CHEAPEST", "DEARER"]
    @test of(3; flexible_loads = pump(2.0; start = 1)) == ["OUTSIDE", "NO_CHOICE", "NO_CHOICE"]
    washer(stop) = [DispatchCycle("Washer", 0, stop, [1.0, 1.0])]
    @test reasons(; cycles = washer(3))[4][1].reason == "CHEAPEST"
    @test reasons(; cycles = washer(2))[4][1].reason == "NO_CHOICE"
    heat(demand; initial = 0.0, power = 5.0) = [DispatchHeatPump("Heat pump", 0.0, power, fill(2.0, 3), demand,
        DispatchHeatTank(max_energy_kwh = 4.0, initial_energy_kwh = initial))]
    # Cheap now, so the tank is filled; dear later, so only what is needed.
    @test of(5; heat_pumps = heat([1.0, 1.0, 1.0])) == ["CHEAPEST", "DEARER", "DEARER"]
    @test of(5; prices = [0.3, 0.2, 0.1], heat_pumps = heat([1.0, 1.0, 1.0])) == fill("HEAT_DEMAND", 3)
    @test of(5; prices = [0.1, 0.2, 0.3], heat_pumps = heat([1.0, 1.0, 1.0]; power = 1.0))[1] == "POWER_LIMIT"
    engine(; members...) = [DispatchGenerator(; name = "Engine", max_power_kw = 3.0, cost_segments = [DispatchCostSegment(3.0, 0.25)], members...)]
    @test of(6; load_kw = fill(2.0, 3), generators = engine()) == ["DEARER_THAN_GRID", "DEARER_THAN_GRID", "CHEAPER_THAN_GRID"]
    @test of(6; load_kw = fill(9.0, 3), generators = engine())[3] == "POWER_LIMIT"
    @test of(6; load_kw = fill(2.0, 3), generators = engine(start_cost = 5.0)) == ["DEARER_THAN_GRID", "DEARER_THAN_GRID", "START_COST"]
    @test of(6; load_kw = fill(2.0, 3), generators = engine(min_power_kw = 1.0, initially_running = true, initial_power_kw = 1.0,
        min_up_duration_s = 7200, initial_duration_s = 0))[1:2] == ["MIN_UP", "MIN_UP"]
    @test of(6; load_kw = fill(2.0, 3), generators = engine(min_down_duration_s = 10800, initial_duration_s = 0)) ==
        ["DEARER_THAN_GRID", "DEARER_THAN_GRID", "MIN_DOWN"]
    @test of(6; prices = [0.4, 0.2, 0.4], load_kw = fill(2.0, 3), generators = engine(min_power_kw = 1.0, start_cost = 0.5,
        initially_running = true, initial_power_kw = 2.0))[2] == "MIN_POWER"
    @test of(6; prices = [0.1, 0.4, 0.4], load_kw = fill(3.0, 3), generators = engine(ramp_up_kw_per_h = 1.0))[2] == "RAMP_LIMIT"
end

@testset "one word a slot, and it fits what the asset does" begin
    seen = Set{String}()
    for seed in 1:300
        input = any_input(Dice(seed))
        result = compute(input, ignore)
        for its in result.batteries
            union!(seen, its.reasons)
            for (power, reason) in zip(its.power_kw, its.reasons)
                startswith(reason, "CHARGE") && @test power > 0
                startswith(reason, "DISCHARGE") && @test power < 0
                startswith(reason, "HOLD") && @test abs(power) <= 1e-6
            end
        end
        for its in result.generators, (kw, running, reason) in zip(its.power_kw, its.running, its.reasons)
            reason in ("DEARER_THAN_GRID", "MIN_DOWN", "START_COST") && @test running == 0
            reason in ("CHEAPER_THAN_GRID", "MIN_UP", "MIN_POWER") && @test running == 1
        end
        for its in result.flexible_loads, (kw, reason) in zip(its.power_kw, its.reasons)
            reason in ("DEARER", "OUTSIDE") && @test kw <= 1e-6
        end
    end
    @test issubset(WORDS_OF_BATTERIES, seen)
end
