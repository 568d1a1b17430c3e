# What the first slots must do, once several futures have agreed on it.

"What the first slots must do: as in a program that was solved for several futures."
struct Held
    site::Site
    value::Vector{Float64}
    slots::Int
    room::Float64                        # kW by which it may be missed
end

"Enough for the solver's rounding: kW and kWh."
const HELD_ROOM = 1e-6

"Hold the power of every asset in the first slots, and whether it runs."
function hold!(lp::LinearProgram, site::Site, held::Held)
    its = held.site
    for (storage, there) in zip(site.storages, its.storages)
        count = length(intersect(storage.slots, 1:held.slots))
        hold!(lp, storage.charge, there.charge, held, count)
        hold!(lp, storage.discharge, there.discharge, held, count)
        hold_switch!(lp, storage.switch, there.switch, held, count)
    end
    for (load, there) in zip(site.flexible_loads, its.flexible_loads)
        count = length(intersect(load.slots, 1:held.slots))
        hold!(lp, load.power, there.power, held, count)
        hold_switch!(lp, load.switch, there.switch, held, count)
    end
    for (cycle, there) in zip(site.cycles, its.cycles)
        count = clamp(held.slots - cycle.first_start + 1, 0, length(cycle.start))
        hold_whole!(lp, cycle.start, there.start, held, count)
    end
    for (pump, there) in zip(site.heat_pumps, its.heat_pumps)
        hold!(lp, pump.power, there.power, held, held.slots)
        hold_switch!(lp, pump.switch, there.switch, held, held.slots)
    end
    for (generator, there) in zip(site.generators, its.generators)
        hold!(lp, generator.segments, there.segments, held, held.slots * generator.segment_count)
        isempty(generator.running) || hold_whole!(lp, generator.running, there.running, held, held.slots)
    end
    return nothing
end

function hold!(lp::LinearProgram, columns, there, held::Held, count::Int)
    for i in 1:count
        j, value = columns[i], held.value[there[i]]
        low, high = lp.lower[j], lp.upper[j]
        lp.lower[j] = clamp(value - held.room, low, high)
        lp.upper[j] = clamp(value + held.room, low, high)
    end
end

function hold_whole!(lp::LinearProgram, columns, there, held::Held, count::Int)
    for i in 1:count
        lp.lower[columns[i]] = lp.upper[columns[i]] = round(held.value[there[i]])
    end
end

function hold_switch!(lp::LinearProgram, switch::Switch, there::Switch, held::Held, count::Int)
    (isempty(switch.binary) || isempty(there.binary)) && return nothing
    for i in 1:count
        (switch.binary[i] == 0 || there.binary[i] == 0) && continue
        lp.lower[switch.binary[i]] = lp.upper[switch.binary[i]] = round(held.value[there.binary[i]])
    end
end
