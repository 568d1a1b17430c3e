# Dispatch problems by dice, and what every plan must keep.

using GridpactCompute: DispatchProblem, PlannedBattery, slots

"A problem with up to two batteries; prices may be negative or upside down when `odd`."
function any_problem(dice; slot_count = roll(dice, 2:12), odd = roll(dice, (true, false)))
    T = slot_count
    h = roll(dice, (0.25, 0.5, 1.0))
    import_price = [roll(dice, 0.1, 0.4) for _ in 1:T]
    export_price = [price - roll(dice, 0.02, 0.2) for price in import_price]
    if odd
        for t in 1:T
            roll(dice, 1:4) == 1 && (import_price[t] = roll(dice, -0.2, 0.1))
            roll(dice, 1:4) == 1 && (export_price[t] = roll(dice, -0.3, 0.5))
        end
    end
    load_kw = [roll(dice, 0.0, 4.0) - (roll(dice, 1:3) == 1 ? roll(dice, 0.0, 6.0) : 0.0) for _ in 1:T]
    curtailable_kw = [roll(dice, 1:2) == 1 ? 0.0 : roll(dice, 0.0, 5.0) for _ in 1:T]
    batteries = [any_battery(dice) for _ in 1:roll(dice, 0:2)]
    return DispatchProblem(h, import_price, export_price, load_kw, curtailable_kw,
        roll(dice, (5.0, 8.0, 30.0)), roll(dice, (2.0, 8.0, 30.0)), batteries)
end

function any_battery(dice)
    max_kwh = roll(dice, 2.0, 12.0)
    min_kwh = roll(dice, 0.0, 0.3) * max_kwh
    energy() = roll(dice, min_kwh, max_kwh)
    initial = energy()
    efficiency() = roll(dice, (0.85, 0.95, 1.0))
    return PlannedBattery(min_kwh, max_kwh, roll(dice, 0.5, 5.0), roll(dice, 0.5, 5.0),
        efficiency(), efficiency(), roll(dice, (0.0, 0.0, 0.02)), initial,
        roll(dice, 1:2) == 1 ? nothing : initial)
end

without_batteries(p::DispatchProblem) = DispatchProblem(p.slot_h, p.import_price, p.export_price,
    p.load_kw, p.curtailable_kw, p.max_import_kw, p.max_export_kw, PlannedBattery[])

with_load(p::DispatchProblem, load_kw) = DispatchProblem(p.slot_h, p.import_price, p.export_price,
    load_kw, p.curtailable_kw, p.max_import_kw, p.max_export_kw, p.batteries)

with_batteries(p::DispatchProblem, batteries) = DispatchProblem(p.slot_h, p.import_price,
    p.export_price, p.load_kw, p.curtailable_kw, p.max_import_kw, p.max_export_kw, batteries)

with_initial(b::PlannedBattery, kwh) = PlannedBattery(b.min_kwh, b.max_kwh, b.max_charge_kw,
    b.max_discharge_kw, b.charge_efficiency, b.discharge_efficiency, b.wear_cost_per_kwh, kwh, b.final_kwh)

with_final(b::PlannedBattery, kwh) = PlannedBattery(b.min_kwh, b.max_kwh, b.max_charge_kw,
    b.max_discharge_kw, b.charge_efficiency, b.discharge_efficiency, b.wear_cost_per_kwh, b.initial_kwh, kwh)

const NEAR = 1e-5

"Whether a plan keeps every limit and balance, and costs what it says."
function keeps_everything(problem, plan)
    h, T = problem.slot_h, slots(problem)
    within(values, low, high) = all(low - NEAR .<= values .<= high + NEAR)
    good = within(plan.grid_kw, -problem.max_export_kw, problem.max_import_kw)
    good &= all(within(plan.pv_kw[t], 0.0, problem.curtailable_kw[t]) for t in 1:T)
    battery_kw = zeros(T)
    wear = 0.0
    for (battery, its) in zip(problem.batteries, plan.batteries)
        battery_kw .+= its.power_kw
        good &= within(its.power_kw, -battery.max_discharge_kw, battery.max_charge_kw)
        good &= within(its.energy_kwh, battery.min_kwh, battery.max_kwh)
        battery.final_kwh === nothing || (good &= isapprox(its.energy_kwh[T], battery.final_kwh; atol = NEAR))
        energy = battery.initial_kwh
        for t in 1:T
            # One way in every slot: the energy follows from the net power alone.
            power = its.power_kw[t]
            energy += h * (power >= 0 ? power * battery.charge_efficiency : power / battery.discharge_efficiency)
            good &= isapprox(energy, its.energy_kwh[t]; atol = NEAR)
            wear += h * battery.wear_cost_per_kwh * max(0.0, -power)
        end
    end
    good &= all(isapprox.(plan.grid_kw .+ plan.pv_kw, problem.load_kw .+ battery_kw; atol = NEAR))
    energy_cost = h * sum(plan.grid_kw[t] * (plan.grid_kw[t] >= 0 ? problem.import_price[t] : problem.export_price[t]) for t in 1:T)
    good &= isapprox(plan.cost, energy_cost + wear; atol = NEAR)
    good &= isapprox(plan.wear_cost, wear; atol = NEAR)
    return good
end

"The plan of a problem, or nothing where no plan exists."
function plan_or_nothing(problem)
    try
        return GridpactCompute.solve_dispatch(problem; relative_gap = 0.0)
    catch err
        err isa ContractError && err.reason == "INFEASIBLE" || rethrow()
        return nothing
    end
end
