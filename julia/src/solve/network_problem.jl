"""
From the network of a message to one in per unit, and what no schema can say of it: what hangs
together, which set-points contradict each other, which units fit.
"""
module NetworkProblems

# It takes thousands of objects apart.
Base.Experimental.@optlevel 2

import ..NameTables, ..PowerNetworks, ..Shapes
using ..GridpactCompute: Network, NetworkGenerator, NetworkProfile, Violation, refuse

export NetworkProblem, network_problem, with_injections

"A network in per unit, with what is fed into it. Numbers of buses, branches, generators are the message's."
struct NetworkProblem
    given::Network
    network::PowerNetworks.PowerNetwork
    generators::PowerNetworks.Generators
    injections::PowerNetworks.Injections
    island::Vector{Int}                   # of each bus
    buses::NameTables.NameTable           # the numbers of the buses by their names
end

"""
    network_problem(network, profiles; de_energise) -> NetworkProblem

Throws `ContractError("INVALID_ARGUMENT")` with every violation: islands without a slack unless
`de_energise`, no slack in service, set-points that differ at one bus, profiles of an unfit unit.
"""
function network_problem(given::Network, profiles::Vector{NetworkProfile}; de_energise::Bool)
    found = Violation[]
    base, n = given.base_power_mva, length(given.buses)
    buses = NameTables.NameTable()
    NameTables.add!(bus -> bus.name, buses, given.buses)
    branches = power_branches(given, buses)
    island = PowerNetworks.islands(n, branches)
    bus_of = Int[NameTables.number(buses, generator.bus) for generator in given.generators]

    role = fill(PowerNetworks.PQ, n)
    for (generator, bus) in zip(given.generators, bus_of)
        generator.in_service && (role[bus] = max(role[bus], role_of(generator)))
    end
    any(==(PowerNetworks.SLACK), role) || push!(found, Violation("network.generators", "contains",
        "must have one with role SLACK that is in service"))
    energised = falses(n)                 # by number of the island
    for i in 1:n
        role[i] == PowerNetworks.SLACK && (energised[island[i]] = true)
    end
    de_energise || blame_dead_islands!(found, given, island, energised)
    for i in 1:n
        energised[island[i]] || (role[i] = PowerNetworks.DEAD)
    end

    set_voltage, set_angle = ones(n), zeros(n)
    hold_set_points!(found, set_voltage, set_angle, given, bus_of, role)
    profile_of = Dict{String,NetworkProfile}(profile.name => profile for profile in profiles)
    injections = PowerNetworks.Injections(n)
    blame_units!(found, given.generators, "network.generators", profile_of)
    blame_units!(found, given.loads, "network.loads", profile_of)
    isempty(found) || refuse(found)
    generators = power_generators!(injections, given, bus_of, role, profile_of)
    load!(injections, given, buses, role, profile_of)

    shunt = zeros(ComplexF64, n)
    for item in given.shunts
        item.in_service || continue
        shunt[NameTables.number(buses, item.bus)] += complex(item.conductance_mw, item.susceptance_mvar) / base
    end
    least, most = reactive_limits_of_buses(generators, n)
    network = PowerNetworks.PowerNetwork(branches, PowerNetworks.admittance(branches, shunt), shunt, role,
        set_voltage, set_angle, least, most)
    return NetworkProblem(given, network, generators, injections, island, buses)
end

role_of(generator::NetworkGenerator) = generator.role == "SLACK" ? PowerNetworks.SLACK :
    generator.role == "PV" ? PowerNetworks.PV : PowerNetworks.PQ

function power_branches(given::Network, buses::NameTables.NameTable)
    branches = PowerNetworks.Branches(length(given.branches))
    base = given.base_power_mva
    for (m, item) in enumerate(given.branches)
        from, to = NameTables.number(buses, item.from_bus), NameTables.number(buses, item.to_bus)
        branches.from[m], branches.to[m] = from, to
        item.in_service || continue
        half = complex(item.charging_conductance_pu, item.charging_susceptance_pu) / 2
        PowerNetworks.connect!(branches, m, from, to, complex(item.resistance_pu, item.reactance_pu),
            half + complex(item.from_conductance_pu, item.from_susceptance_pu), half, item.tap_ratio,
            deg2rad(item.phase_shift_deg))
        item.max_apparent_power_mva === nothing ||
            (branches.max_power[m] = item.max_apparent_power_mva / base)
        item.max_current_ka === nothing || (branches.max_current[m] =
            sqrt(3) * item.max_current_ka * given.buses[from].nominal_voltage_kv / base)
    end
    return branches
end

"One violation for each island without a slack, which names its buses."
function blame_dead_islands!(found, given::Network, island::Vector{Int}, energised)
    members = Dict{Int,Vector{Int}}()
    for i in eachindex(island)
        energised[island[i]] || push!(get!(members, island[i], Int[]), i)
    end
    for number in sort!(collect(keys(members)))
        buses = members[number]
        push!(found, Violation("network.buses[$(buses[1] - 1)]", "connected-to-slack",
            "must be connected to a SLACK generator in service by branches in service; not connected: " *
            "$(few(String[given.buses[i].name for i in buses])); connect them, or ask for islands: DE_ENERGISE"))
    end
end

"The first names of many, as many as a message has room for."
function few(names::Vector{String})
    most = 5
    length(names) <= most && return join(names, ", ")
    return join(names[1:most], ", ") * " and $(length(names) - most) more"
end

"The set-points of SLACK and PV buses; those of one bus must agree."
function hold_set_points!(found, set_voltage, set_angle, given::Network, bus_of::Vector{Int}, role)
    holder = zeros(Int, length(role))     # the generator whose set-point the bus has
    for (g, generator) in enumerate(given.generators)
        i = bus_of[g]
        generator.in_service && role[i] == role_of(generator) != PowerNetworks.PQ || continue
        if holder[i] == 0
            holder[i] = g
            set_voltage[i] = generator.voltage_setpoint_pu
            set_angle[i] = deg2rad(generator.voltage_angle_deg)
            continue
        end
        first = given.generators[holder[i]]
        members = role[i] == PowerNetworks.SLACK ? (:voltage_setpoint_pu, :voltage_angle_deg) :
            (:voltage_setpoint_pu,)
        for member in members
            its, other = getfield(generator, member), getfield(first, member)
            abs(its - other) <= 1e-9 || push!(found, Violation(
                "network.generators[$(g - 1)].$member", "same-setpoint",
                "must be $(Shapes.number(other)), as that of $(first.name) at the same bus; it is $(Shapes.number(its))"))
        end
    end
end

function power_generators!(injections, given::Network, bus_of::Vector{Int}, role, profile_of)
    base, count = given.base_power_mva, length(given.generators)
    roles = fill(PowerNetworks.DEAD, count)
    active, reactive = PowerNetworks.Power[], PowerNetworks.Power[]
    least, most = fill(-Inf, count), fill(Inf, count)
    group_at = Dict{Int,Int}()
    groups = Vector{Int}[]
    for (g, item) in enumerate(given.generators)
        p, q = powers(item, profile_of, base)
        push!(active, p)
        push!(reactive, q)
        item.min_reactive_power_mvar === nothing || (least[g] = item.min_reactive_power_mvar / base)
        item.max_reactive_power_mvar === nothing || (most[g] = item.max_reactive_power_mvar / base)
        bus = bus_of[g]
        item.in_service && role[bus] != PowerNetworks.DEAD || continue
        roles[g] = role_of(item)
        none = PowerNetworks.Power(0.0)
        PowerNetworks.inject!(injections, bus, p, roles[g] == PowerNetworks.PQ ? q : none)
        roles[g] == PowerNetworks.PQ && continue
        at = get!(group_at, bus, length(groups) + 1)
        at > length(groups) ? push!(groups, Int[g]) : push!(groups[at], g)
    end
    return PowerNetworks.Generators(bus_of, roles, active, reactive, least, most, groups)
end

function load!(injections, given::Network, buses::NameTables.NameTable, role, profile_of)
    for item in given.loads
        p, q = powers(item, profile_of, -given.base_power_mva)
        bus = NameTables.number(buses, item.bus)
        item.in_service && role[bus] != PowerNetworks.DEAD &&
            PowerNetworks.inject!(injections, bus, p, q)
    end
end

"The problem with more fed into its buses."
with_injections(problem::NetworkProblem, injections::PowerNetworks.Injections) = NetworkProblem(problem.given,
    problem.network, problem.generators, injections, problem.island, problem.buses)

"Profiles of active power in Mvar, and of reactive power in MW."
function blame_units!(found, items, field::String, profile_of)
    for i in 1:length(items)
        active, reactive = items[i].profile, items[i].reactive_profile
        active === nothing || profile_of[active].unit != "MVAR" || push!(found, Violation(
            "$field[$(i - 1)].profile", "unit", "must name a profile in FACTOR or MW; $active is in MVAR"))
        reactive === nothing || profile_of[reactive].unit != "MW" || push!(found, Violation(
            "$field[$(i - 1)].reactive_profile", "unit",
            "must name a profile in FACTOR or MVAR; $reactive is in MW"))
    end
end

"Active and reactive power of a load or a generator from slot to slot, divided by `base`."
function powers(item, profile_of, base::Float64)
    active = item.profile === nothing ? nothing : profile_of[item.profile]
    reactive = item.reactive_profile === nothing ? nothing : profile_of[item.reactive_profile]
    if reactive === nothing && active !== nothing && active.unit == "FACTOR"
        reactive = active
    end
    return (power(item.active_power_mw, active, base), power(item.reactive_power_mvar, reactive, base))
end

power(constant::Float64, ::Nothing, base::Float64) = PowerNetworks.Power(constant / base)
power(constant::Float64, profile::NetworkProfile, base::Float64) = PowerNetworks.Power(0.0,
    (profile.unit == "FACTOR" ? constant : 1.0) / base, profile.values)

"The limits of a bus are the sums of its PV generators'; one without a limit leaves the bus without."
function reactive_limits_of_buses(generators::PowerNetworks.Generators, bus_count::Int)
    least, most = fill(-Inf, bus_count), fill(Inf, bus_count)
    for group in generators.groups
        pv = filter(g -> generators.role[g] == PowerNetworks.PV, group)
        isempty(pv) && continue
        bus = generators.bus[pv[1]]
        least[bus] = sum(generators.min_reactive[pv])
        most[bus] = sum(generators.max_reactive[pv])
    end
    return (least, most)
end

end

using .NetworkProblems
