"""
An electrical network in steady state, in per unit: buses, branches in the unified pi model, the bus
admittance matrix, islands, flows. `docs/compute/power-flow.md` has the equations.

Powers that enter a bus from a generator are positive here, those that a load takes are negative.
"""
module PowerNetworks

Base.Experimental.@optlevel 3

"What is given at a bus; the stronger of two roles is the greater one. A DEAD bus has no voltage."
@enum Role::Int8 DEAD PQ PV SLACK

"""
Branches: `from` and `to` are bus numbers; the admittances make `I_from = ff V_from + ft V_to` and
`I_to = tf V_from + tt V_to`, all 0 for one that is out of service. Limits are in p.u., Inf for none.
"""
struct Branches
    from::Vector{Int}
    to::Vector{Int}
    ff::Vector{ComplexF64}
    ft::Vector{ComplexF64}
    tf::Vector{ComplexF64}
    tt::Vector{ComplexF64}
    shift::Vector{Float64}                # rad: how much `from` leads what is behind its transformer
    dc_susceptance::Vector{Float64}       # 1 / (reactance × tap): the linear power flow
    in_service::Vector{Bool}
    max_power::Vector{Float64}
    max_current::Vector{Float64}
end

Base.length(branches::Branches) = length(branches.from)

Branches(count::Int) = Branches(zeros(Int, count), zeros(Int, count), zeros(ComplexF64, count),
    zeros(ComplexF64, count), zeros(ComplexF64, count), zeros(ComplexF64, count), zeros(count),
    zeros(count), zeros(Bool, count), fill(Inf, count), fill(Inf, count))

"""
    connect!(branches, m, from, to; …)

Make branch `m` the pi model of these parameters (p.u., rad): an ideal transformer `tap∠shift : 1` at
the from end, then the series impedance with a shunt at either end.
"""
function connect!(branches::Branches, m::Int, from::Int, to::Int, impedance::ComplexF64,
        from_shunt::ComplexF64, to_shunt::ComplexF64, tap::Float64, shift::Float64)
    series = conj(impedance) / abs2(impedance)
    turned = shift == 0 ? -series / tap : -series * cis(shift) / tap
    turned_back = shift == 0 ? turned : -series * cis(-shift) / tap
    branches.from[m], branches.to[m] = from, to
    branches.ff[m] = (series + from_shunt) / tap^2
    branches.ft[m] = turned
    branches.tf[m] = turned_back
    branches.tt[m] = series + to_shunt
    branches.shift[m] = shift
    # Without a reactance the linear power flow takes the resistance for one.
    reactance = imag(impedance) == 0 ? abs(real(impedance)) : imag(impedance)
    branches.dc_susceptance[m] = 1 / (reactance * tap)
    branches.in_service[m] = true
    return nothing
end

"""
A sparse square matrix by rows with a symmetric pattern and a full diagonal: `column`, `real` and
`imag` of row i stand at `start[i]:start[i+1]-1`, its diagonal at `diagonal[i]`.
"""
struct Admittance
    start::Vector{Int}
    column::Vector{Int}
    real::Vector{Float64}
    imag::Vector{Float64}
    diagonal::Vector{Int}
end

"The bus admittance matrix of branches with a shunt at each bus (p.u.)."
admittance(branches::Branches, shunt::Vector{ComplexF64}) = assembled(branches, branches.ff,
    branches.ft, branches.tf, branches.tt, shunt)

"The sum of all branches' two-by-two matrices and a diagonal; parallel branches share their entries."
function assembled(branches::Branches, ff, ft, tf, tt, diagonal_values::Vector{ComplexF64})
    n, from, to, in_service = length(diagonal_values), branches.from, branches.to, branches.in_service
    # Row i may need one entry for itself and one for each branch end.
    place = ones(Int, n + 1)
    for m in 1:length(branches)
        in_service[m] || continue
        place[from[m]] += 1
        place[to[m]] += 1
    end
    room = 1
    for i in 1:n+1
        room, place[i] = room + place[i], room
    end
    first_place = copy(place)
    other, value = zeros(Int, room - 1), zeros(ComplexF64, room - 1)
    for i in 1:n
        other[place[i]], value[place[i]] = i, diagonal_values[i]
        place[i] += 1
    end
    for m in 1:length(branches)
        in_service[m] || continue
        f, t = from[m], to[m]
        value[first_place[f]] += ff[m]
        value[first_place[t]] += tt[m]
        other[place[f]], value[place[f]] = t, ft[m]
        other[place[t]], value[place[t]] = f, tf[m]
        place[f] += 1
        place[t] += 1
    end

    start, diagonal = zeros(Int, n + 1), zeros(Int, n)
    column, re, im = zeros(Int, room - 1), zeros(room - 1), zeros(room - 1)
    count = 0
    at = zeros(Int, n)                    # where the row at hand has its entry for a bus
    for i in 1:n
        start[i] = diagonal[i] = count + 1
        for e in first_place[i]:place[i]-1
            k = other[e]
            if at[k] < start[i]
                at[k] = count += 1
                column[count] = k
            end
            re[at[k]] += real(value[e])
            im[at[k]] += imag(value[e])
        end
    end
    start[n+1] = count + 1
    resize!(column, count)
    resize!(re, count)
    resize!(im, count)
    return Admittance(start, column, re, im, diagonal)
end

"""
    islands(bus_count, branches) -> Vector{Int}

The number of each bus's island, in the order of their first bus.
"""
function islands(bus_count::Int, branches::Branches)
    parent = collect(1:bus_count)
    function root(i)
        while parent[i] != i
            i = parent[i] = parent[parent[i]]
        end
        return i
    end
    for m in 1:length(branches)
        branches.in_service[m] || continue
        one, other = minmax(root(branches.from[m]), root(branches.to[m]))
        parent[other] = one
    end
    number, count = zeros(Int, bus_count), 0
    for i in 1:bus_count
        r = root(i)                       # a root is the first bus of its island
        number[i] = r == i ? (count += 1) : number[r]
    end
    return number
end

"A power from slot to slot, p.u.: `scale` times its value of the slot, or `constant` where it has none."
struct Power
    constant::Float64
    scale::Float64
    values::Vector{Float64}
end
Power(constant::Float64) = Power(constant, 0.0, NO_VALUES)
const NO_VALUES = Float64[]

at(power::Power, slot::Int) = isempty(power.values) ? power.constant : power.scale * power.values[slot]

"What loads take and generators are told to feed in, by bus. The sum of what never changes is kept."
struct Injections
    active::Vector{Float64}
    reactive::Vector{Float64}
    varying::Vector{Tuple{Int,Power,Power}}      # bus, active, reactive
end

Injections(bus_count::Int) =
    Injections(zeros(bus_count), zeros(bus_count), Tuple{Int,Power,Power}[])

Base.copy(its::Injections) = Injections(copy(its.active), copy(its.reactive), copy(its.varying))

function inject!(injections::Injections, bus::Int, active::Power, reactive::Power)
    if isempty(active.values) && isempty(reactive.values)
        injections.active[bus] += active.constant
        injections.reactive[bus] += reactive.constant
    else
        push!(injections.varying, (bus, active, reactive))
    end
    return nothing
end

"Write what is fed into each bus in `slot` (counted from 1), all of it times `factor`."
function inject!(active::Vector{Float64}, reactive::Vector{Float64}, injections::Injections,
        slot::Int, factor::Float64)
    active .= factor .* injections.active
    reactive .= factor .* injections.reactive
    for (bus, p, q) in injections.varying
        active[bus] += factor * at(p, slot)
        reactive[bus] += factor * at(q, slot)
    end
    return nothing
end

"""
A network whose power flow is wanted. `set_voltage` and `set_angle` (rad) are what a SLACK holds and a
PV bus holds of it; reactive limits (p.u., of a PV bus) are infinite where there are none.
"""
struct PowerNetwork
    branches::Branches
    admittance::Admittance
    shunt::Vector{ComplexF64}             # p.u., part of the admittance
    role::Vector{Role}
    set_voltage::Vector{Float64}
    set_angle::Vector{Float64}
    min_reactive::Vector{Float64}
    max_reactive::Vector{Float64}
end

bus_count(network::PowerNetwork) = length(network.role)

"""
Generators: `active` is what each is told to feed in, `reactive` what a PQ generator is told; the limits
are infinite where there are none. One out of service or at a dead bus has the role DEAD. `groups` are
those that share what their bus needs.
"""
struct Generators
    bus::Vector{Int}
    role::Vector{Role}
    active::Vector{Power}
    reactive::Vector{Power}
    min_reactive::Vector{Float64}
    max_reactive::Vector{Float64}
    groups::Vector{Vector{Int}}           # the SLACK and PV generators of one bus
end

Base.length(generators::Generators) = length(generators.bus)

"""
    generate!(p, q, generators, network, fed_p, fed_q, into_p, into_q, slot)

What each generator feeds in (p.u.) when `into_p` and `into_q` go from each bus into the network and
`fed_p`, `fed_q` is what loads and generators were told.
"""
function generate!(p, q, generators::Generators, network::PowerNetwork, fed_p, fed_q, into_p, into_q, slot)
    for g in 1:length(generators)
        dead = generators.role[g] == DEAD
        p[g] = dead ? 0.0 : at(generators.active[g], slot)
        q[g] = generators.role[g] == PQ ? at(generators.reactive[g], slot) : 0.0
    end
    for group in generators.groups
        bus = generators.bus[group[1]]
        share!(q, generators, group, into_q[bus] - fed_q[bus])
        network.role[bus] == SLACK || continue
        slacks = count(g -> generators.role[g] == SLACK, group)
        for g in group
            generators.role[g] == SLACK && (p[g] += (into_p[bus] - fed_p[bus]) / slacks)
        end
    end
    return nothing
end

"""
Share the reactive power that a bus needs. Where all have limits, each takes the same part of its range;
else those that have limits take an equal part within them, and the others the rest.
"""
function share!(q, generators::Generators, group::Vector{Int}, needed::Float64)
    low, high = generators.min_reactive, generators.max_reactive
    limited = count(g -> isfinite(low[g]) && isfinite(high[g]), group)
    equal = needed / length(group)
    if limited == length(group)
        least, range = 0.0, 0.0
        for g in group
            least += low[g]
            range += high[g] - low[g]
        end
        for g in group
            part = range > 0 ? (high[g] - low[g]) / range : 1 / length(group)
            q[g] = low[g] + part * (needed - least)
        end
    else
        rest = needed
        for g in group
            (isfinite(low[g]) && isfinite(high[g])) || continue
            q[g] = clamp(equal, low[g], high[g])
            rest -= q[g]
        end
        for g in group
            (isfinite(low[g]) && isfinite(high[g])) || (q[g] = rest / (length(group) - limited))
        end
    end
    return nothing
end

"""
    flow(branches, m, voltage) -> (S_from, S_to)

Complex power into both ends of branch `m` at these complex bus voltages, p.u.
"""
@inline function flow(branches::Branches, m::Int, voltage::Vector{ComplexF64})
    v_from, v_to = voltage[branches.from[m]], voltage[branches.to[m]]
    return (v_from * conj(branches.ff[m] * v_from + branches.ft[m] * v_to),
        v_to * conj(branches.tf[m] * v_from + branches.tt[m] * v_to))
end

"""
    loading(branches, m, voltage, s_from, s_to) -> Float64

How much of its limits branch `m` uses, in percent: the larger of both ends and both limits, 0 where it
has none.
"""
@inline function loading(branches::Branches, m::Int, voltage::Vector{ComplexF64}, s_from, s_to)
    used = 0.0
    if branches.max_power[m] < Inf
        used = sqrt(max(abs2(s_from), abs2(s_to))) / branches.max_power[m]
    end
    if branches.max_current[m] < Inf
        v_from, v_to = abs2(voltage[branches.from[m]]), abs2(voltage[branches.to[m]])
        most = max(v_from > 0 ? abs2(s_from) / v_from : 0.0, v_to > 0 ? abs2(s_to) / v_to : 0.0)
        used = max(used, sqrt(most) / branches.max_current[m])
    end
    return 100 * used
end

"""
    loading_gradient(branches, m, voltage) -> (angle_from, angle_to, voltage_from, voltage_to)

By how much the loading of branch `m` (percent) grows with the angles (rad) and with the relative voltages
(δV/V) of its ends: that of the end and the limit which decide it.
"""
function loading_gradient(branches::Branches, m::Int, voltage::Vector{ComplexF64})
    v_from, v_to = voltage[branches.from[m]], voltage[branches.to[m]]
    ends = ((v_from, branches.ff[m], v_to, branches.ft[m]), (v_to, branches.tt[m], v_from, branches.tf[m]))
    most, end_, is_power = -1.0, 1, true
    for (limit, of_power) in ((branches.max_power[m], true), (branches.max_current[m], false)), side in 1:2
        own, its, other, mutual = ends[side]
        used = abs(its * own + mutual * other) * (of_power ? abs(own) : 1.0) / limit
        used > most && ((most, end_, is_power) = (used, side, of_power))
    end
    own, its, other, mutual = ends[end_]
    current = its * own + mutual * other
    amount = abs(current)
    amount == 0 && return (0.0, 0.0, 0.0, 0.0)
    # d|I| = Re(conj(I) dI) / |I|; an angle turns its share of the current, a voltage stretches it.
    of_own, of_other = conj(current) * its * own / amount, conj(current) * mutual * other / amount
    angle_own, angle_other = real(im * of_own), real(im * of_other)
    voltage_own, voltage_other = real(of_own), real(of_other)
    scale = 100 / (is_power ? branches.max_power[m] : branches.max_current[m])
    if is_power
        scale *= abs(own)
        voltage_own += amount
    end
    return end_ == 1 ?
        scale .* (angle_own, angle_other, voltage_own, voltage_other) :
        scale .* (angle_other, angle_own, voltage_other, voltage_own)
end

"Flows into both ends of every branch (p.u.) and its loading (percent)."
function flows(branches::Branches, voltage::Vector{ComplexF64})
    count = length(branches)
    p_from, q_from, p_to, q_to, percent = ntuple(_ -> zeros(count), 5)
    for m in 1:count
        branches.in_service[m] || continue
        s_from, s_to = flow(branches, m, voltage)
        p_from[m], q_from[m] = reim(s_from)
        p_to[m], q_to[m] = reim(s_to)
        percent[m] = loading(branches, m, voltage, s_from, s_to)
    end
    return (p_from = p_from, q_from = q_from, p_to = p_to, q_to = q_to, loading = percent)
end

"Angles in degrees, above -180 and at most 180."
degrees(angle::Vector{Float64}) = Float64[180 - mod(180 - rad2deg(its), 360) for its in angle]

"""
    flat_angles(network) -> Vector{Float64}

The angle of the slack (rad), less the phase shifts on a way to it with the fewest branches: what every
bus would have if nothing flowed.
"""
function flat_angles(network::PowerNetwork)
    n, branches = bus_count(network), network.branches
    angle = zeros(n)
    slacks = findall(==(SLACK), network.role)
    if all(iszero, branches.shift) && all(==(network.set_angle[slacks[1]]), network.set_angle[slacks])
        return fill(network.set_angle[slacks[1]], n)
    end
    last = zeros(Int, n)                  # each bus's branches as a chain: end 2m-1 is from, 2m is to
    next = zeros(Int, 2 * length(branches))
    for m in 1:length(branches)
        branches.in_service[m] || continue
        f, t = branches.from[m], branches.to[m]
        next[2m-1], last[f] = last[f], 2m - 1
        next[2m], last[t] = last[t], 2m
    end
    reached, queue = network.role .== SLACK, copy(slacks)
    angle[slacks] = network.set_angle[slacks]
    head = 1
    while head <= length(queue)
        i = queue[head]
        head += 1
        stub = last[i]
        while stub > 0
            m, at_from = (stub + 1) >> 1, isodd(stub)
            k = at_from ? branches.to[m] : branches.from[m]
            if !reached[k]
                reached[k] = true
                angle[k] = angle[i] + (at_from ? -branches.shift[m] : branches.shift[m])
                push!(queue, k)
            end
            stub = next[stub]
        end
    end
    return angle
end

end
