# What every part of the program is built with: costs that know their scenario, meters, switches, and
# limits that may give way.

"""
The rows from `first` on, one a slot, in which a power stands with `factor`; only in the first `slots`.
The *meter* of an asset is all such rows: whatever it draws is counted in each of them.
"""
struct Line
    first::Int
    slots::Int
    factor::Float64
end

const Meter = Vector{Line}

"The limit of a group in one direction (factor 1 is towards its members): rows `factor · Σ power ≤ limit`."
struct GroupLimit
    group::Int
    factor::Float64
    rows::UnitRange{Int}
end

"The rows `Σ reserve ≥ required` of each slot, and the columns by which they give way (0: they do not)."
struct ReserveRows
    upward::UnitRange{Int}                # empty where none is asked for
    downward::UnitRange{Int}
    upward_relief::Int
    downward_relief::Int
end

"The rows in which an asset's power is compared with the previous plan."
struct Deviation
    name::String
    rows::UnitRange{Int}
end

"A limit that people set: the kind of it, and which of a list (0 where there is none)."
struct LimitId
    kind::Symbol
    item::Int
    part::Int
end

"""
What the scenarios do alike: for each asset in order the first row, for each scenario but the first, of
`power in it = power in the first scenario`.
"""
struct SharedRows
    slots::Int
    scenarios::Int
    first::Vector{Vector{Int}}
end

"One future's part of the program while it is built."
mutable struct Draft
    lp::LinearProgram
    problem::DispatchProblem
    scenario::Int
    weight::Float64                       # of its cost in the objective
    risk_row::Int                         # the row that collects its cost for the CVaR, or 0
    relief_rows::Dict{LimitId,Int}        # rows `its amount ≤ common amount` of limits that give way
    shared::SharedRows
    shared_count::Int                     # assets with rows in `shared` so far
    balance::UnitRange{Int}
    group_limits::Vector{GroupLimit}
    memberships::Dict{String,Vector{Int}} # the group limits that an asset counts in
    reserve::ReserveRows
    deviations::Vector{Deviation}
end

slots(draft::Draft) = slots(draft.problem)

"Add a variable whose cost is this future's."
function variable!(draft::Draft, lower, upper, cost)
    j = variable!(draft.lp, lower, upper, draft.weight * cost)
    cost == 0 || term!(draft.lp, draft.risk_row, Float64(cost))
    return j
end

function binary!(draft::Draft, cost)
    j = variable!(draft, 0.0, 1.0, cost)
    draft.lp.is_integer[j] = true
    return j
end

"The rows of a range that may be empty, in which case there is no row."
row_at(rows::UnitRange{Int}, t::Int) = isempty(rows) ? 0 : rows[t]

# ---------------------------------------------------------------------------------------- meters

const NO_LIMITS = Int[]

"The meter of an asset: balance, groups, previous plan, and what is shared with other scenarios."
function meter!(draft::Draft, name::String; is_shared::Bool = true)
    T = slots(draft)
    meter = Line[Line(first(draft.balance), T, -1.0)]
    for i in get(draft.memberships, name, NO_LIMITS)
        limit = draft.group_limits[i]
        push!(meter, Line(first(limit.rows), T, limit.factor))
    end
    deviation_line!(meter, draft, name)
    is_shared && shared_lines!(meter, draft)
    return meter
end

"The variable added last draws `kw` in slot `t` (delivers, where negative)."
function draw!(draft::Draft, meter::Meter, t::Int, kw::Float64)
    for line in meter
        t <= line.slots && term!(draft.lp, line.first + t - 1, line.factor * kw)
    end
end

"`power − over + under = previous power`, where over and under cost."
function deviation_line!(meter::Meter, draft::Draft, name::String)
    previous = previous_kw(draft.problem.input, name)
    previous === nothing && return nothing
    isempty(previous) && return nothing
    rows = constraints!(draft.lp, length(previous), 0.0, 0.0)
    cost = draft.problem.slot_h * draft.problem.input.previous_plan.deviation_cost_per_kwh
    for (row, kw) in zip(rows, previous)
        draft.lp.row_lower[row] = draft.lp.row_upper[row] = kw
        for sign in (-1.0, 1.0)
            variable!(draft, 0.0, Inf, cost)
            term!(draft.lp, row, sign)
        end
    end
    push!(draft.deviations, Deviation(name, rows))
    push!(meter, Line(first(rows), length(rows), 1.0))
    return nothing
end

"What the previous plan says of an asset, perhaps of the first slots only; or nothing."
function previous_kw(input::DispatchInput, name::String)
    plan = input.previous_plan
    plan === nothing && return nothing
    for asset in plan.assets
        asset.name == name && return asset.power_kw
    end
    return nothing
end

"The rows that make a power of the first slots the same in every scenario."
function shared_lines!(meter::Meter, draft::Draft)
    shared = draft.shared
    shared.scenarios == 1 && return nothing
    draft.shared_count += 1
    if draft.scenario == 1
        push!(shared.first, Int[first(constraints!(draft.lp, shared.slots, 0.0, 0.0))
                                for _ in 2:shared.scenarios])
        for row in shared.first[end]
            push!(meter, Line(row, shared.slots, -1.0))
        end
    else
        row = shared.first[draft.shared_count][draft.scenario-1]
        push!(meter, Line(row, shared.slots, 1.0))
    end
    return nothing
end

# -------------------------------------------------------------------------------------- switches

"""
Binaries that each say whether a flow runs, `least ≤ flow ≤ most`, or else its opposite may, `≤
opposite_most`. `binary` holds 0 in slots without one; it is empty where no slot has one.
"""
struct Switch
    binary::Vector{Int}
    most_row::Vector{Int}            # flow ≤ most · y
    least_row::Vector{Int}           # flow ≥ least · y
    opposite_row::Vector{Int}        # opposite ≤ opposite_most · (1 − y)
    least::Float64
end

const NO_SWITCH = Switch(Int[], Int[], Int[], Int[], 0.0)

has_switch(switch::Switch, i::Int) = !isempty(switch.binary) && switch.binary[i] != 0

"""
Add the switch of `count` slots, in those that are `chosen` (empty: none). `most` and `opposite_most`
are by slot; `opposite_most` is empty where there is no opposite flow. Rows of `change`, where given,
gain `y[i] − y[i−1]`.
"""
function switch!(draft::Draft, count::Int, chosen::Vector{Bool}, least::Float64,
        most::Vector{Float64}, opposite_most::Vector{Float64}; change::UnitRange{Int} = 1:0)
    any(chosen) || return NO_SWITCH
    lp = draft.lp
    binary, most_row, least_row, opposite_row = zeros(Int, count), zeros(Int, count), zeros(Int, count),
    zeros(Int, count)
    for i in 1:count
        chosen[i] || continue
        most_row[i] = constraint!(lp, -Inf, 0.0)
        least > 0 && (least_row[i] = constraint!(lp, 0.0, Inf))
        isempty(opposite_most) || (opposite_row[i] = constraint!(lp, -Inf, opposite_most[i]))
        binary[i] = binary!(draft, 0.0)
        term!(lp, most_row[i], -most[i])
        term!(lp, least_row[i], -least)
        isempty(opposite_most) || term!(lp, opposite_row[i], opposite_most[i])
        isempty(change) || term!(lp, change[i], 1.0)
        i < length(change) && term!(lp, change[i+1], -1.0)
    end
    return Switch(binary, most_row, least_row, opposite_row, least)
end

"The variable added last is the flow that the switch lets run."
function flow_term!(lp::LinearProgram, switch::Switch, i::Int)
    isempty(switch.binary) && return nothing
    term!(lp, switch.most_row[i], 1.0)
    term!(lp, switch.least_row[i], 1.0)
end

"The variable added last is the opposite flow."
opposite_term!(lp::LinearProgram, switch::Switch, i::Int) =
    isempty(switch.binary) ? nothing : term!(lp, switch.opposite_row[i], 1.0)

# ------------------------------------------------------------------------------ limits giving way

gives_way(draft::Draft, id::LimitId) = haskey(draft.relief_rows, id)

"""
The amount by which a limit gives way in this future: a new column, whose terms the caller adds, or 0
where the limit does not give way.
"""
function relief!(draft::Draft, id::LimitId)
    gives_way(draft, id) || return 0
    j = variable!(draft, 0.0, Inf, 0.0)
    term!(draft.lp, draft.relief_rows[id], 1.0)
    return j
end
