# What demand and reserve no commitment can meet: docs/compute/unit-commitment.md, "No plan".

const CONFLICT_TIME_LIMIT_S = 60.0
const CONFLICT_GAP = 1e-4
const CONFLICT_TOLERANCE_MW = 1e-4

"What is given up of one series of the input; `sign` is the direction in which it gives way."
struct GivenUp
    field::String
    series_mw::Vector{Float64}
    amount_mw::Vector{Float64}
    sign::Int
    words::String
end

"""
    infeasible(fleet) -> ContractError or nothing

INFEASIBLE, naming each slot whose demand or reserve cannot be met, and by how much. As little as
possible is given up in all slots together, reserve before demand. Nothing where nothing has to be
given up: then there is a plan.
"""
function infeasible(fleet::Fleet)
    elastic = formulate(fleet; elastic = true)
    solution = Highs.solve(linear_program(elastic.program); time_limit_s = CONFLICT_TIME_LIMIT_S,
        relative_gap = CONFLICT_GAP)
    solution.has_plan || return ContractError("INFEASIBLE", "",
        "no plan meets demand and reserve, and where it fails was not found in time")
    gaps = filter(gap -> any(>(CONFLICT_TOLERANCE_MW), gap.amount_mw), given_up(fleet, elastic, solution))
    isempty(gaps) && return nothing
    named = Violation[]
    foreach(gap -> append!(named, violations(gap)), gaps)
    return ContractError("INFEASIBLE", named[1].field, "no plan meets demand and reserve: " *
        join((summary_of(gap) for gap in gaps), ", and "), named[1:min(end, MAX_VIOLATIONS)])
end

function given_up(fleet::Fleet, elastic::FleetProgram, solution::Highs.Solution)
    short_mw = solution.value[elastic.missing_power] .- solution.value[elastic.surplus_power]
    return GivenUp[
        GivenUp("demand_mw", fleet.demand_mw, short_mw, -1, "it exceeds what the units can produce"),
        GivenUp("demand_mw", fleet.demand_mw, 0.0 .- short_mw, 1,
            "it falls short of what the units must produce"),
        GivenUp("reserve_requirement_mw", fleet.reserve_mw, solution.value[elastic.missing_reserve],
            -1, "it exceeds what the units can hold")]
end

function summary_of(gap::GivenUp)
    count, (amount, worst) = Base.count(>(CONFLICT_TOLERANCE_MW), gap.amount_mw), findmax(gap.amount_mw)
    return "$(gap.words) by $(rounded(amount)) MW in slot $(worst - 1)" *
        (count > 1 ? ", the worst of $count slots" : "")
end

function violations(gap::GivenUp)
    most = gap.sign < 0 ? "most" : "least"
    return Violation[Violation("$(gap.field)[$(t - 1)]", "feasible", "must be at $most " *
        "$(rounded(gap.series_mw[t] + gap.sign * amount)); it is " *
        "$(Shapes.number(gap.series_mw[t])) ($(gap.words) by $(rounded(amount)) MW)")
        for (t, amount) in enumerate(gap.amount_mw) if amount > CONFLICT_TOLERANCE_MW]
end

"To a tenth of a kW: what is finer is the solver's tolerance."
rounded(mw) = Shapes.number(round(mw; digits = 4) + 0.0)
