# The kind `power-flow`: from its input to its result.

"""
    compute(input::PowerFlowInput, progress) -> PowerFlowResult

Voltages and flows of every slot. Throws `ContractError`: INVALID_ARGUMENT as `network_problem` does and
for a report that is too large, POWER_FLOW_DIVERGED when no slot converges.
"""
function compute(input::PowerFlowInput, progress)
    progress(0.0, "build")
    options = input.options === nothing ? PowerFlowOptions() : input.options
    given, slots = input.network, input.slots
    report_all = slots == 1 || options.report == "ALL"
    report_all && refuse_large_report(given, slots)
    problem = network_problem(given, input.profiles; de_energise = options.islands == "DE_ENERGISE")
    solver = Newton.Solver(problem.network)
    try
        survey = survey_of(problem, slots)
        states = NetworkState[]
        divergences = each_slot!(solver, problem, options, slots, progress) do slot, iterations
            Surveys.observe!(survey, solver, problem.generators, slot, iterations)
            report_all && push!(states, network_state(problem, solver, survey, slot))
        end
        for divergence in divergences
            survey.columns.iterations[divergence.slot+1] = divergence.iterations
        end
        progress(0.95, "report")
        report_all || append!(states, extreme_states(problem, solver, survey))
        return power_flow_result(input, problem, survey, states, divergences)
    finally
        close(solver)
    end
end

"As many numbers as the states of a result may hold; a message has room for twice as many."
const MOST_STATE_VALUES = 1_000_000

function refuse_large_report(given::Network, slots::Int)
    values = slots * (2 * length(given.buses) + 5 * length(given.branches) + 2 * length(given.generators))
    slots == 1 || values <= MOST_STATE_VALUES || refuse([Violation("options.report", "most-values",
        "must be EXTREMES for more than $MOST_STATE_VALUES numbers; ALL would be $values")])
end

survey_of(problem::NetworkProblem, slots::Int) = Surveys.Survey(
    Float64[bus.min_voltage_pu for bus in problem.given.buses],
    Float64[bus.max_voltage_pu for bus in problem.given.buses],
    length(problem.given.branches), length(problem.given.generators), slots)

"""
    each_slot!(visit, solver, problem, options, slots, progress) -> Vector{PowerFlowDivergence}

Solve slot after slot and call `visit(slot, iterations)` after each that converged; slots count from 1.
Returns the others. Throws `ContractError("POWER_FLOW_DIVERGED")` when there are only others.
"""
function each_slot!(visit, solver, problem::NetworkProblem, options::PowerFlowOptions, slots::Int, progress)
    starts = Starts(problem, options.start)
    divergences = PowerFlowDivergence[]
    last_good = Surveys.Snapshot(length(problem.given.buses), 0.0)
    first_failure = nothing
    for slot in 1:slots
        slot % 64 == 1 && progress(0.05 + 0.9 * (slot - 1) / slots, "solve")
        outcome = solve_slot!(solver, problem, options, starts, last_good, slot)
        if outcome.converged
            slot < slots && Surveys.keep!(last_good, solver, slot, 0.0)
            visit(slot, outcome.iterations)
        else
            first_failure === nothing && (first_failure = (slot, outcome))
            push!(divergences, PowerFlowDivergence(slot = slot - 1, iterations = outcome.iterations,
                bus = problem.given.buses[outcome.bus].name,
                largest_mismatch_pu = finite(outcome.mismatch)))
        end
    end
    first_failure === nothing && return divergences
    slot, outcome = first_failure
    factor = convergent_factor(solver, problem, options, starts, slot)
    length(divergences) == slots && throw(diverged(problem, slot, slots, outcome, factor))
    one = divergences[1]
    divergences[1] = PowerFlowDivergence(slot = one.slot, iterations = one.iterations, bus = one.bus,
        largest_mismatch_pu = one.largest_mismatch_pu,
        convergent_factor = factor === nothing ? nothing : factor)
    return divergences
end

"Where a solution may begin: what the options want, and the flat start, which is the same in every slot."
struct Starts
    problem::NetworkProblem
    wanted::String
    flat::Newton.Start
end
Starts(problem::NetworkProblem, wanted::String) = Starts(problem, wanted,
    Newton.Start(ones(length(problem.given.buses)), PowerNetworks.flat_angles(problem.network)))

"FLAT, DC or GIVEN when `active` is fed in."
function start_named(starts::Starts, name::String, active::Vector{Float64})
    flat, buses = starts.flat, starts.problem.given.buses
    name == "FLAT" && return flat
    name == "DC" && return Newton.Start(flat.magnitude, Newton.dc_angles(starts.problem.network, active))
    return Newton.Start(Float64[something(bus.initial_voltage_pu, 1.0) for bus in buses],
        Float64[bus.initial_angle_deg === nothing ? flat.angle[i] : deg2rad(bus.initial_angle_deg)
                for (i, bus) in enumerate(buses)])
end

"A mismatch that a message can carry."
finite(mismatch::Float64) = isnan(mismatch) ? 1e300 : min(mismatch, 1e300)

"Solve one slot, from the last that converged where there is one, else from the start."
function solve_slot!(solver, problem, options, starts, last_good, slot::Int)
    if last_good.slot > 0
        PowerNetworks.inject!(solver.active, solver.reactive, problem.injections, slot, 1.0)
        fill!(solver.returns, 0)
        if last_good.slot != slot - 1     # the solver holds what became of a slot that failed
            copyto!(solver.magnitude, last_good.magnitude)
            copyto!(solver.angle, last_good.angle)
            copyto!(solver.limit, last_good.limit)
            Newton.apply_limits!(solver)
        end
        outcome = newton!(solver, options)
        outcome.converged && return outcome
    end
    return solve_from_start!(solver, problem, options, starts, slot, 1.0)
end

"Solve one slot from the start, or from one after the other, with all injections times `factor`."
function solve_from_start!(solver, problem, options, starts::Starts, slot::Int, factor::Float64)
    PowerNetworks.inject!(solver.active, solver.reactive, problem.injections, slot, factor)
    iterations = 0
    names = starts.wanted == "AUTO" ? ["FLAT", "DC"] : [starts.wanted]
    for (number, name) in enumerate(names)
        Newton.release!(solver)
        Newton.start!(solver, start_named(starts, name, solver.active))
        outcome = newton!(solver, options)
        iterations += outcome.iterations
        (outcome.converged || number == length(names)) && return Newton.Outcome(outcome.converged,
            iterations, outcome.mismatch, outcome.bus, outcome.is_active)
    end
end

newton!(solver, options::PowerFlowOptions) = (options.enforce_reactive_limits ?
    Newton.solve_within_limits! : Newton.solve!)(solver; tolerance = options.tolerance_pu,
    max_iterations = options.max_iterations)

"The finest part of the load that `convergent_factor` tells apart."
const LOAD_STEPS = 64

"""
The largest part of every load and generator, in 64ths and less than 1, with which the slot converges; nothing when
not even an idle network does.
"""
function convergent_factor(solver, problem, options, starts, slot::Int)
    converges, diverges = -1, LOAD_STEPS
    while diverges - converges > 1
        middle = (converges + diverges) ÷ 2
        if solve_from_start!(solver, problem, options, starts, slot, middle / LOAD_STEPS).converged
            converges = middle
        else
            diverges = middle
        end
    end
    return converges < 0 ? nothing : converges / LOAD_STEPS
end

"Why there is no result: where it went wrong, and how much of the load the network does carry."
function diverged(problem::NetworkProblem, slot::Int, slots::Int, outcome::Newton.Outcome, factor)
    bus = problem.given.buses[outcome.bus].name
    power = outcome.is_active ? "active" : "reactive"
    where_ = slots == 1 ? "" : " in slot $(slot - 1)"
    words = "no solution found$where_: after $(outcome.iterations) iterations bus $bus lacks " *
        "$(Shapes.number(round(finite(outcome.mismatch); sigdigits = 3))) p.u. of $power power"
    hint = factor === nothing ?
        "does not converge without any load and generation either: check the impedances, tap ratios and " *
        "set-points near bus $bus" :
        "converges when every load and generator is multiplied by $(Shapes.number(factor)): beyond that the " *
        "network cannot carry them; reduce them, or support the voltage near bus $bus"
    return ContractError("POWER_FLOW_DIVERGED", "network.buses[$(outcome.bus - 1)]", "$words; it $hint", [
        Violation("network.buses[$(outcome.bus - 1)]", "converges", words),
        Violation("network.loads", "loadability", hint)])
end

"The states of the slots that hold an extreme, by slot."
function extreme_states(problem::NetworkProblem, solver, survey::Surveys.Survey)
    chosen = sort!([snapshot for snapshot in survey.snapshots if snapshot.slot > 0]; by = it -> it.slot)
    states = NetworkState[]
    for (i, snapshot) in enumerate(chosen)
        i > 1 && chosen[i-1].slot == snapshot.slot && continue
        Surveys.recall!(solver, snapshot, problem.injections)
        push!(states, network_state(problem, solver, survey, snapshot.slot))
    end
    return states
end

"The solver's present voltages and what flows because of them."
function network_state(problem::NetworkProblem, solver, survey::Surveys.Survey, slot::Int)
    base = problem.given.base_power_mva
    p, q = survey.generated
    PowerNetworks.generate!(p, q, problem.generators, problem.network, solver.active, solver.reactive,
        solver.p, solver.q, slot)
    flows = PowerNetworks.flows(problem.network.branches, solver.voltage)
    return NetworkState(slot = slot - 1,
        voltage_pu = copy(solver.magnitude), angle_deg = PowerNetworks.degrees(solver.angle),
        from_active_power_mw = base .* flows.p_from, from_reactive_power_mvar = base .* flows.q_from,
        to_active_power_mw = base .* flows.p_to, to_reactive_power_mvar = base .* flows.q_to,
        loading_percent = flows.loading,
        generator_active_power_mw = base .* p, generator_reactive_power_mvar = base .* q)
end

function power_flow_result(input::Union{PowerFlowInput,PlanCheckInput}, problem::NetworkProblem, survey::Surveys.Survey,
        states::Vector{NetworkState}, divergences::Vector{PowerFlowDivergence})
    given = problem.given
    return PowerFlowResult(
        slots = input.slots, start_time = input.start_time, slot_duration_s = input.slot_duration_s,
        bus_names = problem.buses.names,
        branch_names = String[branch.name for branch in given.branches],
        generator_names = String[generator.name for generator in given.generators],
        islands = islands_of(problem), by_slot = network_slots(survey, given.base_power_mva),
        extremes = network_extremes(survey), states = states,
        voltage_violations = voltage_violations(problem, survey),
        overloads = overloads(problem, survey), reactive_limits = reactive_limits(problem, survey),
        divergences = divergences)
end

function islands_of(problem::NetworkProblem)
    given, network, generators = problem.given, problem.network, problem.generators
    count = maximum(problem.island)
    slacks = [String[] for _ in 1:count]
    buses = count == 1 ? [problem.buses.names] : [String[] for _ in 1:count]
    if count > 1
        for (i, number) in enumerate(problem.island)
            push!(buses[number], problem.buses.names[i])
        end
    end
    for (g, generator) in enumerate(given.generators)
        generators.role[g] == PowerNetworks.SLACK &&
            push!(slacks[problem.island[generators.bus[g]]], generator.name)
    end
    return NetworkIsland[NetworkIsland(!isempty(slacks[k]), slacks[k], buses[k]) for k in 1:count]
end

function network_slots(survey::Surveys.Survey, base::Float64)
    columns = survey.columns
    return NetworkSlots(iterations = columns.iterations, losses_mw = base .* columns.losses,
        slack_power_mw = base .* columns.slack_active,
        slack_reactive_power_mvar = base .* columns.slack_reactive,
        lowest_voltage_pu = columns.lowest, highest_voltage_pu = columns.highest,
        highest_loading_percent = columns.loading, violations = columns.violations)
end

# What never had a value, such as the voltage of a dead bus, is 0 in slot 0.
worst_values(worst::Surveys.Worst) = Float64[isfinite(value) ? value : 0.0 for value in worst.value]
worst_slots(worst::Surveys.Worst) = Float64[max(0, slot - 1) for slot in worst.slot]

network_extremes(survey::Surveys.Survey) = NetworkExtremes(
    lowest_voltage_pu = worst_values(survey.lowest), lowest_voltage_slot = worst_slots(survey.lowest),
    highest_voltage_pu = worst_values(survey.highest), highest_voltage_slot = worst_slots(survey.highest),
    highest_loading_percent = worst_values(survey.loading),
    highest_loading_slot = worst_slots(survey.loading))

function voltage_violations(problem::NetworkProblem, survey::Surveys.Survey)
    found = VoltageViolation[]
    for i in 1:length(survey.lowest.count)
        survey.lowest.count[i] == survey.highest.count[i] == 0 && continue
        bus = problem.given.buses[i]
        for (limit, limit_pu, worst) in (("MIN", bus.min_voltage_pu, survey.lowest),
                ("MAX", bus.max_voltage_pu, survey.highest))
            worst.count[i] == 0 || push!(found, VoltageViolation(bus = bus.name, limit = limit,
                limit_pu = limit_pu, worst_voltage_pu = worst.value[i], worst_slot = worst.slot[i] - 1,
                first_slot = worst.first_slot[i] - 1, slot_count = worst.count[i]))
        end
    end
    return found
end

overloads(problem::NetworkProblem, survey::Surveys.Survey) = BranchOverload[
    BranchOverload(branch = problem.given.branches[m].name,
        worst_loading_percent = survey.loading.value[m], worst_slot = survey.loading.slot[m] - 1,
        first_slot = survey.loading.first_slot[m] - 1, slot_count = survey.loading.count[m])
    for m in eachindex(survey.loading.count) if survey.loading.count[m] > 0]

function reactive_limits(problem::NetworkProblem, survey::Surveys.Survey)
    found, base = ReactiveLimit[], problem.given.base_power_mva
    note!(g, limit, limit_mvar, worst) = worst.count[g] == 0 || push!(found, ReactiveLimit(
        generator = problem.given.generators[g].name, limit = limit, limit_mvar = limit_mvar,
        worst_reactive_power_mvar = base * worst.value[g], worst_slot = worst.slot[g] - 1,
        first_slot = worst.first_slot[g] - 1, slot_count = worst.count[g]))
    for (g, generator) in enumerate(problem.given.generators)
        note!(g, "MIN", generator.min_reactive_power_mvar, survey.least_reactive)
        note!(g, "MAX", generator.max_reactive_power_mvar, survey.most_reactive)
    end
    return found
end

rehearsals(::Type{PowerFlowInput}) = (
    rehearsal_of_power_flow(1.0) => nothing,
    rehearsal_of_power_flow(1000.0) => "POWER_FLOW_DIVERGED",
)

"Two slots of a village behind a transformer, with a plant that reaches its reactive limit; `factor` scales the load."
function rehearsal_of_power_flow(factor::Float64)
    bus(name, kv) = NetworkBus(name = name, nominal_voltage_kv = kv)
    network = Network(base_power_mva = 10.0,
        buses = [bus("a", 110.0), bus("b", 20.0), bus("c", 20.0)],
        branches = [
            NetworkBranch(name = "t", kind = "TRANSFORMER", from_bus = "a", to_bus = "b",
                resistance_pu = 0.002, reactance_pu = 0.04, phase_shift_deg = 150.0,
                max_apparent_power_mva = 25.0),
            NetworkBranch(name = "l", kind = "LINE", from_bus = "b", to_bus = "c",
                resistance_pu = 0.02, reactance_pu = 0.03, max_current_ka = 0.25)],
        generators = [
            NetworkGenerator(name = "g", bus = "a", role = "SLACK", voltage_setpoint_pu = 1.02),
            NetworkGenerator(name = "p", bus = "c", role = "PV", active_power_mw = 1.0,
                voltage_setpoint_pu = 1.05, min_reactive_power_mvar = -0.5,
                max_reactive_power_mvar = 0.5)],
        loads = [NetworkLoad(name = "h", bus = "c", active_power_mw = 4.0, reactive_power_mvar = 1.0,
            profile = "day")],
        shunts = [NetworkShunt(name = "s", bus = "b", susceptance_mvar = 1.0)])
    return PowerFlowInput(network = network, slots = 2,
        profiles = [NetworkProfile("day", "FACTOR", factor .* [0.5, 1.0])],
        options = PowerFlowOptions(enforce_reactive_limits = true, report = "ALL"))
end
