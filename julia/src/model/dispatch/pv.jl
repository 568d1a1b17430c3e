# PV that may be curtailed.

"""
Curtailable plants that nothing tells apart: using one or the other costs nothing, so their sum is
enough, and what they leave unused is shared in proportion.
"""
struct Plants
    members::Vector{Int}             # indices of input.pv
    available_kw::Vector{Float64}    # of all together
    used::UnitRange{Int}             # columns: u
    meter::Meter
    upward::UnitRange{Int}           # columns of reserve
    downward::UnitRange{Int}
    upward_rows::UnitRange{Int}      # used + reserve ≤ available
end

"All curtailable plants; those in different groups, or in the previous plan, are told apart."
function plants!(draft::Draft)
    input = draft.problem.input
    found = Plants[]
    kinds = Vector{Int}[]
    for (p, pv) in enumerate(input.pv)
        if !pv.curtailable
            taken!(draft, p)
            continue
        end
        is_alone = previous_kw(input, pv.name) !== nothing
        kind = is_alone ? Int[-p] : get(draft.memberships, pv.name, NO_LIMITS)
        at = findfirst(==(kind), kinds)
        at === nothing ? (push!(kinds, kind); push!(found, plants(Int[p]))) : push!(found[at].members, p)
    end
    return Plants[plants!(draft, kind.members) for kind in found]
end

plants(members::Vector{Int}) = Plants(members, Float64[], 1:0, Line[], 1:0, 1:0, 1:0)

"`0 ≤ used ≤ available`, `upward reserve ≤ available − used`, `downward reserve ≤ used`."
function plants!(draft::Draft, members::Vector{Int})
    problem, lp, T = draft.problem, draft.lp, slots(draft)
    available_kw = zeros(T)
    for p in members
        available_kw .+= problem.available_kw[p]
    end
    meter = meter!(draft, problem.input.pv[members[1]].name; is_shared = false)
    reserve, no_rows = draft.reserve, 1:0
    upward_rows = isempty(reserve.upward) ? no_rows : at_most!(lp, available_kw)
    downward_rows = isempty(reserve.downward) ? no_rows : constraints!(lp, T, -Inf, 0.0)
    first = column_count(lp) + 1
    for t in 1:T
        variable!(draft, 0.0, available_kw[t], 0.0)
        draw!(draft, meter, t, -1.0)
        term!(lp, row_at(upward_rows, t), 1.0)
        term!(lp, row_at(downward_rows, t), -1.0)
    end
    used = first:column_count(lp)
    upward = reserve_columns!(draft, reserve.upward, upward_rows)
    downward = reserve_columns!(draft, reserve.downward, downward_rows)
    return Plants(members, available_kw, used, meter, upward, downward, upward_rows)
end

"A plant that must be taken decides nothing, but may depart from the previous plan."
function taken!(draft::Draft, p::Int)
    meter = Line[]
    deviation_line!(meter, draft, draft.problem.input.pv[p].name)
    for line in meter, t in 1:line.slots
        row = line.first + t - 1
        draft.lp.row_lower[row] += draft.problem.available_kw[p][t]
        draft.lp.row_upper[row] = draft.lp.row_lower[row]
    end
end
