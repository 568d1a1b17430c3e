# What a schedule costs, computed from the schedule alone; baselines and rules are charged alike.

"The bill of the power at the grid connection."
struct GridBill
    imported_kwh::Float64
    exported_kwh::Float64
    energy_import::Float64
    energy_export::Float64               # negative: an income
    fees::Vector{Float64}                # of each grid fee
    tier_kwh::Vector{Float64}            # within each tier
    tiers::Float64
    peaks_kw::Vector{Float64}            # of each demand charge, that before the start included
    demand_charges::Float64              # for what is above the peak before the start
    import_co2_kg::Float64
end

function grid_bill(problem::DispatchProblem, grid_kw::Vector{Float64})
    input, h = problem.input, problem.slot_h
    tariff, emissions = input.tariff, input.emissions
    import_kw = max.(0.0, grid_kw)
    imported = exported = paid = earned = co2 = 0.0
    for t in 1:slots(problem)
        kwh = h * grid_kw[t]
        if kwh >= 0
            imported += kwh
            paid += kwh * problem.energy_price[t]
            emissions === nothing || (co2 += kwh * emissions.import_kg_per_kwh[t])
        else
            exported -= kwh
            earned += kwh * problem.export_price[t]
        end
    end
    fees = Float64[h * weighted_sum(import_kw, fee.price_per_kwh) for fee in tariff.grid_fees]
    tier_kwh, surcharges = tier_bill(tariff.import_tiers, imported)
    peaks, demand = Float64[], 0.0
    for charge in tariff.demand_charges
        peak = max(charge.peak_so_far_kw, peak_kw(BillingIntervals(input, charge), import_kw))
        push!(peaks, peak)
        demand += charge.price_per_kw * (peak - charge.peak_so_far_kw)
    end
    return GridBill(imported, exported, paid, earned, fees, tier_kwh, surcharges, peaks, demand, co2)
end

function weighted_sum(power_kw::Vector{Float64}, price::Vector{Float64})
    total = 0.0
    for t in eachindex(power_kw)
        total += power_kw[t] * price[t]
    end
    return total
end

tier_bill(::Nothing, imported_kwh::Float64) = Float64[], 0.0
function tier_bill(tiers::DispatchTiers, imported_kwh::Float64)
    tier_kwh, cost, left = zeros(length(tiers.tiers)), 0.0, imported_kwh
    width, surcharge, tier_of = tier_parts(tiers)
    for k in eachindex(width)
        kwh = min(left, width[k])
        left -= kwh
        cost += kwh * surcharge[k]
        tier_of[k] > 0 && (tier_kwh[tier_of[k]] = kwh)
    end
    return tier_kwh, cost
end

"What imports and exports cost, CO₂ included."
function cost(bill::GridBill, problem::DispatchProblem)
    emissions = problem.input.emissions
    co2_price = emissions === nothing ? 0.0 : emissions.price_per_kg
    return bill.energy_import + bill.energy_export + sum_of(identity, bill.fees) + bill.tiers +
        bill.demand_charges + co2_price * bill.import_co2_kg
end

"What a generator's schedule costs: fuel with no-load, starts, and the CO₂ in kg."
function generator_bill(generator::DispatchGenerator, h::Float64, power_kw::Vector{Float64},
        running::Vector{Float64})
    fuel, starts, energy_kwh, was_running = 0.0, 0, 0.0, generator.initially_running
    for t in eachindex(power_kw)
        is_running = running[t] > 0.5
        is_running && !was_running && (starts += 1)
        was_running = is_running
        fuel += h * running[t] * generator.no_load_cost_per_h
        energy_kwh += h * power_kw[t]
        from = 0.0
        for item in generator.cost_segments
            fuel += h * item.cost_per_kwh * max(0.0, min(power_kw[t], item.up_to_power_kw) - from)
            from = item.up_to_power_kw
        end
    end
    return (fuel = fuel, start_count = starts, co2_kg = energy_kwh * generator.co2_kg_per_kwh)
end
