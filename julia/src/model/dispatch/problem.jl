# What a dispatch problem knows of its slots. docs/compute/dispatch.md is the mathematics of this folder:
# the names of its symbols stand in the comments here.
#
# Powers are slot means on the AC side in kW, energies in kWh, prices per kWh; slots are counted from 1.

"One future of the site: what the input says of the assets, and what this future says of the slots."
struct DispatchProblem
    input::DispatchInput
    slot_h::Float64                        # Δ
    import_price::Vector{Float64}          # π: price, fees and CO₂
    energy_price::Vector{Float64}          # the part of π that the tariff's own price is
    export_price::Vector{Float64}          # φ
    max_import_kw::Vector{Float64}         # M
    max_export_kw::Vector{Float64}         # X
    loads_kw::Vector{Vector{Float64}}      # of each load
    available_kw::Vector{Vector{Float64}}  # of each PV plant: A
    fixed_kw::Vector{Float64}              # all loads, less the PV that must be taken
end

slots(problem::DispatchProblem) = length(problem.fixed_kw)

dispatch_problem(input::DispatchInput) = dispatch_problem(input, nothing)

"The problem of an input, or of one scenario of it."
function dispatch_problem(input::DispatchInput, scenario::Union{DispatchScenario,Nothing})
    tariff, grid = input.tariff, input.grid
    energy_price, export_price = tariff.import_price_per_kwh, tariff.export_price_per_kwh
    loads_kw = Vector{Float64}[load.power_kw for load in input.loads]
    available_kw = Vector{Float64}[pv.available_power_kw for pv in input.pv]
    if scenario !== nothing
        energy_price = something(scenario.import_price_per_kwh, energy_price)
        export_price = something(scenario.export_price_per_kwh, export_price)
        for series in scenario.loads
            loads_kw[findfirst(load -> load.name == series.name, input.loads)] = series.power_kw
        end
        for series in scenario.pv
            available_kw[findfirst(pv -> pv.name == series.name, input.pv)] = series.power_kw
        end
    end
    import_price = copy(energy_price)
    for fee in tariff.grid_fees
        import_price .+= fee.price_per_kwh
    end
    emissions = input.emissions
    emissions === nothing ||
        (import_price .+= emissions.price_per_kg .* emissions.import_kg_per_kwh)
    fixed_kw = zeros(input.slots)
    for load_kw in loads_kw
        fixed_kw .+= load_kw
    end
    for (pv, power_kw) in zip(input.pv, available_kw)
        pv.curtailable || (fixed_kw .-= power_kw)
    end
    return DispatchProblem(input, input.slot_duration_s / 3600, import_price, energy_price, export_price,
        least_of(grid.max_import_power_kw, grid.import_limits_kw, input.slots),
        least_of(grid.max_export_power_kw, grid.export_limits_kw, input.slots),
        loads_kw, available_kw, fixed_kw)
end

least_of(limit::Float64, ::Nothing, count) = fill(limit, count)
least_of(limit::Float64, limits::Vector{Float64}, count) = min.(limit, limits)

"σ: what a tier takes off the import price at most; not above 0."
function least_surcharge(input::DispatchInput)
    least = 0.0
    tiers = input.tariff.import_tiers
    tiers === nothing && return least
    for tier in tiers.tiers
        least = min(least, tier.surcharge_per_kwh)
    end
    return least
end

"ρ: what a kWh outside of its window costs in a slot."
function outside_penalty(problem::DispatchProblem)
    greatest = 1.0
    for t in 1:slots(problem)
        greatest = max(greatest, abs(problem.import_price[t]), abs(problem.export_price[t]))
    end
    return 10 * greatest
end

"""
The futures that are planned together, each with its probability. What is done in the first
`shared_slots` is the same in all. One future alone is the ordinary case.
"""
struct Futures
    problems::Vector{DispatchProblem}
    probability::Vector{Float64}
    shared_slots::Int
    risk_weight::Float64
    tail_probability::Float64
end

Futures(problem::DispatchProblem) = Futures([problem], [1.0], 0, 0.0, 1.0)

function futures(input::DispatchInput)
    its = input.uncertainty
    its === nothing && return Futures(dispatch_problem(input))
    total = 0.0
    for scenario in its.scenarios
        total += scenario.probability
    end
    return Futures(
        DispatchProblem[dispatch_problem(input, scenario) for scenario in its.scenarios],
        Float64[scenario.probability / total for scenario in its.scenarios],
        its.shared_slots, its.risk_weight, its.tail_probability)
end

sum_of(f, items) = mapreduce(f, +, items; init = 0.0)
greatest(values) = mapreduce(identity, max, values; init = 0.0)
