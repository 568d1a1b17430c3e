# Groups: the power of several assets and loads together is limited.

"The rows of all group limits, and in which of them each asset counts."
function groups!(draft::Draft)
    for (g, group) in enumerate(draft.problem.input.groups)
        fixed_kw = fixed_kw_of(draft.problem, group)
        group_limit!(draft, g, 1.0, group.max_import_power_kw, fixed_kw, :group_import)
        group_limit!(draft, g, -1.0, group.max_export_power_kw, fixed_kw, :group_export)
    end
end

function group_limit!(draft::Draft, g::Int, factor::Float64, limit_kw, fixed_kw::Vector{Float64},
        kind::Symbol)
    limit_kw === nothing && return nothing
    rows = at_most!(draft.lp, limit_kw .- factor .* fixed_kw)
    relief!(draft, LimitId(kind, g, 0)) == 0 || foreach(row -> term!(draft.lp, row, -1.0), rows)
    push!(draft.group_limits, GroupLimit(g, factor, rows))
    for name in draft.problem.input.groups[g].members
        push!(get!(draft.memberships, name, Int[]), length(draft.group_limits))
    end
    return nothing
end

"What the members draw that decide nothing: loads, less PV that must be taken."
function fixed_kw_of(problem::DispatchProblem, group::DispatchGroup)
    fixed_kw = zeros(slots(problem))
    for (load, power_kw) in zip(problem.input.loads, problem.loads_kw)
        load.name in group.members && (fixed_kw .+= power_kw)
    end
    for (pv, power_kw) in zip(problem.input.pv, problem.available_kw)
        !pv.curtailable && pv.name in group.members && (fixed_kw .-= power_kw)
    end
    return fixed_kw
end
