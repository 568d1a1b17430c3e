# A good commitment before the search begins: docs/compute/unit-commitment.md, "Solving".

"Up to so many units times slots, the search itself is as quick."
const FEW_DECISIONS = 1000
"Of what the search may take in all."
const FIRST_TIME_SHARE, WINDOW_TIME_SHARE = 1 / 3, 1 / 24
"How near to on or off the relaxation must be to have decided it."
const DECIDED_WITHIN = 1e-3
"How far around what it leaves open nothing is held."
const OPEN_SLOTS = 2
const WINDOW_SLOTS = 12
"How much nearer than asked for a part comes to the best that there is in it."
const PART_GAP_SHARE, LEAST_PART_GAP = 1 / 4, 1e-4

"A program of which a part is searched at a time, each from the best plan so far."
mutable struct PartSearch
    model::Highs.Model
    units::Vector{UnitColumns}
    cost::Vector{Float64}               # of the columns
    lower::Matrix{Float64}              # of `on`: unit, slot
    upper::Matrix{Float64}
    bound::Float64
    gap::Float64                        # that is small enough
    tell::Any
    best::Union{Highs.Solution,Nothing}
end

"""
    first_plan(formulated, lp, model, time_limit_s, gap, tell) -> Highs.Solution or nothing

A plan for the search of `model` to start from; its bound is what the relaxation costs, its status
`:optimal` where the gap between them is small enough, else `:time_limit`. Nothing where the search can do
without, or no plan was found.
"""
function first_plan(formulated::FleetProgram, lp::LinearProgram, model::Highs.Model, time_limit_s::Float64,
        gap::Float64, tell)
    units, T = formulated.units, length(formulated.units[1].on)
    length(units) * T <= FEW_DECISIONS && return nothing
    in_all = Highs.allowed_s(time_limit_s, true)
    end_s = time_ns() / 1e9 + FIRST_TIME_SHARE * in_all
    left() = end_s - time_ns() / 1e9
    relaxed = relaxation(lp, left())
    relaxed.status == :optimal || return nothing
    of_units(values) = Float64[values[its.on[t]] for its in units, t in 1:T]
    parts = PartSearch(model, units, lp.cost, of_units(lp.lower), of_units(lp.upper), relaxed.objective, gap, tell, nothing)
    share = of_units(relaxed.value)
    search!(parts, around(share .> 1 - DECIDED_WITHIN), around(share .< DECIDED_WITHIN), left())
    while parts.best !== nothing && !is_close(parts)
        before = parts.best
        for window in windows(T)
            left() > 0 && !is_close(parts) || continue
            held = trues(length(units), T)
            held[:, window] .= false
            is_on = of_units(parts.best.value) .> 0.5
            search!(parts, held .& is_on, held .& .!is_on, min(left(), WINDOW_TIME_SHARE * in_all))
        end
        parts.best === before && break
    end
    hold!(parts, parts.lower, parts.upper)
    parts.best === nothing && return nothing
    return Highs.with_bound(parts.best, is_close(parts) ? :optimal : :time_limit, parts.bound)
end

function relaxation(lp::LinearProgram, time_limit_s::Float64)
    model = Highs.Model(lp; relaxed = true)
    try
        return Highs.solve!(model; time_limit_s = time_limit_s)
    finally
        close(model)
    end
end

"Search what is not held for a plan that is better than the best."
function search!(parts::PartSearch, held_on::BitMatrix, held_off::BitMatrix, time_limit_s::Float64)
    hold!(parts, ifelse.(held_on, parts.upper, parts.lower), ifelse.(held_off, parts.lower, parts.upper))
    parts.best === nothing || Highs.start_from!(parts.model, parts.best.value)
    found = Highs.solve!(parts.model; time_limit_s = max(0.01, time_limit_s),
        relative_gap = max(PART_GAP_SHARE * parts.gap, LEAST_PART_GAP),
        on_progress = (objective, bound, gap) -> tell_of(parts, objective))    # bound and gap of a part say nothing
    found.has_plan && (parts.best = cheaper(parts.best, found, parts.cost))
    return nothing
end

"What is found, where it costs less, by its values: HiGHS may tell another objective (1.16 does)."
function cheaper(best::Union{Highs.Solution,Nothing}, found::Highs.Solution, cost::Vector{Float64})
    own = sum(cost .* found.value)
    return best === nothing || own < best.objective ? Highs.with_objective(found, own) : best
end

function hold!(parts::PartSearch, lower::Matrix{Float64}, upper::Matrix{Float64})
    for (g, its) in enumerate(parts.units)
        Highs.change_bounds!(parts.model, its.on[1], lower[g, :], upper[g, :])
    end
end

is_close(parts::PartSearch) = parts.best !== nothing && gap_of(parts.best.objective, parts.bound) <= parts.gap

function tell_of(parts::PartSearch, objective)
    known = Float64[]
    parts.best === nothing || push!(known, parts.best.objective)
    objective === nothing || push!(known, objective)
    isempty(known) && return parts.tell(nothing, parts.bound, nothing)
    return parts.tell(minimum(known), parts.bound, gap_of(minimum(known), parts.bound))
end

"Where all is decided, so far around."
around(decided::BitMatrix) = BitMatrix([all(decided[g, max(1, t - OPEN_SLOTS):min(end, t + OPEN_SLOTS)])
                                        for g in axes(decided, 1), t in axes(decided, 2)])

"Each overlaps the next one by half."
windows(T::Int) = [first:min(T, first + WINDOW_SLOTS - 1)
                   for first in 1:WINDOW_SLOTS÷2:max(1, T - WINDOW_SLOTS ÷ 2)]
