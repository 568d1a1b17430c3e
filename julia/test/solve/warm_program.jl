using GridpactCompute: Choices, SlotBlock, Stop, WarmProgram, carried!, formulate, futures, no_choices,
    slots_since_1970, solve!, solve_futures

"What is left of an input `k` slots later, as far as `T` slots from there."
function later(input, k, T)
    its(series) = series === nothing ? nothing : series[k+1:k+T]
    window(start, stop) = max(0, start - k), min(T, stop - k)
    stays(vehicle) = [changed(stay; start_slot = from, end_slot = to, required_energy_kwh = nothing)
                      for stay in vehicle.stays for (from, to) in [window(stay.start_slot, stay.end_slot)] if from < to]
    function load(item)
        from, to = window(item.start_slot, item.end_slot)
        most = max(0, to - from) * input.slot_duration_s / 3600 * item.max_power_kw
        return changed(item; start_slot = from, end_slot = to, min_power_kw = 0.0, interruptible = true,
            energy_kwh = min(item.energy_kwh, 0.9 * most))
    end
    tariff, grid = input.tariff, input.grid
    start_s = k * input.slot_duration_s
    return changed(input; slots = T,
        start_time = "2026-06-01T$(10 + start_s ÷ 3600):$(lpad(start_s % 3600 ÷ 60, 2, '0')):00Z",
        pv = [changed(item; available_power_kw = its(item.available_power_kw)) for item in input.pv],
        loads = [changed(item; power_kw = its(item.power_kw)) for item in input.loads],
        flexible_loads = [item for item in map(load, input.flexible_loads) if item.start_slot < item.end_slot],
        cycles = empty(input.cycles),
        electric_vehicles = [changed(item; stays = stays(item)) for item in input.electric_vehicles if !isempty(stays(item))],
        heat_pumps = [changed(item; cop = its(item.cop), heat_demand_kw = its(item.heat_demand_kw)) for item in input.heat_pumps],
        tariff = changed(tariff; import_price_per_kwh = its(tariff.import_price_per_kwh),
            export_price_per_kwh = its(tariff.export_price_per_kwh),
            grid_fees = [changed(fee; price_per_kwh = its(fee.price_per_kwh)) for fee in tariff.grid_fees],
            demand_charges = [changed(charge; windows = empty(charge.windows)) for charge in tariff.demand_charges]),
        grid = changed(grid; import_limits_kw = its(grid.import_limits_kw), export_limits_kw = its(grid.export_limits_kw)),
        groups = empty(input.groups), previous_plan = nothing,
        reserve = input.reserve === nothing ? nothing : changed(input.reserve;
            upward_power_kw = its(input.reserve.upward_power_kw), downward_power_kw = its(input.reserve.downward_power_kw)),
        emissions = input.emissions === nothing ? nothing :
            changed(input.emissions; import_kg_per_kwh = its(input.emissions.import_kg_per_kwh)))
end

"The same site with other measurements."
measured(dice, input) = changed(input; batteries = [changed(item; initial_energy_kwh = clamp(
    item.initial_energy_kwh + roll(dice, -1.0, 1.0), 0.0, item.battery.capacity_kwh)) for item in input.batteries])

"The answer of a step that starts from what `warm` has kept, or from nothing."
step(input, warm = nothing) = solve_futures(futures(input), Stop(60.0, 0.0; warm = warm); may_relax = true)

@testset "what is kept changes neither the optimum nor whether there is one" begin
    used = linear = 0
    for seed in 1:20
        dice = Dice(seed)
        site = any_input(dice; site = any_site(dice; T = 24, odd = roll(dice, 1:4) == 1, batteries = roll(dice, 1:2)))
        warm = WarmProgram()
        for k in accumulate(+, [roll(dice, (0, 1, 1, 1, 2)) for _ in 1:8])
            input = measured(dice, later(site, k, 12))
            kept, cold = step(input, warm), step(input)
            used += warm.used
            is_linear = cold.relative_gap == 0 && !any(kept.plan.lp.is_integer)
            linear += is_linear
            @test isempty(kept.violations) == isempty(cold.violations)
            tolerance = is_linear ? 1e-9 : 1e-6
            @test isapprox(kept.plan.objective, cold.plan.objective; rtol = tolerance, atol = tolerance)
        end
        close(warm)
    end
    @test used > 80
    @test linear > 70
end

@testset "each slot starts from what stood at its time" begin
    block(first, slots; of = :energy) = SlotBlock((of, "Car"), first, slots)
    last = Int32[1, 2, 3, 4, 5, 6]
    moved(now, then, passed) = carried!(zeros(Int32, 6), last, [now], [then], passed)
    @test moved(block(1, 1:6), block(1, 1:6), 0) == last
    @test moved(block(1, 1:6), block(1, 1:6), 2) == Int32[3, 4, 5, 6, 6, 6]
    @test moved(block(1, 1:6), block(1, 1:6), -2) == Int32[0, 0, 1, 2, 3, 4]
    # A stay that began in slot 3 and is now a slot nearer.
    @test moved(block(1, 2:4), block(2, 3:6), 1) == Int32[2, 3, 4, 0, 0, 0]
    @test moved(block(1, 1:6; of = :charge), block(1, 1:6), 0) == zeros(6)
end

@testset "slots are counted from 1970" begin
    count(start_time, slot_duration_s) =
        slots_since_1970(changed(GridpactCompute.rehearsal_house(); start_time = start_time, slot_duration_s = slot_duration_s))
    @test count("1970-01-01T00:00:00Z", 900) == 0
    @test count("2000-02-29T23:59:59.999Z", 60) == (951868740) ÷ 60
    @test count("2026-06-01T10:15:00Z", 900) == 1780308900 ÷ 900
    @test count("1969-12-31T23:45:00Z", 900) == -1
end
