# Networks by dice, and what every solution must keep, said without the code under test.

using GridpactCompute: Network, NetworkBus, NetworkBranch, NetworkGenerator, NetworkLoad, NetworkShunt,
    NetworkProfile, PowerFlowInput, PowerFlowOptions, PowerFlowResult

without_progress(fraction, stage; known...) = nothing
power_flow(network; options...) = GridpactCompute.compute(PowerFlowInput(network = network,
    options = PowerFlowOptions(; tolerance_pu = 1e-10, options...)), without_progress)

"A meshed network of a few buses with taps, shifts, charging, shunts and PV generators."
function any_network(dice; bus_count = roll(dice, 3:12))
    buses = [NetworkBus(name = "b$i", nominal_voltage_kv = 20.0) for i in 1:bus_count]
    branch(name, from, to) = NetworkBranch(name = name, kind = "TRANSFORMER", from_bus = "b$from",
        to_bus = "b$to", resistance_pu = roll(dice, 0.0, 0.03), reactance_pu = roll(dice, 0.02, 0.1),
        charging_susceptance_pu = roll(dice, 0.0, 0.05), from_conductance_pu = roll(dice, 0.0, 0.001),
        from_susceptance_pu = roll(dice, -0.01, 0.0), tap_ratio = roll(dice, (1.0, 0.97, 1.03)),
        phase_shift_deg = roll(dice, (0.0, 0.0, 3.0)), max_apparent_power_mva = roll(dice, 5.0, 40.0),
        max_current_ka = roll(dice, 0.1, 2.0))
    tree = [branch("tree $i", roll(dice, 1:i-1), i) for i in 2:bus_count]
    loops = [branch("loop $i", 1, roll(dice, 2:bus_count)) for i in 1:roll(dice, 0:3)]
    generators = [NetworkGenerator(name = "slack", bus = "b1", role = "SLACK",
        voltage_setpoint_pu = roll(dice, 0.98, 1.05), voltage_angle_deg = roll(dice, (0.0, 30.0)))]
    roll(dice, 1:2) == 1 && push!(generators, NetworkGenerator(name = "pv", bus = "b$bus_count", role = "PV",
        active_power_mw = roll(dice, 0.0, 5.0), voltage_setpoint_pu = roll(dice, 0.98, 1.04),
        min_reactive_power_mvar = -3.0, max_reactive_power_mvar = 3.0))
    loads = [NetworkLoad(name = "load $i", bus = "b$i", active_power_mw = roll(dice, 0.0, 3.0),
        reactive_power_mvar = roll(dice, -0.5, 1.5)) for i in 2:bus_count]
    shunts = [NetworkShunt(name = "shunt", bus = "b2", susceptance_mvar = roll(dice, -1.0, 1.0),
        conductance_mw = roll(dice, 0.0, 0.1))]
    return Network(base_power_mva = 10.0, buses = buses, branches = tree ∪ loops, generators = generators,
        loads = loads, shunts = shunts)
end

"Whether what flows into the branches and shunts of each bus is what generators feed in less what loads take."
function balances(network::Network, result::PowerFlowResult; tolerance = 1e-8)
    state, number = result.states[1], Dict(bus.name => i for (i, bus) in enumerate(network.buses))
    V = state.voltage_pu .* cis.(deg2rad.(state.angle_deg))
    S = zeros(ComplexF64, length(V))
    for (m, branch) in enumerate(network.branches)
        branch.in_service || continue
        f, t = number[branch.from_bus], number[branch.to_bus]
        # What is behind the ideal transformer, and the current through the series impedance.
        behind = V[f] / (branch.tap_ratio * cis(deg2rad(branch.phase_shift_deg)))
        through = (behind - V[t]) / complex(branch.resistance_pu, branch.reactance_pu)
        half = complex(branch.charging_conductance_pu, branch.charging_susceptance_pu) / 2
        at_from = half + complex(branch.from_conductance_pu, branch.from_susceptance_pu)
        # The ideal transformer passes power on unchanged.
        s_from = network.base_power_mva * behind * conj(through + at_from * behind)
        s_to = network.base_power_mva * V[t] * conj(-through + half * V[t])
        isapprox(s_from, complex(state.from_active_power_mw[m], state.from_reactive_power_mvar[m]); atol = 1e-9) || return false
        isapprox(s_to, complex(state.to_active_power_mw[m], state.to_reactive_power_mvar[m]); atol = 1e-9) || return false
        S[f] += s_from
        S[t] += s_to
    end
    for shunt in network.shunts
        i = number[shunt.bus]
        S[i] += abs2(V[i]) * complex(shunt.conductance_mw, -shunt.susceptance_mvar)
    end
    for load in network.loads
        S[number[load.bus]] += complex(load.active_power_mw, load.reactive_power_mvar)
    end
    for (g, generator) in enumerate(network.generators)
        S[number[generator.bus]] -= complex(state.generator_active_power_mw[g], state.generator_reactive_power_mvar[g])
    end
    return maximum(abs, S) <= tolerance * network.base_power_mva
end
