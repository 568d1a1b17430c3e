# A plan: a solved program of one future, read in the words of the site.

"A schedule for the site, and the prices that hold it together."
struct DispatchPlan
    site::Site
    lp::LinearProgram                    # with every choice fixed
    value::Vector{Float64}               # of its columns
    reduced_cost::Vector{Float64}
    row_dual::Vector{Float64}
    is_proven::Bool                      # within the gap that was asked for
    relative_gap::Float64
    objective::Float64                   # cost, and what decides the plan beside it
    grid_kw::Vector{Float64}             # import positive
    grid_price::Vector{Float64}          # p: cost of one more kWh of load
    bill::GridBill
    costs::DispatchCosts
    cost::Float64
end

"The plan of a search for the least cost of one future."
function priced(searched::Searched)
    program, solution = searched.program, searched.solution
    if solution.status == :optimal
        is_final = !any(program.lp.is_integer) && isempty(program.amounts)
        final = is_final ? solution : price!(program, solution.value)
        return plan(program, final, true, max(0.0, solution.relative_gap))
    end
    chosen, bound = unproven(searched)
    final = price!(program, chosen; is_proven = false)
    return plan(program, final, false, gap(final.objective, bound))
end

"The choices of a search that ran out of time, and what no plan can undercut."
function unproven(searched::Searched)
    program, solution, relaxed = searched.program, searched.solution, searched.relaxed
    solution.status == :time_limit || throw(no_solution(solution.status))
    bound = solution.bound
    relaxed === nothing || (bound = max(bound, relaxed.objective))
    solution.has_plan && return solution.value, bound
    relaxed !== nothing && has_only_pairs(program) || throw(no_solution(solution.status))
    return with_net_directions(program, relaxed, searched.relaxed_program), bound
end

"How far an objective may be from the best one, relative to it; 1 where nothing is proven."
gap(objective::Float64, bound::Float64) =
    isfinite(bound) ? max(0.0, (objective - bound) / max(abs(objective), 1e-9)) : 1.0

function plan(program::DispatchProgram, solution::Highs.Solution, is_proven::Bool, relative_gap::Float64)
    lp, site = program.lp, program.sites[1]
    problem = site.problem
    value = Float64[tidy(solution.value[j], lp.lower[j], lp.upper[j]) for j in 1:column_count(lp)]
    grid_kw = net(value, site.grid.import_, site.grid.export_)
    bill = grid_bill(problem, grid_kw)
    costs = costs_of(site, value, bill)
    return DispatchPlan(site, lp, value, solution.reduced_cost, solution.row_dual, is_proven, relative_gap,
        solution.objective, grid_kw, solution.row_dual[site.balance] ./ problem.slot_h, bill, costs,
        total(costs))
end

"A value within rounding of a bound is the bound; −0 is 0."
tidy(value, lower, upper) =
    abs(value - lower) <= 1e-9 ? lower + 0.0 : abs(value - upper) <= 1e-9 ? upper + 0.0 : value

"The difference of two flows; both ways at once, where that is a tie, is their difference alone."
function net(value::Vector{Float64}, positive::UnitRange{Int}, negative::UnitRange{Int})
    kw = zeros(length(positive))
    for i in eachindex(kw)
        kw[i] = value[positive[i]] - value[negative[i]]
    end
    return kw
end

power_kw(value::Vector{Float64}, storage::Storage) = net(value, storage.charge, storage.discharge)

"A generator's output (positive), and where it runs."
function output(value::Vector{Float64}, generator::Generator, its::DispatchGenerator, T::Int)
    power_kw, running = zeros(T), ones(T)
    for t in 1:T
        isempty(generator.running) || (running[t] = value[generator.running[t]])
        kw = running[t] * its.min_power_kw
        for k in 1:generator.segment_count
            kw += value[segment(generator, t, k)]
        end
        power_kw[t] = kw
        isempty(generator.running) && (running[t] = kw > TOLERANCE ? 1.0 : 0.0)
    end
    return power_kw, running
end

"The split of the cost, from the schedule."
function costs_of(site::Site, value::Vector{Float64}, bill::GridBill)
    problem, input = site.problem, site.problem.input
    h, wear, fuel, starts, co2_kg = problem.slot_h, 0.0, 0.0, 0.0, bill.import_co2_kg
    for storage in site.storages
        its_wear = h * storage.battery.wear_cost_per_kwh
        its_wear == 0 && continue
        for kw in power_kw(value, storage)
            kw < 0 && (wear -= its_wear * kw)
        end
    end
    for (generator, its) in zip(site.generators, input.generators)
        its_bill = generator_bill(its, h, output(value, generator, its, slots(problem))...)
        fuel += its_bill.fuel
        starts += its_bill.start_count * its.start_cost
        co2_kg += its_bill.co2_kg
    end
    return split_costs(problem, bill, fuel, starts, wear, co2_kg)
end

"The split of the cost; `co2_kg` is that of imports and generators."
function split_costs(problem::DispatchProblem, bill::GridBill, fuel::Float64, starts::Float64, wear::Float64,
        co2_kg::Float64)
    emissions = problem.input.emissions
    return DispatchCosts(energy_import = bill.energy_import, energy_export = bill.energy_export,
        grid_fees = sum_of(identity, bill.fees), tiers = bill.tiers, demand_charges = bill.demand_charges,
        generation = fuel, starts = starts, wear = wear,
        co2 = emissions === nothing ? 0.0 : co2_kg * emissions.price_per_kg)
end

total(costs::DispatchCosts) = costs.energy_import + costs.energy_export + costs.grid_fees + costs.tiers +
    costs.demand_charges + costs.generation + costs.starts + costs.wear + costs.co2
