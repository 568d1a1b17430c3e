using GridpactCompute: dispatch_problem, price_at, solve_dispatch, stored_value

# What a value says is tried: a little more of what it is the value of, and a little less. At a kink the
# two differ, and the value lies between them.

const STEP = 1e-3

"A site whose program stays linear, where a value is the slope of the cost."
linear_site(seed; members...) = any_site(Dice(seed); odd = false, members...)

"""
Whether `value` lies between what `more(STEP)` saves and what `more(-STEP)` costs, a unit; nothing where one
of them has no plan, or both ways at once would pay.
"""
function holds(more, cost, value)
    saved, paid = (cost - cost_of(more(STEP))) / STEP, (cost_of(more(-STEP)) - cost) / STEP
    (isnan(saved) || isnan(paid)) && return nothing
    return saved - 1e-4 <= value <= paid + 1e-4
end

"Check `value(result)` against `more(input, step)` over many sites; how often it was not 0 counts."
function check_value(more, value, sites; least)
    told = 0
    for site in sites
        result = result_or_nothing(site)
        result === nothing && continue
        its = value(result)
        answer = holds(step -> more(site, step), result.cost, its)
        answer === nothing && continue
        @test answer
        abs(its) > 1e-6 && (told += 1)
    end
    @test told >= least
end

with_battery(site; members...) = changed(site; batteries = [changed(site.batteries[1];
    battery = changed(site.batteries[1].battery; members...)); site.batteries[2:end]])
of_series(series, t, step) = [k == t ? value + step : value for (k, value) in enumerate(series)]
hours(site) = site.slot_duration_s / 3600

@testset "the grid price is what one more kWh of load costs" begin
    check_value((site, step) -> changed(site; loads = [DispatchLoad("House", of_series(site.loads[1].power_kw, 1, -step / hours(site)))]),
        result -> result.grid_price_per_kwh[1], (linear_site(seed) for seed in 1:60); least = 40)
end

@testset "the value of capacity" begin
    check_value((site, step) -> with_battery(site; capacity_kwh = site.batteries[1].battery.capacity_kwh + step),
        result -> result.batteries[1].capacity_value_per_kwh,
        (linear_site(seed; batteries = 1) for seed in 1:120); least = 10)
end

@testset "the value of charging and of discharging power" begin
    check_value((site, step) -> with_battery(site; max_charge_power_kw = site.batteries[1].battery.max_charge_power_kw + step),
        result -> result.batteries[1].charge_power_value_per_kw, (linear_site(seed; batteries = 1) for seed in 1:80); least = 10)
    check_value((site, step) -> with_battery(site; max_discharge_power_kw = site.batteries[1].battery.max_discharge_power_kw + step),
        result -> result.batteries[1].discharge_power_value_per_kw, (linear_site(seed; batteries = 1) for seed in 1:80); least = 10)
end

reserve_site(seed) = changed(linear_site(seed; batteries = 2); reserve = DispatchReserve(
    upward_power_kw = fill(1.0 + 0.1 * (seed % 9), linear_site(seed; batteries = 2).slots),
    downward_power_kw = fill(0.5 + 0.1 * (seed % 7), linear_site(seed; batteries = 2).slots), duration_s = 3600))

@testset "where reserve is held, capacity and power are worth more, and reserve has a price" begin
    sites = [reserve_site(seed) for seed in 1:80]
    check_value((site, step) -> with_battery(site; capacity_kwh = site.batteries[1].battery.capacity_kwh + step),
        result -> result.batteries[1].capacity_value_per_kwh, sites; least = 5)
    check_value((site, step) -> with_battery(site; max_discharge_power_kw = site.batteries[1].battery.max_discharge_power_kw + step),
        result -> result.batteries[1].discharge_power_value_per_kw, sites; least = 5)
    for (member, price) in ((:upward_power_kw, result -> result.upward_reserve_price_per_kw[2]),
            (:downward_power_kw, result -> result.downward_reserve_price_per_kw[2]))
        check_value((site, step) -> changed(site; reserve = changed(site.reserve; [member => of_series(getfield(site.reserve, member), 2, -step)]...)),
            price, sites; least = 3)
    end
end

@testset "the values of grid limits" begin
    tight(seed) = changed(linear_site(seed); pv = linear_site(seed).pv[1:1], grid = DispatchGrid(max_import_power_kw = 3.0, max_export_power_kw = 1.0,
        import_limits_kw = fill(2.5 + (seed % 3), linear_site(seed).slots), export_limits_kw = fill(0.1 + 0.4 * (seed % 3), linear_site(seed).slots)))
    for (member, value) in ((:import_limits_kw, result -> result.import_limit_value_per_kwh), (:export_limits_kw, result -> result.export_limit_value_per_kwh))
        limit(site) = getfield(site.grid, member)[2]
        whole(site) = member == :import_limits_kw ? site.grid.max_import_power_kw : site.grid.max_export_power_kw
        check_value((site, step) -> changed(site; grid = changed(site.grid; [member => of_series(getfield(site.grid, member), 2, step / hours(site))]...)),
            result -> value(result)[2], (tight(seed) for seed in 1:150 if limit(tight(seed)) < whole(tight(seed))); least = 3)
    end
end

@testset "the values of a group's limits" begin
    grouped(seed) = changed(linear_site(seed; batteries = 1); groups = [DispatchGroup(name = "Cellar", members = ["Battery 1", "Roof"],
        max_import_power_kw = 0.7, max_export_power_kw = 0.6)])
    for (member, value) in ((:max_import_power_kw, plan -> plan.import_limit_value_per_kwh), (:max_export_power_kw, plan -> plan.export_limit_value_per_kwh))
        # The limit is the same in all slots, and its value is by kWh.
        check_value((site, step) -> changed(site; groups = [changed(site.groups[1]; [member => getfield(site.groups[1], member) + step / hours(site)]...)]),
            result -> sum(value(result.groups[1])), (grouped(seed) for seed in 1:60); least = 5)
    end
end

@testset "the value of PV that is available" begin
    for p in (1, 2)
        check_value((site, step) -> changed(site; pv = [k == p ? changed(its; available_power_kw = of_series(its.available_power_kw, 1, step / hours(site))) : its
                                                        for (k, its) in enumerate(site.pv)]),
            result -> result.pv[p].marginal_value_per_kwh[1],
            (site for site in (linear_site(seed) for seed in 1:120) if site.pv[p].available_power_kw[1] > 0.1); least = 15)
    end
end

@testset "what one more kWh of a flexible load costs" begin
    flexible(seed) = changed(linear_site(seed); flexible_loads = [DispatchFlexibleLoad("Pump", 0, linear_site(seed).slots, 0.7, 0.0, 2.0, true)])
    check_value((site, step) -> changed(site; flexible_loads = [changed(site.flexible_loads[1]; energy_kwh = 0.7 - step)]),
        result -> result.flexible_loads[1].marginal_cost_per_kwh, (flexible(seed) for seed in 1:40); least = 20)
end

@testset "what heat in the tank is worth" begin
    heated(seed) = (site = linear_site(seed); changed(site; heat_pumps = [DispatchHeatPump("Heat pump", 0.0, 2.0,
        fill(3.0, site.slots), fill(2.0, site.slots), DispatchHeatTank(max_energy_kwh = 8.0, initial_energy_kwh = 4.0))]))
    # Less demand in the first slot is as much more heat at its end.
    check_value((site, step) -> changed(site; heat_pumps = [changed(site.heat_pumps[1];
            heat_demand_kw = of_series(site.heat_pumps[1].heat_demand_kw, 1, -step / hours(site)))]),
        result -> result.heat_pumps[1].marginal_value_per_kwh[1], (heated(seed) for seed in 1:40); least = 15)
end

@testset "what a generator's last kW is worth" begin
    powered(seed) = (site = linear_site(seed); changed(site; generators = [DispatchGenerator(name = "Engine", max_power_kw = 0.5,
        cost_segments = [DispatchCostSegment(0.5, 0.15)])]))
    check_value((site, step) -> changed(site; generators = [changed(site.generators[1]; max_power_kw = 0.5 + step / hours(site),
            cost_segments = [DispatchCostSegment(0.5 + step / hours(site), 0.15)])]),
        result -> sum(result.generators[1].marginal_value_per_kwh), (powered(seed) for seed in 1:40); least = 15)
end

@testset "the value of stored energy is what more of it saves" begin
    checked = 0
    for seed in 1:200
        site = linear_site(seed; batteries = 1)
        plan = try
            solve_dispatch(dispatch_problem(site); relative_gap = 0.0)
        catch err
            err isa ContractError ? continue : rethrow()
        end
        storage, cell = plan.site.storages[1], site.batteries[1].battery
        initial = site.batteries[1].initial_energy_kwh
        cell.min_energy_kwh + STEP < initial < cell.capacity_kwh - STEP || continue
        # What energy is worth before the first slot is what it is worth after it, unless a limit binds there.
        cell.min_energy_kwh + 0.01 < plan.value[storage.level.energy[1]] < cell.capacity_kwh - 0.01 || continue
        value = stored_value(plan, storage, plan.grid_price)
        more(step) = changed(site; batteries = [changed(site.batteries[1]; initial_energy_kwh = initial + step)])
        for its in (value.least[1], value.most[1])
            answer = holds(more, plan.cost, its)
            answer === nothing || (checked += 1; @test answer)
        end
        solver_value = [-plan.row_dual[row] for row in storage.level.rows]
        @test all(value.least .- 1e-6 .<= solver_value .<= value.most .+ 1e-6)
    end
    @test checked > 60
end

@testset "the value of energy in a vehicle is what more of it saves" begin
    cell = Battery(capacity_kwh = 60.0, max_charge_power_kw = 1.5, max_discharge_power_kw = 1.5, charge_efficiency = 0.9, discharge_efficiency = 0.9)
    parked(seed) = (site = linear_site(seed); changed(site; electric_vehicles = [DispatchElectricVehicle("Car", cell, 0.0,
        [DispatchStay(0, site.slots, 25.0, 25.0 + 0.4 * hours(site) * site.slots)])]))
    check_value((site, step) -> changed(site; electric_vehicles = [changed(site.electric_vehicles[1];
            stays = [changed(site.electric_vehicles[1].stays[1]; initial_energy_kwh = 25.0 + step)])]),
        result -> result.electric_vehicles[1].marginal_value_per_kwh[1], (parked(seed) for seed in 1:40); least = 20)
end

@testset "the price at an asset is what its own draw costs, groups and the previous plan included" begin
    told = 0
    for seed in 1:60
        site = linear_site(seed; batteries = 1)
        site = changed(site; groups = [DispatchGroup(name = "Cellar", members = ["Battery 1", "Pump"], max_import_power_kw = 1.0, max_export_power_kw = 1.0)],
            flexible_loads = [DispatchFlexibleLoad("Pump", 0, site.slots, 0.4 * hours(site) * site.slots, 0.0, 2.0, true)])
        plan = try
            solve_dispatch(dispatch_problem(site); relative_gap = 0.0)
        catch err
            err isa ContractError ? continue : rethrow()
        end
        load = plan.site.flexible_loads[1]
        for (i, t) in enumerate(load.slots)
            price, its_cost = price_at(plan, load.meter, t), plan.row_dual[load.energy_row]
            kw = plan.value[load.power[i]]
            # It runs where the price is not above what its energy costs, at full power where it is below.
            kw > 1e-6 && @test price <= its_cost + 1e-6
            kw < 2.0 - 1e-6 && @test price >= its_cost - 1e-6
            abs(price - plan.grid_price[t]) > 1e-6 && (told += 1)
        end
    end
    @test told > 5
end
