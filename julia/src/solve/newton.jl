"""
Newton-Raphson in polar form. `docs/compute/power-flow.md` has the equations.

The pattern of the Jacobian and its analysis are made once for the roles of the buses; an iteration
fills in numbers and allocates nothing. Unknown are the angle of every PV and PQ bus and the voltage of
every PQ bus, as δθ and δV/V: that is the same step, and each entry of the admittance matrix gives the two
numbers of which the four entries of the Jacobian consist.
"""
module Newton

Base.Experimental.@optlevel 3

using ..PowerNetworks
using ..PowerNetworks: PowerNetwork, Admittance, Role, DEAD, PQ, PV, SLACK, bus_count, assembled
import ..Klu

# By the C library: calls of `sin` and `cos` of Base allocate when the caller comes from a package's cache
# (Julia 1.5), and these two are called for every bus in every iteration.
sine(x::Float64) = ccall((:sin, Base.libm_name), Float64, (Float64,), x)
cosine(x::Float64) = ccall((:cos, Base.libm_name), Float64, (Float64,), x)

"""
The Jacobian by rows: of each bus the row of its active power, then that of its reactive power. Where
the entry `e` of the admittance matrix goes stands in `p_angle[e]` (∂P/∂θ), `p_voltage[e]`, `q_angle[e]`
and `q_voltage[e]`; what has no place there goes to the last, unused number of `value`.
"""
struct Jacobian
    angle::Vector{Int}                    # number of the unknown of each bus; 0 where it is given
    voltage::Vector{Int}
    unknowns::Int
    start::Vector{Int32}
    column::Vector{Int32}
    value::Vector{Float64}
    p_angle::Vector{Int32}
    p_voltage::Vector{Int32}
    q_angle::Vector{Int32}
    q_voltage::Vector{Int32}
end

"The Jacobian for these roles; the unknowns are in the given order of the buses."
function Jacobian(admittance::Admittance, role::Vector{Role}, order::Vector{Int})
    n = length(role)
    angle, voltage, unknowns = zeros(Int, n), zeros(Int, n), 0
    for i in order
        (role[i] == PV || role[i] == PQ) && (angle[i] = unknowns += 1)
        role[i] == PQ && (voltage[i] = unknowns += 1)
    end
    entries = length(admittance.column)
    places = ntuple(_ -> zeros(Int32, entries), 4)
    start, column = zeros(Int32, unknowns + 1), zeros(Int32, 4 * entries)
    count = 0
    for i in order, (row, of_angle, of_voltage) in
            ((angle[i], places[1], places[2]), (voltage[i], places[3], places[4]))
        row == 0 && continue
        for e in admittance.start[i]:admittance.start[i+1]-1
            k = admittance.column[e]
            if angle[k] > 0
                column[count+=1] = angle[k] - 1
                of_angle[e] = count
            end
            if voltage[k] > 0
                column[count+=1] = voltage[k] - 1
                of_voltage[e] = count
            end
        end
        start[row+1] = count
    end
    resize!(column, count)
    unused = Int32(count + 1)
    for place in places, e in 1:entries
        @inbounds place[e] = ifelse(place[e] == 0, unused, place[e])
    end
    return Jacobian(angle, voltage, unknowns, start, column, zeros(unused), places...)
end

"How a solution ended: at the end the largest `mismatch` (p.u.) was at `bus`, of active power or not."
struct Outcome
    converged::Bool
    iterations::Int
    mismatch::Float64
    bus::Int
    is_active::Bool
end

"Which reactive limit a PV bus has come to stand at."
@enum Limit::Int8 AT_MIN = -1 FREE = 0 AT_MAX = 1

"""
A network, the present roles of its buses and state of its voltages, and the room to improve it.
`active` and `reactive` are what is fed into each bus, p.u.; what PV and SLACK generators find by
themselves is not part of it.
"""
mutable struct Solver
    network::PowerNetwork
    order::Vector{Int}                    # of the buses, so that factors stay sparse
    role::Vector{Role}
    limit::Vector{Limit}
    returns::Vector{Int}                  # how often a PV bus has left its limit again
    active::Vector{Float64}
    reactive::Vector{Float64}
    magnitude::Vector{Float64}
    angle::Vector{Float64}
    voltage::Vector{ComplexF64}           # magnitude∠angle, as of the last mismatch
    p::Vector{Float64}                    # power that goes from the bus into the network, likewise
    q::Vector{Float64}
    jacobian::Jacobian
    factors::Klu.AnyFactors
    step::Vector{Float64}
end

function Solver(network::PowerNetwork)
    n = bus_count(network)
    order = Klu.order(Int32.(network.admittance.start .- 1), Int32.(network.admittance.column .- 1))
    jacobian = Jacobian(network.admittance, network.role, order)
    return Solver(network, order, copy(network.role), fill(FREE, n), zeros(Int, n), zeros(n), zeros(n), zeros(n), zeros(n),
        zeros(ComplexF64, n), zeros(n), zeros(n), jacobian, Klu.factors(jacobian.start, jacobian.column),
        zeros(jacobian.unknowns))
end

Base.close(solver::Solver) = close(solver.factors)

"Give the buses the roles that follow from the limits that they stand at: another Jacobian."
function apply_limits!(solver::Solver)
    role = Role[solver.limit[i] == FREE ? solver.network.role[i] : PQ for i in eachindex(solver.role)]
    role == solver.role && return nothing
    close(solver)
    solver.role = role
    solver.jacobian = Jacobian(solver.network.admittance, role, solver.order)
    solver.factors = Klu.factors(solver.jacobian.start, solver.jacobian.column)
    solver.step = zeros(solver.jacobian.unknowns)
    return nothing
end

"Give every bus its own role back."
function release!(solver::Solver)
    fill!(solver.limit, FREE)
    fill!(solver.returns, 0)
    apply_limits!(solver)
end

"What is fed in at a bus, less what loads take: as given, or the limit of a PV bus that stands at it."
fed_reactive(solver::Solver, i::Int) = solver.limit[i] == FREE ? solver.reactive[i] :
    solver.reactive[i] + limit_at(solver, i)
limit_at(solver::Solver, i::Int) = solver.limit[i] == AT_MAX ? solver.network.max_reactive[i] :
    solver.network.min_reactive[i]

"""
    mismatch!(solver) -> (largest, bus, is_active)

Powers at the present voltages; the step becomes what is missing at each unknown's equation.
"""
function mismatch!(solver::Solver)
    admittance, jacobian = solver.network.admittance, solver.jacobian
    voltage, step = solver.voltage, solver.step
    n = length(voltage)
    @inbounds for i in 1:n
        voltage[i] = solver.magnitude[i] * complex(cosine(solver.angle[i]), sine(solver.angle[i]))
    end
    largest, worst, is_active = 0.0, 1, true
    @inbounds for i in 1:n
        re, im = 0.0, 0.0                 # the current that leaves the bus
        for e in admittance.start[i]:admittance.start[i+1]-1
            g, b = admittance.real[e], admittance.imag[e]
            v = voltage[admittance.column[e]]
            re += g * v.re - b * v.im
            im += g * v.im + b * v.re
        end
        v = voltage[i]
        p = v.re * re + v.im * im
        q = v.im * re - v.re * im
        solver.p[i], solver.q[i] = p, q
        row = jacobian.angle[i]
        if row > 0
            missing_p = solver.active[i] - p
            step[row] = missing_p
            # A mismatch that is no number is the largest of all.
            if !(abs(missing_p) <= largest)
                largest, worst, is_active = abs(missing_p), i, true
                isfinite(largest) || return (largest, worst, is_active)
            end
        end
        row = jacobian.voltage[i]
        if row > 0
            missing_q = fed_reactive(solver, i) - q
            step[row] = missing_q
            if !(abs(missing_q) <= largest)
                largest, worst, is_active = abs(missing_q), i, false
                isfinite(largest) || return (largest, worst, is_active)
            end
        end
    end
    return (largest, worst, is_active)
end

"The Jacobian at the voltages of the last mismatch."
function evaluate!(jacobian::Jacobian, solver::Solver)
    admittance, voltage, value = solver.network.admittance, solver.voltage, jacobian.value
    @inbounds for i in eachindex(voltage)
        jacobian.angle[i] == 0 && continue
        v = voltage[i]
        for e in admittance.start[i]:admittance.start[i+1]-1
            g, b, u = admittance.real[e], admittance.imag[e], voltage[admittance.column[e]]
            cosine, sine = v.re * u.re + v.im * u.im, v.im * u.re - v.re * u.im
            p, q = g * cosine + b * sine, g * sine - b * cosine
            value[jacobian.p_angle[e]] = q
            value[jacobian.p_voltage[e]] = p
            value[jacobian.q_angle[e]] = -p
            value[jacobian.q_voltage[e]] = q
        end
        e = admittance.diagonal[i]
        value[jacobian.p_angle[e]] -= solver.q[i]
        value[jacobian.p_voltage[e]] += solver.p[i]
        value[jacobian.q_angle[e]] += solver.p[i]
        value[jacobian.q_voltage[e]] += solver.q[i]
    end
    return nothing
end

"""
    solve!(solver; tolerance, max_iterations) -> Outcome

Improve the present voltages until no mismatch is above `tolerance`.
"""
function solve!(solver::Solver; tolerance::Float64, max_iterations::Int)
    jacobian, iterations = solver.jacobian, 0
    while true
        largest, bus, is_active = mismatch!(solver)
        largest <= tolerance && return balanced(solver, iterations, largest, bus, is_active)
        isfinite(largest) && iterations < max_iterations ||
            return Outcome(false, iterations, largest, bus, is_active)
        evaluate!(jacobian, solver)
        Klu.refactor!(solver.factors, jacobian.value) ||
            return Outcome(false, iterations, largest, bus, is_active)
        Klu.solve!(solver.factors, solver.step)
        advance!(solver)
        iterations += 1
    end
end

"With a lower voltage there is no solution, p.u.: where no power is wanted, 0 V balances as well."
const COLLAPSED = 0.01

"The outcome where every power balances. A negative voltage is a positive one with the opposite angle."
function balanced(solver::Solver, iterations::Int, largest::Float64, bus::Int, is_active::Bool)
    for i in eachindex(solver.magnitude)
        solver.jacobian.voltage[i] > 0 || continue
        if solver.magnitude[i] < 0
            solver.magnitude[i] = -solver.magnitude[i]
            solver.angle[i] += pi
        end
        solver.magnitude[i] < COLLAPSED && return Outcome(false, iterations, largest, i, is_active)
    end
    return Outcome(true, iterations, largest, bus, is_active)
end

function advance!(solver::Solver)
    jacobian, step = solver.jacobian, solver.step
    @inbounds for i in eachindex(solver.angle)
        row = jacobian.angle[i]
        row > 0 && (solver.angle[i] += step[row])
        row = jacobian.voltage[i]
        row > 0 && (solver.magnitude[i] *= 1 + step[row])
    end
    return nothing
end

"""
    linearise!(solver) -> Bool

Factorise the Jacobian at the present voltages, for `sensitivity!`. False when it is singular.
"""
function linearise!(solver::Solver)
    mismatch!(solver)
    evaluate!(solver.jacobian, solver)
    return Klu.refactor!(solver.factors, solver.jacobian.value)
end

"""
    sensitivity!(solver, gradient) -> gradient

By how much a quantity grows with the powers fed in, where `gradient` says by how much it grows with the
unknowns (δθ and δV/V). Both by number of the unknown: that of a bus's angle is its active power's too,
that of its voltage its reactive power's.
"""
sensitivity!(solver::Solver, gradient::Vector{Float64}) =
    Klu.solve_transposed!(solver.factors, gradient)

"Beyond this a reactive limit or a set-point is exceeded, p.u."
const LIMIT_TOLERANCE = 1e-6
"How often a PV bus may leave its limit again."
const MOST_RETURNS = 3

"""
    solve_within_limits!(solver; …) -> Outcome

`solve!`, then move PV buses beyond a reactive limit to it and those that need it no more away from it,
until every bus keeps its voltage within its limits, or stands at MAX below its set-point, or at MIN above.
"""
function solve_within_limits!(solver::Solver; tolerance::Float64, max_iterations::Int)
    iterations = 0
    while true
        outcome = solve!(solver; tolerance = tolerance, max_iterations = max_iterations)
        iterations += outcome.iterations
        if !(outcome.converged && move_limits!(solver))
            return Outcome(outcome.converged, iterations, outcome.mismatch, outcome.bus, outcome.is_active)
        end
        apply_limits!(solver)
    end
end

"Whether any bus has come to a limit or left it, at these voltages."
function move_limits!(solver::Solver)
    network, moved = solver.network, false
    for i in eachindex(network.role)
        network.role[i] == PV || continue
        if solver.limit[i] == FREE
            found = solver.q[i] - solver.reactive[i]
            solver.limit[i] = found > network.max_reactive[i] + LIMIT_TOLERANCE ? AT_MAX :
                found < network.min_reactive[i] - LIMIT_TOLERANCE ? AT_MIN : FREE
            moved |= solver.limit[i] != FREE
        else
            above = solver.magnitude[i] - network.set_voltage[i]
            if (solver.limit[i] == AT_MAX ? above : -above) > LIMIT_TOLERANCE && solver.returns[i] < MOST_RETURNS
                solver.limit[i] = FREE
                solver.returns[i] += 1
                solver.magnitude[i] = network.set_voltage[i]
                moved = true
            end
        end
    end
    return moved
end

"Where a solution begins: of each bus the voltage (p.u.) and the angle (rad), unless its role gives them."
struct Start
    magnitude::Vector{Float64}
    angle::Vector{Float64}
end

function start!(solver::Solver, start::Start)
    network = solver.network
    for i in 1:bus_count(network)
        role = solver.role[i]
        solver.magnitude[i] = role == DEAD ? 0.0 : role == PQ ? start.magnitude[i] : network.set_voltage[i]
        solver.angle[i] = role == DEAD ? 0.0 : role == SLACK ? network.set_angle[i] : start.angle[i]
    end
    return nothing
end

"""
    dc_angles(network, active) -> Vector{Float64}

The angles of the linear power flow (rad) when `active` is fed in (p.u.); the flat angles where it has no solution.
"""
function dc_angles(network::PowerNetwork, active::Vector{Float64})
    branches, n = network.branches, bus_count(network)
    b = complex.(branches.dc_susceptance)
    matrix = assembled(branches, b, -b, -b, b, zeros(ComplexF64, n))
    order = Klu.order(Int32.(matrix.start .- 1), Int32.(matrix.column .- 1))
    # From the flat angles, and whole turns around a loop count nothing, as in the AC equations.
    angle = PowerNetworks.flat_angles(network)
    flat, power = copy(angle), active .- real.(network.shunt)
    for m in 1:length(branches)
        branches.in_service[m] || continue
        from, to = branches.from[m], branches.to[m]
        difference = rem2pi(angle[from] - angle[to] - branches.shift[m], RoundNearest)
        flow = branches.dc_susceptance[m] * difference
        power[from] -= flow
        power[to] += flow
    end
    number, buses = zeros(Int, n), Int[]
    for i in order
        (network.role[i] == PV || network.role[i] == PQ) || continue
        push!(buses, i)
        number[i] = length(buses)
    end
    start, column, value, right = Int32[0], Int32[], Float64[], power[buses]
    for i in buses
        for e in matrix.start[i]:matrix.start[i+1]-1
            k = matrix.column[e]
            number[k] > 0 || continue
            push!(column, number[k] - 1)
            push!(value, matrix.real[e])
        end
        push!(start, length(column))
    end
    isempty(buses) && return angle
    factors = Klu.factors(start, column)
    Klu.factor!(factors, value) && (angle[buses] .+= Klu.solve!(factors, right))
    close(factors)
    return all(isfinite, angle) ? angle : flat
end

end
