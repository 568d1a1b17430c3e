# The kind `plan-check`: a power flow with the powers of a schedule, and who is to blame for what breaks.

"A scheduled asset in the network: what it feeds into its bus, p.u."
struct PlannedAsset
    name::String
    bus::Int
    active::PowerNetworks.Power
    reactive::PowerNetworks.Power
end

"""
    compute(input::PlanCheckInput, progress) -> PlanCheckResult

The power flow of every slot with the schedule in the network. Throws `ContractError` as that of
`PowerFlowInput` does.
"""
function compute(input::PlanCheckInput, progress)
    progress(0.0, "build")
    options = input.options === nothing ? PowerFlowOptions() : input.options
    slots = input.slots
    report_all = options.report == "ALL"
    report_all && refuse_large_report(input.network, slots)
    background = network_problem(input.network, input.profiles;
        de_energise = options.islands == "DE_ENERGISE")
    assets = planned_assets(input, background)
    problem = with_plan(background, assets)
    check = PlanCheck(problem, background, assets, options, survey_of(problem, slots))
    try
        states = NetworkState[]
        divergences = each_slot!(check.solver, problem, options, slots, progress) do slot, iterations
            Surveys.observe!(check.survey, check.solver, problem.generators, slot, iterations)
            report_all && push!(states, network_state(problem, check.solver, check.survey, slot))
            check.survey.columns.violations[slot] > 0 && blame!(check, slot)
        end
        for divergence in divergences
            check.survey.columns.iterations[divergence.slot+1] = divergence.iterations
        end
        progress(0.95, "report")
        report_all || append!(states, extreme_states(problem, check.solver, check.survey))
        return PlanCheckResult(
            within_limits = isempty(divergences) && check.violated_slots == 0,
            violated_slot_count = check.violated_slots,
            violated_without_plan_slot_count = check.violated_without_plan_slots,
            voltage_violations = check.voltage_violations, overloads = check.overloads,
            power_flow = power_flow_result(input, problem, check.survey, states, divergences))
    finally
        close(check.solver)
        close(check.idle_solver)
    end
end

"As many violations as a result may list."
const MOST_PLAN_VIOLATIONS = 10_000
"As many assets as a violation may name."
const MOST_BLAMED = 10

"What is known of a plan so far. The idle solver holds the same network without the plan."
mutable struct PlanCheck
    problem::NetworkProblem
    background::NetworkProblem
    assets::Vector{PlannedAsset}
    options::PowerFlowOptions
    survey::Surveys.Survey
    solver::Newton.Solver
    idle_solver::Newton.Solver
    idle_starts::Starts
    idle_last_good::Surveys.Snapshot
    violated_slots::Int
    violated_without_plan_slots::Int
    voltage_violations::Vector{PlanVoltageViolation}
    overloads::Vector{PlanOverload}
end

PlanCheck(problem, background, assets, options, survey) = PlanCheck(problem, background, assets, options,
    survey, Newton.Solver(problem.network), Newton.Solver(problem.network),
    Starts(background, options.start), Surveys.Snapshot(length(problem.given.buses), 0.0), 0, 0,
    PlanVoltageViolation[], PlanOverload[])

function planned_assets(input::PlanCheckInput, background::NetworkProblem)
    connection_of = Dict{String,PlanConnection}(item.asset => item for item in input.connections)
    kw_in_base = 1000 * input.network.base_power_mva
    assets = PlannedAsset[]
    for item in input.schedule
        connection = connection_of[item.name]
        ratio = sqrt(1 - connection.power_factor^2) / connection.power_factor
        direction = connection.reactive_power == "CONSUMED" ? -1 : 1
        push!(assets, PlannedAsset(item.name, NameTables.number(background.buses, connection.bus),
            PowerNetworks.Power(0.0, -1 / kw_in_base, item.power_kw),
            PowerNetworks.Power(0.0, direction * ratio / kw_in_base, abs.(item.power_kw))))
    end
    return assets
end

"The problem with what its assets plan to feed in; at a dead bus nothing is."
function with_plan(background::NetworkProblem, assets::Vector{PlannedAsset})
    injections = copy(background.injections)
    for asset in assets
        background.network.role[asset.bus] == PowerNetworks.DEAD ||
            PowerNetworks.inject!(injections, asset.bus, asset.active, asset.reactive)
    end
    return with_injections(background, injections)
end

"Say of a violated slot what would be without the plan, and which assets push where."
function blame!(check::PlanCheck, slot::Int)
    check.violated_slots += 1
    idle_converged = solve_idle!(check, slot)
    idle = check.idle_solver
    idle_converged && is_violated(check, idle) && (check.violated_without_plan_slots += 1)
    solver, network, given = check.solver, check.problem.network, check.problem.given
    Newton.linearise!(solver) || return nothing
    for (i, bus) in enumerate(given.buses)
        length(check.voltage_violations) < MOST_PLAN_VIOLATIONS || break
        limit = Surveys.voltage_limit(check.survey, network, solver, i)
        limit === :none && continue
        changes = voltage_changes(check, i, slot)
        worst = blamed(changes, limit == :min)
        push!(check.voltage_violations, PlanVoltageViolation(slot = slot - 1, bus = bus.name,
            limit = limit == :min ? "MIN" : "MAX",
            limit_pu = limit == :min ? bus.min_voltage_pu : bus.max_voltage_pu,
            voltage_pu = solver.magnitude[i],
            voltage_without_plan_pu = idle_converged ? idle.magnitude[i] : nothing,
            assets = String[check.assets[a].name for a in worst], voltage_changes_pu = changes[worst]))
    end
    for (m, branch) in enumerate(given.branches)
        length(check.overloads) < MOST_PLAN_VIOLATIONS || break
        used = Surveys.loading_percent(network, solver, m)
        used > 100 + Surveys.TOLERANCE_PERCENT || continue
        changes = loading_changes(check, m, slot)
        worst = blamed(changes, false)
        push!(check.overloads, PlanOverload(slot = slot - 1, branch = branch.name, loading_percent = used,
            loading_without_plan_percent = idle_converged ? Surveys.loading_percent(network, idle, m) : nothing,
            assets = String[check.assets[a].name for a in worst], loading_changes_percent = changes[worst]))
    end
    return nothing
end

"Solve the slot without the plan; whether it converged."
function solve_idle!(check::PlanCheck, slot::Int)
    outcome = solve_slot!(check.idle_solver, check.background, check.options, check.idle_starts,
        check.idle_last_good, slot)
    outcome.converged && Surveys.keep!(check.idle_last_good, check.idle_solver, slot, 0.0)
    return outcome.converged
end

function is_violated(check::PlanCheck, solver)
    network = check.problem.network
    return any(i -> Surveys.voltage_limit(check.survey, network, solver, i) !== :none, eachindex(network.role)) ||
        any(m -> Surveys.loading_percent(network, solver, m) > 100 + Surveys.TOLERANCE_PERCENT,
            1:length(network.branches))
end

"The assets by how much they push up, or down: at most `MOST_BLAMED`."
blamed(changes::Vector{Float64}, down::Bool) =
    sortperm(changes; rev = !down, alg = MergeSort)[1:min(end, MOST_BLAMED)]

function voltage_changes(check::PlanCheck, bus::Int, slot::Int)
    jacobian = check.solver.jacobian
    gradient = zeros(jacobian.unknowns)
    row = jacobian.voltage[bus]
    row > 0 && (gradient[row] = check.solver.magnitude[bus])
    return changes(check, gradient, slot)
end

function loading_changes(check::PlanCheck, m::Int, slot::Int)
    jacobian, branches = check.solver.jacobian, check.problem.network.branches
    gradient = zeros(jacobian.unknowns)
    from, to = branches.from[m], branches.to[m]
    slopes = PowerNetworks.loading_gradient(branches, m, check.solver.voltage)
    for (row, slope) in zip((jacobian.angle[from], jacobian.angle[to], jacobian.voltage[from],
            jacobian.voltage[to]), slopes)
        row > 0 && (gradient[row] += slope)
    end
    return changes(check, gradient, slot)
end

"What each asset's power does to the quantity with this gradient; no -0.0, which would sort below 0."
function changes(check::PlanCheck, gradient::Vector{Float64}, slot::Int)
    jacobian = check.solver.jacobian
    by_power = Newton.sensitivity!(check.solver, gradient)
    return Float64[by_row(by_power, jacobian.angle[asset.bus]) * PowerNetworks.at(asset.active, slot) +
        by_row(by_power, jacobian.voltage[asset.bus]) * PowerNetworks.at(asset.reactive, slot) + 0.0
        for asset in check.assets]
end

by_row(values::Vector{Float64}, row::Int) = row == 0 ? 0.0 : values[row]

rehearsals(::Type{PlanCheckInput}) = (rehearsal_of_plan_check() => nothing,)

"A village that a battery park overloads."
function rehearsal_of_plan_check()
    given = rehearsal_of_power_flow(1.0)
    return PlanCheckInput(network = given.network, slots = given.slots, profiles = given.profiles,
        schedule = [DispatchAssetPower("battery", [20_000.0, -1000.0])],
        connections = [PlanConnection(asset = "battery", bus = "c", power_factor = 0.95)])
end
