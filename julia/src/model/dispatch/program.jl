# The whole program: every future of the site, and what ties them together.

"One future of the site in the program: where its columns and rows stand."
struct Site
    problem::DispatchProblem
    columns::UnitRange{Int}
    balance::UnitRange{Int}
    group_limits::Vector{GroupLimit}
    deviations::Vector{Deviation}
    reserve::ReserveRows
    grid::GridColumns
    plants::Vector{Plants}
    storages::Vector{Storage}        # batteries, then the stays of all vehicles in order
    flexible_loads::Vector{FlexibleLoad}
    cycles::Vector{Cycle}
    heat_pumps::Vector{HeatPump}
    generators::Vector{Generator}
end

"The program and where things stand in it."
struct DispatchProgram
    lp::LinearProgram
    sites::Vector{Site}              # one for each future
    amounts::Vector{Int}             # columns: by how much each limit of the relief gives way
    total_row::Int                   # Σ amounts ≤ …
end

"The limits that give way, if any: each by an amount between `least` and `most`."
struct Relief
    limits::Vector{LimitId}
    least::Vector{Float64}
    most::Vector{Float64}
    most_total::Float64
end

const NO_RELIEF = Relief(LimitId[], Float64[], Float64[], Inf)
Relief(limits::Vector{LimitId}; most_total = Inf) =
    Relief(limits, zeros(length(limits)), fill(Inf, length(limits)), most_total)

"""
Where a direction has to be chosen by a binary: for the grid and for each storage the slots, empty where
there is none.
"""
struct Choices
    grid::Vector{Bool}
    storages::Vector{Vector{Bool}}
end

storage_count(input::DispatchInput) = length(input.batteries) +
    sum_of(vehicle -> length(vehicle.stays), input.electric_vehicles)

no_choices(input::DispatchInput) = Choices(Bool[], Vector{Bool}[Bool[] for _ in 1:storage_count(input)])
no_choices(futures::Futures) = Choices[no_choices(problem.input) for problem in futures.problems]

"""
    formulate(futures, choices, relief = NO_RELIEF) -> DispatchProgram

The program of docs/compute/dispatch.md, "Formulation": for each future its site, and for several the
CVaR of their costs, `Σ cost − above ≤ threshold`.
"""
function formulate(futures::Futures, choices::Vector{Choices}, relief::Relief = NO_RELIEF)
    lp, count = LinearProgram(), length(futures.problems)
    sizehint!(lp, (count .* expected_size(futures.problems[1]))...)
    relief_rows = Vector{Int}[Int[constraint!(lp, -Inf, 0.0) for _ in relief.limits] for _ in 1:count]
    total_row = isempty(relief.limits) ? 0 : constraint!(lp, -Inf, relief.most_total)
    amounts = zeros(Int, length(relief.limits))
    for i in eachindex(amounts)
        amounts[i] = variable!(lp, relief.least[i], relief.most[i], 0.0)
        term!(lp, total_row, 1.0)
        foreach(rows -> term!(lp, rows[i], -1.0), relief_rows)
    end
    risk_rows = risk!(lp, futures)
    shared = SharedRows(futures.shared_slots, count, Vector{Int}[])
    sites = Site[]
    for (s, problem) in enumerate(futures.problems)
        draft = Draft(lp, problem, s, (1 - futures.risk_weight) * futures.probability[s],
            risk_rows[s], Dict{LimitId,Int}(zip(relief.limits, relief_rows[s])), shared)
        push!(sites, site!(draft, choices[s]))
    end
    return DispatchProgram(lp, sites, amounts, total_row)
end

formulate(problem::DispatchProblem, choices::Choices = no_choices(problem.input)) =
    formulate(Futures(problem), Choices[choices])

function expected_size(problem::DispatchProblem)
    input, T = problem.input, slots(problem)
    stores = length(input.batteries) + length(input.electric_vehicles)
    columns = (2 + length(input.pv) + 3 * stores) * T
    return columns, (1 + stores) * T, 2 * columns
end

"The CVaR of the futures' costs in the objective; the row that collects the cost of each, or 0."
function risk!(lp::LinearProgram, futures::Futures)
    count = length(futures.problems)
    futures.risk_weight == 0 && return zeros(Int, count)
    rows = Int[constraint!(lp, -Inf, 0.0) for _ in 1:count]      # cost − threshold − above ≤ 0
    variable!(lp, -Inf, Inf, futures.risk_weight)
    foreach(row -> term!(lp, row, -1.0), rows)
    for (row, probability) in zip(rows, futures.probability)
        variable!(lp, 0.0, Inf, futures.risk_weight * probability / futures.tail_probability)
        term!(lp, row, -1.0)
    end
    return rows
end

function Draft(lp, problem, scenario, weight, risk_row, relief_rows, shared)
    return Draft(lp, problem, scenario, weight, risk_row, relief_rows, shared, 0, 1:0, GroupLimit[],
        Dict{String,Vector{Int}}(), ReserveRows(1:0, 1:0, 0, 0), Deviation[])
end

"""
One future of the site. In every slot

    import − export + Σ used PV + Σ generation − Σ what storage, flexible loads, cycles, heat pumps draw = load
"""
function site!(draft::Draft, choices::Choices)
    lp, problem = draft.lp, draft.problem
    input = problem.input
    first_column = column_count(lp) + 1
    draft.balance = constraints!(lp, slots(draft), 0.0, 0.0)
    lp.row_lower[draft.balance] = problem.fixed_kw
    lp.row_upper[draft.balance] = problem.fixed_kw
    groups!(draft)
    reserve_rows!(draft)
    grid = grid!(draft, choices.grid)
    plants = plants!(draft)
    storages = Storage[battery!(draft, b, choices.storages[b]) for b in eachindex(input.batteries)]
    for (v, vehicle) in enumerate(input.electric_vehicles)
        meter = meter!(draft, vehicle.name)
        for s in eachindex(vehicle.stays)
            push!(storages, stay!(draft, v, s, meter, choices.storages[length(storages)+1]))
        end
    end
    flexible_loads = FlexibleLoad[flexible_load!(draft, i) for i in eachindex(input.flexible_loads)]
    cycles = Cycle[cycle!(draft, i) for i in eachindex(input.cycles)]
    heat_pumps = HeatPump[heat_pump!(draft, i) for i in eachindex(input.heat_pumps)]
    generators = Generator[generator!(draft, i) for i in eachindex(input.generators)]
    return Site(problem, first_column:column_count(lp), draft.balance, draft.group_limits,
        draft.deviations, draft.reserve, grid, plants, storages, flexible_loads, cycles, heat_pumps,
        generators)
end
