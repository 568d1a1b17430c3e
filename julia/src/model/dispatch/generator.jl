# Generators that start and stop.

struct Generator
    running::UnitRange{Int}          # binaries n; empty for one that needs none: it is always on
    start::UnitRange{Int}            # a
    stop::UnitRange{Int}             # b
    segments::UnitRange{Int}         # power above the least one, slot by slot
    segment_count::Int
    width_rows::UnitRange{Int}       # segment ≤ width · n, as the segments; empty where bounds do
    ramp_up_rows::UnitRange{Int}
    ramp_down_rows::UnitRange{Int}
    meter::Meter
    upward::UnitRange{Int}           # columns of reserve
    downward::UnitRange{Int}
    upward_rows::UnitRange{Int}      # power + reserve ≤ max · n
end

segment(generator::Generator, t::Int, k::Int) =
    generator.segments[(t-1)*generator.segment_count+k]

"One that may be anywhere between 0 and its greatest power, at any time: nothing to decide but that."
needs_no_state(generator::DispatchGenerator) = generator.min_power_kw == 0 &&
    generator.no_load_cost_per_h == 0 && generator.start_cost == 0 &&
    generator.min_up_duration_s == 0 && generator.min_down_duration_s == 0

"What a generator delivered just before the start: nothing unless it runs, then its least power or more."
initial_power_kw(generator::DispatchGenerator) = generator.initially_running ?
    max(generator.min_power_kw, generator.initial_power_kw) : 0.0

"A duration in slots, rounded up."
slots_of(duration_s::Int, input::DispatchInput) = cld(duration_s, input.slot_duration_s)

"The segments above the least power as (width in kW, price per kWh), and what the least power costs an hour."
function segments_above_least(generator::DispatchGenerator)
    width, price = Float64[], Float64[]
    from, least_cost = 0.0, 0.0
    for item in generator.cost_segments
        least_cost += item.cost_per_kwh * max(0.0, min(item.up_to_power_kw, generator.min_power_kw) - from)
        above = item.up_to_power_kw - max(from, generator.min_power_kw)
        if above > 0
            push!(width, above)
            push!(price, item.cost_per_kwh)
        end
        from = item.up_to_power_kw
    end
    return width, price, least_cost
end

"""
    power = min n + Σ segments,   0 ≤ segment ≤ width n
    n[t] − n[t−1] = start[t] − stop[t]
    Σ start over the last UT slots ≤ n[t],   Σ stop over the last DT slots ≤ 1 − n[t]
    power[t] − power[t−1] ≤ RU h n[t−1] + max(min, RU h) start[t],   likewise down
    power + upward reserve ≤ max n,   power − downward reserve ≥ min n

The segments begin at the least power, so that they need no row to keep it.
"""
function generator!(draft::Draft, i::Int)
    generator = draft.problem.input.generators[i]
    problem, lp, T, h = draft.problem, draft.lp, slots(draft), draft.problem.slot_h
    width, price, least_cost = segments_above_least(generator)
    meter, no_rows = meter!(draft, generator.name), 1:0
    up_rows, up_limit = ramp_rows!(lp, T, h, generator.ramp_up_kw_per_h, generator)
    down_rows, down_limit = ramp_rows!(lp, T, h, generator.ramp_down_kw_per_h, generator)
    free = needs_no_state(generator)
    reserve = draft.reserve
    upward_rows = isempty(reserve.upward) ? no_rows :
        constraints!(lp, T, -Inf, free ? generator.max_power_kw : 0.0)
    downward_rows = isempty(reserve.downward) ? no_rows : constraints!(lp, T, -Inf, 0.0)
    emissions = problem.input.emissions
    co2_price = emissions === nothing ? 0.0 : emissions.price_per_kg * generator.co2_kg_per_kwh

    running, start, stop, width_rows = no_rows, no_rows, no_rows, no_rows
    if free
        # n = 1 throughout: the ramps' right-hand sides.
        foreach(t -> isempty(up_rows) || (lp.row_upper[up_rows[t]] = up_limit), 1:T)
        foreach(t -> isempty(down_rows) || (lp.row_upper[down_rows[t]] = down_limit), 1:T)
    else
        width_rows = constraints!(lp, T * length(width), -Inf, 0.0)
        running, start, stop = states!(draft, generator, meter, width, width_rows,
            h * (generator.no_load_cost_per_h + least_cost + co2_price * generator.min_power_kw),
            up_rows, up_limit, down_rows, down_limit, upward_rows)
    end
    before_kw = initial_power_kw(generator)
    isempty(up_rows) || (lp.row_upper[up_rows[1]] += before_kw)
    isempty(down_rows) || (lp.row_upper[down_rows[1]] -= before_kw)
    first = column_count(lp) + 1
    for t in 1:T, k in 1:length(width)
        variable!(draft, 0.0, width[k], h * (price[k] + co2_price))
        draw!(draft, meter, t, -1.0)
        power_terms!(lp, t, 1.0, up_rows, down_rows)
        free || term!(lp, width_rows[(t-1)*length(width)+k], 1.0)
        term!(lp, row_at(upward_rows, t), 1.0)
        term!(lp, row_at(downward_rows, t), -1.0)
    end
    segments = first:column_count(lp)
    upward = reserve_columns!(draft, reserve.upward, upward_rows)
    downward = reserve_columns!(draft, reserve.downward, downward_rows)
    return Generator(running, start, stop, segments, length(width), width_rows, up_rows, down_rows, meter,
        upward, downward, upward_rows)
end

"The rows `power[t] − power[t−1] ≤ …` of a ramp, or none; and the ramp in kW a slot."
function ramp_rows!(lp::LinearProgram, T::Int, h::Float64, ramp_kw_per_h, generator::DispatchGenerator)
    ramp_kw_per_h === nothing && return 1:0, Inf
    ramp_kw = h * ramp_kw_per_h
    # One that is as wide as the generator's range binds nothing.
    ramp_kw >= generator.max_power_kw && return 1:0, Inf
    return constraints!(lp, T, -Inf, 0.0), ramp_kw
end

"The variable added last is `factor` kW of power in slot t."
function power_terms!(lp::LinearProgram, t::Int, factor::Float64, up_rows::UnitRange{Int},
        down_rows::UnitRange{Int})
    if !isempty(up_rows)
        term!(lp, up_rows[t], factor)
        t < length(up_rows) && term!(lp, up_rows[t+1], -factor)
    end
    if !isempty(down_rows)
        term!(lp, down_rows[t], -factor)
        t < length(down_rows) && term!(lp, down_rows[t+1], factor)
    end
end

"The columns n, start and stop with the rows that tie them; `running_cost` is that of a slot at least power."
function states!(draft::Draft, generator::DispatchGenerator, meter::Meter, width::Vector{Float64},
        width_rows::UnitRange{Int}, running_cost::Float64, up_rows::UnitRange{Int}, up_limit::Float64,
        down_rows::UnitRange{Int}, down_limit::Float64, upward_rows::UnitRange{Int})
    lp, T, input = draft.lp, slots(draft), draft.problem.input
    least_kw, was_running = generator.min_power_kw, generator.initially_running
    up_slots = max(1, slots_of(generator.min_up_duration_s, input))
    down_slots = max(1, slots_of(generator.min_down_duration_s, input))
    left_s = (was_running ? generator.min_up_duration_s : generator.min_down_duration_s) -
             generator.initial_duration_s
    held = left_s > 0 ? min(T, slots_of(left_s, input)) : 0
    state_rows = constraints!(lp, T, 0.0, 0.0)
    lp.row_lower[state_rows[1]] = lp.row_upper[state_rows[1]] = was_running ? 1.0 : 0.0
    up_time_rows = constraints!(lp, T, -Inf, 0.0)      # Σ start − n ≤ 0
    down_time_rows = constraints!(lp, T, -Inf, 1.0)    # Σ stop + n ≤ 1
    if was_running
        # n[0] = 1 on the right-hand side of the first ramps.
        isempty(up_rows) || (lp.row_upper[up_rows[1]] += up_limit)
    end
    shared = Line[]
    shared_lines!(shared, draft)

    first = column_count(lp) + 1
    for t in 1:T
        n = binary!(draft, running_cost)
        t <= held && (lp.lower[n] = lp.upper[n] = was_running ? 1.0 : 0.0)
        draw!(draft, meter, t, -least_kw)
        draw!(draft, shared, t, 1.0)
        term!(lp, state_rows[t], 1.0)
        t < T && term!(lp, state_rows[t+1], -1.0)
        term!(lp, up_time_rows[t], -1.0)
        term!(lp, down_time_rows[t], 1.0)
        for k in 1:length(width)
            term!(lp, width_rows[(t-1)*length(width)+k], -width[k])
        end
        if !isempty(up_rows)     # power[t] − power[t−1] − RU h n[t−1] − … start[t] ≤ 0
            term!(lp, up_rows[t], least_kw)
            t < T && term!(lp, up_rows[t+1], -least_kw - up_limit)
        end
        if !isempty(down_rows)   # power[t−1] − power[t] − RD h n[t] − … stop[t] ≤ 0
            term!(lp, down_rows[t], -least_kw - down_limit)
            t < T && term!(lp, down_rows[t+1], least_kw)
        end
        term!(lp, row_at(upward_rows, t), least_kw - generator.max_power_kw)
    end
    running = first:column_count(lp)
    for t in 1:T
        variable!(draft, 0.0, 1.0, generator.start_cost)
        term!(lp, state_rows[t], -1.0)
        for later in t:min(T, t + up_slots - 1)
            term!(lp, up_time_rows[later], 1.0)
        end
        term!(lp, row_at(up_rows, t), -max(least_kw, up_limit))
    end
    start = last(running)+1:column_count(lp)
    for t in 1:T
        variable!(draft, 0.0, 1.0, 0.0)
        term!(lp, state_rows[t], 1.0)
        for later in t:min(T, t + down_slots - 1)
            term!(lp, down_time_rows[later], 1.0)
        end
        term!(lp, row_at(down_rows, t), -max(least_kw, down_limit))
    end
    return running, start, last(start)+1:column_count(lp)
end
