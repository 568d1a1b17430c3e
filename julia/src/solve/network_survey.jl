"""
What is worth saying of a network's solutions, gathered slot by slot: sums, extremes, what is outside
its limits. Nothing is kept of a slot but what is the worst so far.
"""
module Surveys

Base.Experimental.@optlevel 3

using ..PowerNetworks
using ..PowerNetworks: PowerNetwork, Generators, Injections, DEAD, SLACK, PV, bus_count, flow, loading,
    generate!, inject!
using ..Newton: Newton, Solver, Limit, FREE, AT_MIN, AT_MAX, mismatch!

"Within these of a limit nothing is a violation: p.u. of voltage or power, percent of loading."
const TOLERANCE_PU = 1e-6
const TOLERANCE_PERCENT = 1e-4

"The worst value of each of many things, its slot, and in how many slots they were outside a limit."
struct Worst
    value::Vector{Float64}
    slot::Vector{Int}
    first_slot::Vector{Int}
    count::Vector{Int}
end
Worst(count::Int, value::Float64) =
    Worst(fill(value, count), zeros(Int, count), zeros(Int, count), zeros(Int, count))

@inline function note!(worst::Worst, i::Int, value::Float64, is_worse::Bool, is_outside::Bool, slot::Int)
    if is_worse
        worst.value[i] = value
        worst.slot[i] = slot
    end
    if is_outside
        worst.count[i] == 0 && (worst.first_slot[i] = slot)
        worst.count[i] += 1
    end
    return nothing
end

"The voltages of one slot; slot 0 for none."
mutable struct Snapshot
    slot::Int
    value::Float64                        # by which it was chosen
    magnitude::Vector{Float64}
    angle::Vector{Float64}
    limit::Vector{Limit}
end
Snapshot(bus_count::Int, value::Float64) =
    Snapshot(0, value, zeros(bus_count), zeros(bus_count), fill(FREE, bus_count))

function keep!(snapshot::Snapshot, solver::Solver, slot::Int, value::Float64)
    snapshot.slot, snapshot.value = slot, value
    copyto!(snapshot.magnitude, solver.magnitude)
    copyto!(snapshot.angle, solver.angle)
    copyto!(snapshot.limit, solver.limit)
    return nothing
end

"The columns over slots."
struct Columns
    iterations::Vector{Float64}
    losses::Vector{Float64}
    slack_active::Vector{Float64}
    slack_reactive::Vector{Float64}
    lowest::Vector{Float64}
    highest::Vector{Float64}
    loading::Vector{Float64}
    violations::Vector{Float64}
end

"""
Voltages by bus, loadings by branch, reactive powers by generator; the snapshots are those of the lowest
voltage, the highest voltage and the highest loading. Powers are p.u.; slots count from 1.
"""
struct Survey
    min_voltage::Vector{Float64}
    max_voltage::Vector{Float64}
    lowest::Worst
    highest::Worst
    loading::Worst
    least_reactive::Worst
    most_reactive::Worst
    columns::Columns
    snapshots::NTuple{3,Snapshot}
    generated::NTuple{2,Vector{Float64}}  # active and reactive power of each generator in the last slot
end

Survey(min_voltage, max_voltage, branch_count::Int, generator_count::Int, slots::Int) = Survey(
    min_voltage, max_voltage, Worst(length(min_voltage), Inf), Worst(length(min_voltage), -Inf),
    Worst(branch_count, -Inf), Worst(generator_count, Inf), Worst(generator_count, -Inf),
    Columns(ntuple(_ -> zeros(slots), 8)...),
    (Snapshot(length(min_voltage), Inf), Snapshot(length(min_voltage), -Inf),
        Snapshot(length(min_voltage), -Inf)),
    (zeros(generator_count), zeros(generator_count)))

"Take in the solution of `slot`, which converged after `iterations`."
function observe!(survey::Survey, solver::Solver, generators::Generators, slot::Int, iterations::Int)
    network, columns = solver.network, survey.columns
    columns.iterations[slot] = iterations
    lowest, highest, outside = observe_buses!(survey, network, solver.magnitude, slot)
    losses, heaviest, overloaded = observe_branches!(survey, network.branches, solver.voltage, slot)
    columns.lowest[slot], columns.highest[slot] = lowest, highest
    columns.losses[slot], columns.loading[slot] = losses, heaviest
    columns.violations[slot] = outside + overloaded
    observe_generators!(survey, solver, generators, slot)
    low, high, heavy = survey.snapshots
    lowest < low.value && keep!(low, solver, slot, lowest)
    highest > high.value && keep!(high, solver, slot, highest)
    heaviest > heavy.value && keep!(heavy, solver, slot, heaviest)
    return nothing
end

function observe_buses!(survey::Survey, network::PowerNetwork, magnitude::Vector{Float64}, slot::Int)
    lowest, highest, outside = Inf, -Inf, 0
    @inbounds for i in eachindex(magnitude)
        network.role[i] == DEAD && continue
        v = magnitude[i]
        too_low = v < survey.min_voltage[i] - TOLERANCE_PU
        too_high = v > survey.max_voltage[i] + TOLERANCE_PU
        note!(survey.lowest, i, v, v < survey.lowest.value[i], too_low, slot)
        note!(survey.highest, i, v, v > survey.highest.value[i], too_high, slot)
        outside += too_low | too_high
        lowest, highest = min(lowest, v), max(highest, v)
    end
    return (lowest, highest, outside)
end

function observe_branches!(survey::Survey, branches::PowerNetworks.Branches, voltage, slot::Int)
    losses, heaviest, overloaded = 0.0, 0.0, 0
    @inbounds for m in 1:length(branches)
        branches.in_service[m] || continue
        s_from, s_to = flow(branches, m, voltage)
        losses += real(s_from) + real(s_to)
        used = loading(branches, m, voltage, s_from, s_to)
        too_much = used > 100 + TOLERANCE_PERCENT
        note!(survey.loading, m, used, used > survey.loading.value[m], too_much, slot)
        overloaded += too_much
        heaviest = max(heaviest, used)
    end
    return (losses, heaviest, overloaded)
end

function observe_generators!(survey::Survey, solver::Solver, generators::Generators, slot::Int)
    p, q = survey.generated
    generate!(p, q, generators, solver.network, solver.active, solver.reactive, solver.p, solver.q, slot)
    active, reactive = 0.0, 0.0
    for group in generators.groups, g in group
        limit = solver.limit[generators.bus[g]]
        under = limit == AT_MIN || q[g] < generators.min_reactive[g] - TOLERANCE_PU
        over = limit == AT_MAX || q[g] > generators.max_reactive[g] + TOLERANCE_PU
        note!(survey.least_reactive, g, q[g], under && q[g] < survey.least_reactive.value[g], under, slot)
        note!(survey.most_reactive, g, q[g], over && q[g] > survey.most_reactive.value[g], over, slot)
        if generators.role[g] == SLACK
            active += p[g]
            reactive += q[g]
        end
    end
    survey.columns.slack_active[slot], survey.columns.slack_reactive[slot] = active, reactive
    return nothing
end

"Which limit the voltage of bus `i` breaks: `:min`, `:max` or `:none`."
function voltage_limit(survey::Survey, network::PowerNetwork, solver::Solver, i::Int)
    network.role[i] == DEAD && return :none
    v = solver.magnitude[i]
    return v < survey.min_voltage[i] - TOLERANCE_PU ? :min : v > survey.max_voltage[i] + TOLERANCE_PU ? :max : :none
end

function loading_percent(network::PowerNetwork, solver::Solver, m::Int)
    network.branches.in_service[m] || return 0.0
    return loading(network.branches, m, solver.voltage, flow(network.branches, m, solver.voltage)...)
end

"Bring the solver to the voltages of a snapshot, with the injections of its slot."
function recall!(solver::Solver, snapshot::Snapshot, injections::Injections)
    inject!(solver.active, solver.reactive, injections, snapshot.slot, 1.0)
    copyto!(solver.magnitude, snapshot.magnitude)
    copyto!(solver.angle, snapshot.angle)
    copyto!(solver.limit, snapshot.limit)
    mismatch!(solver)
    return nothing
end

end
