# Cycles: a fixed profile whose start is free.

struct Cycle
    first_start::Int                 # slot of the first column
    start::UnitRange{Int}            # binaries, one for each possible start
    meter::Meter
end

"`Σ start = 1`; a start in slot s draws the profile from there on."
function cycle!(draft::Draft, i::Int)
    cycle = draft.problem.input.cycles[i]
    lp = draft.lp
    meter = meter!(draft, cycle.name)
    one = equation!(lp, 1.0)
    first_start = cycle.start_slot + 1
    first = column_count(lp) + 1
    for s in first_start:cycle.end_slot-length(cycle.power_kw)+1
        binary!(draft, 0.0)
        term!(lp, one, 1.0)
        for (k, kw) in enumerate(cycle.power_kw)
            kw == 0 || draw!(draft, meter, s + k - 1, kw)
        end
    end
    return Cycle(first_start, first:column_count(lp), meter)
end
