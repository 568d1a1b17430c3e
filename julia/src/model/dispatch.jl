# Battery dispatch: when to charge and discharge, import and export, and how much PV to use.
#
# Powers are slot means on the AC side in kW, energies in kWh inside the battery, prices per kWh.
# `h` is the length of a slot in hours.

"A battery and the state it starts from; `final_kwh` is nothing where the end is free."
struct PlannedBattery
    min_kwh::Float64
    max_kwh::Float64
    max_charge_kw::Float64
    max_discharge_kw::Float64
    charge_efficiency::Float64
    discharge_efficiency::Float64
    wear_cost_per_kwh::Float64          # per kWh discharged, AC side
    initial_kwh::Float64
    final_kwh::Union{Float64,Nothing}
end

"What is known of every slot. Plants that may be curtailed cost nothing, so their sum is enough."
struct DispatchProblem
    slot_h::Float64
    import_price::Vector{Float64}
    export_price::Vector{Float64}
    load_kw::Vector{Float64}            # all loads, less the PV that must be taken
    curtailable_kw::Vector{Float64}     # available PV that may be left unused
    max_import_kw::Float64
    max_export_kw::Float64
    batteries::Vector{PlannedBattery}
end

slots(problem::DispatchProblem) = length(problem.load_kw)

"""
Which way power may go in a slot. `BOTH_WAYS` is the linear relaxation, `DECIDE` adds a binary
variable, the others leave one way only. Positive is import and charging, as everywhere.
"""
@enum Direction BOTH_WAYS DECIDE ONLY_POSITIVE ONLY_NEGATIVE

"The direction of the grid connection and of each battery in every slot."
struct Directions
    grid::Vector{Direction}
    batteries::Vector{Vector{Direction}}
end

Directions(problem::DispatchProblem) = Directions(fill(BOTH_WAYS, slots(problem)),
    Vector{Direction}[fill(BOTH_WAYS, slots(problem)) for _ in problem.batteries])

Base.:(==)(a::Directions, b::Directions) = a.grid == b.grid && a.batteries == b.batteries

each_direction(directions::Directions) = Iterators.flatten((directions.grid, directions.batteries...))
is_linear(directions::Directions) = !any(==(DECIDE), each_direction(directions))

"The columns and rows of one battery in the program, by slot."
struct BatteryColumns
    charge::Vector{Int}
    discharge::Vector{Int}
    energy::Vector{Int}
    storage::Vector{Int}      # row: energy balance of the battery
    positive::Vector{Int}     # binary: charging; 0 where none is needed
end

"The program and where its variables and rows stand."
struct DispatchProgram
    lp::LinearProgram
    import_::Vector{Int}
    export_::Vector{Int}
    pv::Vector{Int}
    balance::Vector{Int}      # row: power balance of the site
    positive::Vector{Int}     # binary: importing; 0 where none is needed
    batteries::Vector{BatteryColumns}
end

"""
    formulate(problem, directions) -> DispatchProgram

    minimise  Σₜ h (import_priceₜ importₜ − export_priceₜ exportₜ + Σ_b wear_b discharge_bₜ)

    subject to, in every slot t and for every battery b:
      importₜ − exportₜ + pvₜ + Σ_b (discharge_bₜ − charge_bₜ) = loadₜ                      (balance)
      energy_bₜ − energy_bₜ₋₁ − h η⁺_b charge_bₜ + h/η⁻_b discharge_bₜ = 0                  (storage)
      0 ≤ importₜ ≤ max_import,   0 ≤ exportₜ ≤ max_export,   0 ≤ pvₜ ≤ curtailableₜ
      0 ≤ charge_bₜ ≤ max_charge_b,   0 ≤ discharge_bₜ ≤ max_discharge_b
      min_b ≤ energy_bₜ ≤ max_b,   energy_b₀ = initial_b,   energy_b_T = final_b where required

    and where a direction is to be decided, with z binary:
      importₜ ≤ max_import z,   exportₜ ≤ max_export (1 − z);   likewise charge and discharge.
"""
function formulate(problem::DispatchProblem, directions::Directions)
    h, T, B = problem.slot_h, slots(problem), length(problem.batteries)
    lp = sizehint!(LinearProgram(), (3 + 3B) * T, (1 + B) * T, (3 + 6B) * T)

    # Every row comes first, because a column names the rows it is part of.
    balance = Int[equation!(lp, load) for load in problem.load_kw]
    storage = Vector{Int}[Int[equation!(lp, t == 1 ? battery.initial_kwh : 0.0) for t in 1:T]
                          for battery in problem.batteries]

    most_charge = sum_of(battery -> battery.max_charge_kw, problem.batteries)
    most_discharge = sum_of(battery -> battery.max_discharge_kw, problem.batteries)
    # Bounds as tight as the balance makes them keep the binaries' big-M small.
    grid = one_way!(lp, directions.grid,
        Float64[min(problem.max_import_kw, max(0.0, load + most_charge)) for load in problem.load_kw],
        Float64[min(problem.max_export_kw, max(0.0, pv - load + most_discharge))
                for (pv, load) in zip(problem.curtailable_kw, problem.load_kw)])

    import_ = Int[variable!(lp, 0.0, upper(problem.max_import_kw, directions.grid[t], ONLY_NEGATIVE),
        h * problem.import_price[t], (balance[t] => 1.0, grid.positive_limit[t] => 1.0)) for t in 1:T]
    export_ = Int[variable!(lp, 0.0, upper(problem.max_export_kw, directions.grid[t], ONLY_POSITIVE),
        -h * problem.export_price[t], (balance[t] => -1.0, grid.negative_limit[t] => 1.0)) for t in 1:T]
    pv = Int[variable!(lp, 0.0, problem.curtailable_kw[t], 0.0, (balance[t] => 1.0,)) for t in 1:T]

    batteries = BatteryColumns[]
    for (b, battery) in enumerate(problem.batteries)
        way, row = directions.batteries[b], storage[b]
        ways = one_way!(lp, way, fill(battery.max_charge_kw, T), fill(battery.max_discharge_kw, T))
        charge = Int[variable!(lp, 0.0, upper(battery.max_charge_kw, way[t], ONLY_NEGATIVE), 0.0,
            (balance[t] => -1.0, row[t] => -h * battery.charge_efficiency,
             ways.positive_limit[t] => 1.0)) for t in 1:T]
        discharge = Int[variable!(lp, 0.0, upper(battery.max_discharge_kw, way[t], ONLY_POSITIVE),
            h * battery.wear_cost_per_kwh,
            (balance[t] => 1.0, row[t] => h / battery.discharge_efficiency,
             ways.negative_limit[t] => 1.0)) for t in 1:T]
        energy = Int[variable!(lp, energy_bounds(battery, t == T)..., 0.0,
            (row[t] => 1.0, (t < T ? row[t+1] : 0) => -1.0)) for t in 1:T]
        push!(batteries, BatteryColumns(charge, discharge, energy, row, ways.positive))
    end
    return DispatchProgram(lp, import_, export_, pv, balance, grid.positive, batteries)
end

upper(limit, direction::Direction, forbidding::Direction) = direction == forbidding ? 0.0 : limit

energy_bounds(battery::PlannedBattery, is_last::Bool) =
    is_last && battery.final_kwh !== nothing ? (battery.final_kwh, battery.final_kwh) :
    (battery.min_kwh, battery.max_kwh)

sum_of(f, items) = mapreduce(f, +, items; init = 0.0)

"""
The binaries of one flow: `positive ≤ most_positive z` and `negative ≤ most_negative (1 − z)` where
the direction is to be decided; row and column 0 elsewhere.
"""
function one_way!(lp::LinearProgram, directions, most_positive, most_negative)
    count = length(directions)
    positive_limit, negative_limit, positive = zeros(Int, count), zeros(Int, count), zeros(Int, count)
    for t in 1:count
        directions[t] == DECIDE || continue
        positive_limit[t] = constraint!(lp, -Inf, 0.0)
        negative_limit[t] = constraint!(lp, -Inf, most_negative[t])
        positive[t] = variable!(lp, 0.0, 1.0, 0.0, (positive_limit[t] => -most_positive[t],
            negative_limit[t] => most_negative[t]); is_integer = true)
    end
    return (positive_limit = positive_limit, negative_limit = negative_limit, positive = positive)
end

"""
    relax!(program, problem; grid, final_energy) -> (extra_import, extra_export, shortfall, excess)

Turn the program into the question "by how much must which limit give way?": costs become zero, and
each limit named may be exceeded at a cost of one per unit. The grid limits are exceeded by one
amount for all slots, so that its minimum is the smallest limit that would do.
"""
function relax!(program::DispatchProgram, problem::DispatchProblem; grid::Bool, final_energy::Bool)
    lp, T = program.lp, slots(problem)
    fill!(lp.cost, 0.0)
    # Next to nothing, but enough that no battery burns energy for no reason.
    foreach(columns -> lp.cost[columns.discharge] .= 1e-4, program.batteries)
    extra_import = grid ? beyond_limit!(lp, program.balance, 1.0) : (amount = 0, by_slot = Int[])
    extra_export = grid ? beyond_limit!(lp, program.balance, -1.0) : (amount = 0, by_slot = Int[])
    shortfall, excess = Int[], Int[]
    for (battery, columns) in zip(problem.batteries, program.batteries)
        if final_energy && battery.final_kwh !== nothing
            # energy_T + shortfall − excess = final, with energy_T back between its own bounds
            last_row, h = columns.storage[T], problem.slot_h
            push!(shortfall, variable!(lp, 0.0, battery.final_kwh - battery.min_kwh, 1.0,
                (last_row => -1.0,)))
            push!(excess, variable!(lp, 0.0, battery.max_kwh - battery.final_kwh, 1.0,
                (last_row => 1.0,)))
        else
            push!(shortfall, 0)
            push!(excess, 0)
        end
    end
    return (extra_import = extra_import, extra_export = extra_export,
        shortfall = shortfall, excess = excess)
end

"Power beyond a grid limit in each slot, none more than `amount`, which is what costs."
function beyond_limit!(lp::LinearProgram, balance, sign)
    limit = Int[constraint!(lp, -Inf, 0.0) for _ in balance]
    amount = variable!(lp, 0.0, Inf, 1.0, Pair{Int,Float64}[row => -1.0 for row in limit])
    by_slot = Int[variable!(lp, 0.0, Inf, 0.0, (row => sign, cap => 1.0))
               for (row, cap) in zip(balance, limit)]
    return (amount = amount, by_slot = by_slot)
end

"""
The same slots with the batteries idle: `(cost, within_grid_limits)`. In each slot the cost is
piecewise linear in the PV used, so one of three uses is the cheapest: as little as possible, as much
as possible, or just the load. Where the limits cannot be kept they are ignored in every slot.
"""
function baseline(problem::DispatchProblem)
    kept = baseline_cost(problem, problem.max_import_kw, problem.max_export_kw)
    return isfinite(kept) ? (kept, true) : (baseline_cost(problem, Inf, Inf), false)
end

function baseline_cost(problem::DispatchProblem, max_import_kw, max_export_kw)
    cost = 0.0
    for t in 1:slots(problem)
        load = problem.load_kw[t]
        least = max(0.0, load - max_import_kw)
        most = min(problem.curtailable_kw[t], load + max_export_kw)
        least <= most + 1e-9 || return Inf
        cost += minimum(grid_cost(problem, t, load - pv)
            for pv in (least, clamp(load, least, max(least, most)), most))
    end
    return problem.slot_h * cost
end

grid_cost(problem, t, power_kw) =
    power_kw * (power_kw >= 0 ? problem.import_price[t] : problem.export_price[t])
