# Demand charges: a price on the greatest mean import of a billing interval.

"""
The billing intervals of a charge that slots lie in. Slot t takes `first_h[t]` hours of the interval
`first[t]` and `next_h[t]` of the one after it; `first[t]` is 0 where the slot does not count.
"""
struct BillingIntervals
    interval_h::Float64
    count::Int
    first::Vector{Int}
    first_h::Vector{Float64}
    next_h::Vector{Float64}
    before_kwh::Float64                  # taken from the first interval before the start: E0
    counts::Vector{Bool}                 # whether a slot of the interval counts
end

function BillingIntervals(input::DispatchInput, charge::DispatchDemandCharge)
    T, slot_s, interval_s = input.slots, input.slot_duration_s, charge.billing_interval_s
    counted = isempty(charge.windows) ? fill(true, T) : fill(false, T)
    for window in charge.windows
        counted[window.start_slot+1:window.end_slot] .= true
    end
    interval_h = interval_s / 3600
    if slot_s > interval_s
        # The mean of a slot stands for each interval within it.
        return BillingIntervals(interval_h, T, Int[counted[t] ? t : 0 for t in 1:T],
            fill(interval_h, T), zeros(T), 0.0, counted)
    end
    # Every billing interval divides an hour, so what the clock shows beyond the hour is enough. Whole
    # microseconds, so that a slot ends exactly where an interval begins.
    slot_us, interval_us = MICROSECONDS * slot_s, MICROSECONDS * interval_s
    offset_us = microseconds_past_hour(input.start_time) % interval_us
    first, first_h, next_h = zeros(Int, T), zeros(T), zeros(T)
    count = cld(offset_us + T * slot_us, interval_us)
    counts = fill(false, count)
    for t in 1:T
        counted[t] || continue
        begin_us = offset_us + (t - 1) * slot_us
        k = div(begin_us, interval_us)
        within_us = min(slot_us, (k + 1) * interval_us - begin_us)
        first[t], first_h[t], next_h[t] = k + 1, within_us / HOUR_US, (slot_us - within_us) / HOUR_US
        counts[k+1] = true
        next_h[t] > 0 && (counts[k+2] = true)
    end
    return BillingIntervals(interval_h, count, first, first_h, next_h,
        charge.interval_energy_so_far_kwh, counts)
end

const MICROSECONDS = 1_000_000
const HOUR_US = 3600.0 * MICROSECONDS

"What the clock of an instant shows beyond the hour, in microseconds."
microseconds_past_hour(instant::String) =
    60 * MICROSECONDS * parse(Int, SubString(instant, 15, 16)) +
    round(Int, MICROSECONDS * parse(Float64, SubString(instant, 18, length(instant) - 1)))

"The greatest interval mean that a schedule leads to, or 0 where no interval counts."
function peak_kw(intervals::BillingIntervals, import_kw::Vector{Float64})
    energy_kwh = zeros(intervals.count)
    isempty(energy_kwh) || (energy_kwh[1] = intervals.before_kwh)
    for (t, power_kw) in enumerate(import_kw)
        k = intervals.first[t]
        k == 0 && continue
        energy_kwh[k] += intervals.first_h[t] * power_kw
        intervals.next_h[t] > 0 && (energy_kwh[k+1] += intervals.next_h[t] * power_kw)
    end
    greatest = 0.0
    for k in 1:intervals.count
        intervals.counts[k] && (greatest = max(greatest, energy_kwh[k] / intervals.interval_h))
    end
    return greatest
end

"A demand charge in the program: `mean import of the interval − excess ≤ peak so far`."
struct DemandRows
    intervals::BillingIntervals
    row::Vector{Int}                     # by interval; 0 where none counts
end

function demand_charge!(draft::Draft, charge::DispatchDemandCharge)
    intervals = BillingIntervals(draft.problem.input, charge)
    row = zeros(Int, intervals.count)
    for k in 1:intervals.count
        intervals.counts[k] || continue
        before_kw = k == 1 ? intervals.before_kwh / intervals.interval_h : 0.0
        row[k] = constraint!(draft.lp, -Inf, charge.peak_so_far_kw - before_kw)
    end
    variable!(draft, 0.0, Inf, charge.price_per_kw)
    foreach(k -> term!(draft.lp, k, -1.0), row)
    return DemandRows(intervals, row)
end

"The variable added last is the import of slot t."
function import_term!(lp::LinearProgram, demand::DemandRows, t::Int)
    its = demand.intervals
    k = its.first[t]
    k == 0 && return nothing
    term!(lp, demand.row[k], its.first_h[t] / its.interval_h)
    its.next_h[t] > 0 && term!(lp, demand.row[k+1], its.next_h[t] / its.interval_h)
    return nothing
end
