# The grid connection: import and export, their limits, tier prices and demand charges.

"A limit of the import or the export."
struct FlowLimit
    rows::UnitRange{Int}           # flow − relief ≤ limit; empty where it is a bound of the columns
    reserve_rows::UnitRange{Int}   # flow − opposite flow − relief ≤ limit − reserve; empty without
end

"The columns and rows of the grid connection."
struct GridColumns
    import_::UnitRange{Int}
    export_::UnitRange{Int}
    switch::Switch
    import_limits::Vector{FlowLimit}
    export_limits::Vector{FlowLimit}
    demand_charges::Vector{DemandRows}
    tier_row::Int                  # imported energy = energy of the parts; 0 without tiers
end

"""
    grid!(draft, choices) -> GridColumns

In every slot `0 ≤ import ≤ M`, `0 ≤ export ≤ X`, and where the direction is to be chosen
`import ≤ M y`, `export ≤ X (1 − y)`. With reserve `export − import + upward ≤ X`, and downward likewise.
"""
function grid!(draft::Draft, choices::Vector{Bool})
    lp, problem, T = draft.lp, draft.problem, slots(draft)
    h, grid = problem.slot_h, problem.input.grid
    import_limits, export_limits = FlowLimit[], FlowLimit[]
    most_import = limits!(draft, import_limits, grid.max_import_power_kw, grid.import_limits_kw,
        :import_limit, :import_series, reserve_kw(problem, :downward))
    most_export = limits!(draft, export_limits, grid.max_export_power_kw, grid.export_limits_kw,
        :export_limit, :export_series, reserve_kw(problem, :upward))
    reserve_relief!(draft, import_limits, export_limits)
    demand_charges = DemandRows[demand_charge!(draft, charge)
                                for charge in problem.input.tariff.demand_charges]
    tier_row = tiers!(draft)

    switch = NO_SWITCH
    if any(choices)
        # As small as the balance makes them; as bounds they would take part in the duals.
        drawn, delivered = greatest_flows(problem)
        switch = switch!(draft, T, choices, 0.0, min.(most_import, drawn), min.(most_export, delivered))
    end
    first_import = column_count(lp) + 1
    for t in 1:T
        variable!(draft, 0.0, most_import[t], h * problem.import_price[t])
        term!(lp, draft.balance[t], 1.0)
        limit_terms!(lp, import_limits, export_limits, t)
        flow_term!(lp, switch, t)
        term!(lp, tier_row, h)
        foreach(demand -> import_term!(lp, demand, t), demand_charges)
    end
    first_export = column_count(lp) + 1
    for t in 1:T
        variable!(draft, 0.0, most_export[t], -h * problem.export_price[t])
        term!(lp, draft.balance[t], -1.0)
        limit_terms!(lp, export_limits, import_limits, t)
        opposite_term!(lp, switch, t)
    end
    return GridColumns(first_import:first_import+T-1, first_export:first_export+T-1, switch,
        import_limits, export_limits, demand_charges, tier_row)
end

"""
The limits of a flow: the bounds of its columns, and in `found` those that need rows, because they give
way or because reserve takes part of them.
"""
function limits!(draft::Draft, found::Vector{FlowLimit}, limit::Float64, series, kind::Symbol,
        series_kind::Symbol, required)
    T, bound, no_rows = slots(draft), fill(Inf, slots(draft)), 1:0
    for (its_kind, values) in ((kind, fill(limit, T)), (series_kind, series))
        values === nothing && continue
        id = LimitId(its_kind, 0, 0)
        if !gives_way(draft, id)
            bound .= min.(bound, values)
            continue
        end
        rows = at_most!(draft.lp, values)
        reserve_rows = required === nothing ? no_rows : at_most!(draft.lp, values .- required)
        relief!(draft, id)
        foreach(row -> term!(draft.lp, row, -1.0), rows)
        foreach(row -> term!(draft.lp, row, -1.0), reserve_rows)
        push!(found, FlowLimit(rows, reserve_rows))
    end
    required === nothing || !any(isfinite, bound) ||
        push!(found, FlowLimit(no_rows, at_most!(draft.lp, bound .- required)))
    return bound
end

"Rows `… ≤ limits[t]`."
function at_most!(lp::LinearProgram, limits::Vector{Float64})
    rows = constraints!(lp, length(limits), -Inf, 0.0)
    lp.row_upper[rows] = limits
    return rows
end

"The variable added last is the flow of slot t that `own` limit, and opposite to what `opposite` do."
function limit_terms!(lp::LinearProgram, own::Vector{FlowLimit}, opposite::Vector{FlowLimit}, t::Int)
    for limit in own
        term!(lp, row_at(limit.rows, t), 1.0)
        term!(lp, row_at(limit.reserve_rows, t), 1.0)
    end
    for limit in opposite
        term!(lp, row_at(limit.reserve_rows, t), -1.0)
    end
end

"What can be imported at most, and exported at most, whatever is decided: by slot."
function greatest_flows(problem::DispatchProblem)
    input = problem.input
    drawn = sum_of(item -> item.battery.max_charge_power_kw, input.batteries) +
            sum_of(item -> item.battery.max_charge_power_kw, input.electric_vehicles) +
            sum_of(load -> load.max_power_kw, input.flexible_loads) +
            sum_of(cycle -> greatest(cycle.power_kw), input.cycles) +
            sum_of(pump -> pump.max_power_kw, input.heat_pumps)
    delivered = sum_of(item -> item.battery.max_discharge_power_kw, input.batteries) +
                sum_of(item -> item.battery.max_discharge_power_kw, input.electric_vehicles) +
                sum_of(generator -> generator.max_power_kw, input.generators)
    most_import = max.(0.0, problem.fixed_kw .+ drawn)
    most_export = max.(0.0, delivered .- problem.fixed_kw)
    for (pv, power_kw) in zip(input.pv, problem.available_kw)
        pv.curtailable && (most_export .+= power_kw)
    end
    return most_import, most_export
end

# ------------------------------------------------------------------------------------ tier prices

"The parts of the imported energy: width in kWh (the last has no end) and surcharge per kWh."
function tier_parts(tiers::DispatchTiers)
    width, surcharge, tier_of = Float64[], Float64[], Int[]
    from, price = 0.0, 0.0
    for i in 0:length(tiers.tiers)
        to = i < length(tiers.tiers) ? tiers.tiers[i+1].from_energy_kwh : Inf
        left = to - max(from, tiers.imported_energy_kwh)
        if left > 0
            push!(width, left)
            push!(surcharge, price)
            push!(tier_of, i)
        end
        i < length(tiers.tiers) && (from = to; price = tiers.tiers[i+1].surcharge_per_kwh)
    end
    return width, surcharge, tier_of
end

"""
`Σ h·import = Σ z`, each z within its part. Where a part is cheaper than one before it, binaries keep
the order: at each border all parts before it are full or all after it are empty.
"""
function tiers!(draft::Draft)
    tiers = draft.problem.input.tariff.import_tiers
    tiers === nothing && return 0
    width, surcharge, _ = tier_parts(tiers)
    lp, parts = draft.lp, length(width)
    row = constraint!(lp, 0.0, 0.0)
    most_kwh = draft.problem.slot_h * sum(greatest_flows(draft.problem)[1])
    width = min.(width, most_kwh)
    full_rows, empty_rows, first_binary = Int[], Int[], 0
    if !issorted(surcharge)
        for k in 2:parts
            push!(full_rows, constraint!(lp, 0.0, Inf))       # z[k−1] − width · y[k−1] ≥ 0
            push!(empty_rows, constraint!(lp, -Inf, 0.0))     # z[k] − width · y[k−1] ≤ 0
        end
        for k in 2:parts
            binary!(draft, 0.0)
            term!(lp, full_rows[k-1], -width[k-1])
            term!(lp, empty_rows[k-1], -width[k])
        end
    end
    for k in 1:parts
        variable!(draft, 0.0, isfinite(width[k]) ? width[k] : Inf, surcharge[k])
        term!(lp, row, -1.0)
        isempty(full_rows) && continue
        k < parts && term!(lp, full_rows[k], 1.0)
        k > 1 && term!(lp, empty_rows[k-1], 1.0)
    end
    return row
end
