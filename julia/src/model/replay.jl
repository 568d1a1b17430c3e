# A schedule carried out slot by slot: docs/compute/replay.md, "One slot", line by line.
#
# Powers are slot means in kW, consumption and charging positive; energies in kWh. Slots count from 1 here
# and from 0 in what is reported. An actor is an asset while it acts:
#
#     follow!(actor, t, wanted) -> (power, reason)     what it makes of a set-point; "" where it follows
#     give_up(actor, power, excess) -> power           doing less, towards 0, as far as it can
#     advance!(actor, t, power)                        the slot ends
#     unkept!(found, actor)                            violations, after the last slot

"Of powers and energies: a solver's plan keeps its limits no better."
const REPLAY_TOLERANCE = 1e-6
"What is this near to a limit of energy is at it."
const SNAP_KWH = 1e-9

abstract type Actor end

give_up(::Actor, power::Float64, excess::Float64) = less(power, excess, 0.0)
advance!(::Actor, ::Int, ::Float64) = nothing
unkept!(found, ::Actor) = nothing

"A power reduced by `excess`; 0 where that is more than it, or leaves less than `least_kw`."
function less(power::Float64, excess::Float64, least_kw::Float64)
    left = abs(power) - excess
    (left <= 0 || (power > 0 && left < least_kw - REPLAY_TOLERANCE)) && return 0.0
    return copysign(left, power)
end

"The part of a power that its limit and the energy (or the room for it) leave, and why not all of it."
function cut(wanted::Float64, limit_kw::Float64, energy_kwh::Float64, kwh_per_kw::Float64,
        when_short::String, tolerance_kwh::Float64 = REPLAY_TOLERANCE)
    wanted <= min(limit_kw + REPLAY_TOLERANCE, (energy_kwh + tolerance_kwh) / kwh_per_kw) &&
        return wanted, ""
    most_kw = energy_kwh / kwh_per_kw
    return most_kw < limit_kw ? (max(0.0, most_kw), when_short) : (limit_kw, "POWER_LIMIT")
end

"Whether a set-point asks for less than the least power."
is_too_low(wanted::Float64, least_kw::Float64) = 0 < wanted < least_kw - REPLAY_TOLERANCE

snapped(energy, lowest, highest) = abs(energy - lowest) <= SNAP_KWH ? lowest :
                                   abs(energy - highest) <= SNAP_KWH ? highest : energy

"A number in a message, to the millionth."
spoken(value::Float64) = Shapes.number(round(value; digits = 6) + 0.0)

function missing_energy!(found, field, name, slot, wanted, energy)
    wanted === nothing || wanted - energy <= REPLAY_TOLERANCE ||
        push!(found, ReplayViolation(field = field, name = name, slot = slot, slot_count = 1,
            amount = wanted - energy, unit = "kWh",
            message = "ended with $(spoken(energy)) kWh; $(spoken(wanted)) were required"))
end

# ---------------------------------------------------------------------------------------- storage

"Stored energy that never leaves its window further: a battery, or the stay of a vehicle."
mutable struct Store
    battery::Battery
    slot_h::Float64
    highest_kwh::Float64
    energy_kwh::Float64
end
Store(battery::Battery, slot_h::Float64, energy_kwh::Float64) =
    Store(battery, slot_h, something(battery.max_energy_kwh, battery.capacity_kwh), energy_kwh)

"The power nearest to the one wanted."
function follow(store::Store, wanted::Float64)
    its, energy = store.battery, store.energy_kwh
    if wanted >= 0
        room = energy > store.highest_kwh + 2 * REPLAY_TOLERANCE ? 0.0 : store.highest_kwh - energy
        return cut(wanted, its.max_charge_power_kw, room, store.slot_h * its.charge_efficiency, "FULL")
    end
    left = energy < its.min_energy_kwh - 2 * REPLAY_TOLERANCE ? 0.0 : energy - its.min_energy_kwh
    power, reason = cut(-wanted, its.max_discharge_power_kw, left,
        store.slot_h / its.discharge_efficiency, "EMPTY")
    return 0.0 - power, reason
end

function advance!(store::Store, power::Float64)
    its = store.battery
    gained = store.slot_h * power * (power > 0 ? its.charge_efficiency : 1 / its.discharge_efficiency)
    store.energy_kwh = snapped(store.energy_kwh + gained, its.min_energy_kwh, store.highest_kwh)
end

struct BatteryActor <: Actor
    given::DispatchBattery
    field::String
    store::Store
    energy_kwh::Vector{Float64}
end
BatteryActor(given::DispatchBattery, field, slot_h, T) = BatteryActor(given, field,
    Store(given.battery, slot_h, given.initial_energy_kwh), zeros(T))

follow!(actor::BatteryActor, ::Int, wanted::Float64) = follow(actor.store, wanted)

function advance!(actor::BatteryActor, t::Int, power::Float64)
    actor.energy_kwh[t] = advance!(actor.store, power)
    return nothing
end

unkept!(found, actor::BatteryActor) = missing_energy!(found, "$(actor.field).final_energy_kwh",
    actor.given.name, length(actor.energy_kwh) - 1, actor.given.final_energy_kwh, actor.store.energy_kwh)

"A vehicle, which is a battery while it stays; `stay_of` is 0 while it is away."
struct VehicleActor <: Actor
    given::DispatchElectricVehicle
    field::String
    stores::Vector{Store}
    stay_of::Vector{Int}
    energy_kwh::Vector{Float64}
end

function VehicleActor(given::DispatchElectricVehicle, field, slot_h, T)
    stay_of = zeros(Int, T)
    for (i, stay) in enumerate(given.stays)
        stay_of[stay.start_slot+1:stay.end_slot] .= i
    end
    stores = Store[Store(given.battery, slot_h, stay.initial_energy_kwh) for stay in given.stays]
    return VehicleActor(given, field, stores, stay_of, zeros(T))
end

function follow!(actor::VehicleActor, t::Int, wanted::Float64)
    actor.stay_of[t] == 0 && return 0.0, "NOT_PLUGGED_IN"
    is_too_low(wanted, actor.given.min_charge_power_kw) && return 0.0, "MIN_POWER"
    return follow(actor.stores[actor.stay_of[t]], wanted)
end

give_up(actor::VehicleActor, power::Float64, excess::Float64) =
    less(power, excess, actor.given.min_charge_power_kw)

function advance!(actor::VehicleActor, t::Int, power::Float64)
    i = actor.stay_of[t]
    i == 0 || (actor.energy_kwh[t] = advance!(actor.stores[i], power))
    return nothing
end

function unkept!(found, actor::VehicleActor)
    for (i, stay) in enumerate(actor.given.stays)
        missing_energy!(found, "$(actor.field).stays[$(i - 1)].required_energy_kwh", actor.given.name,
            stay.end_slot - 1, stay.required_energy_kwh, actor.stores[i].energy_kwh)
    end
end

# ------------------------------------------------------------------------------------------ loads

"A load that takes an amount of energy within its window, and no more."
mutable struct FlexibleLoadActor <: Actor
    given::DispatchFlexibleLoad
    field::String
    slot_h::Float64
    taken_kwh::Float64
    run_count::Int
    second_run::Int              # slot from which it ran after its first pause
    last_run::Int
end
FlexibleLoadActor(given::DispatchFlexibleLoad, field, slot_h) =
    FlexibleLoadActor(given, field, slot_h, 0.0, 0, 0, -1)

tolerance_kwh(load::DispatchFlexibleLoad) = REPLAY_TOLERANCE * max(1.0, load.energy_kwh)

function follow!(actor::FlexibleLoadActor, t::Int, wanted::Float64)
    its = actor.given
    its.start_slot < t <= its.end_slot || return 0.0, "OUTSIDE"
    wanted < 0 && return 0.0, "POWER_LIMIT"
    is_too_low(wanted, its.min_power_kw) && return 0.0, "MIN_POWER"
    return cut(wanted, its.max_power_kw, its.energy_kwh - actor.taken_kwh, actor.slot_h, "FULL",
        tolerance_kwh(its))
end

give_up(actor::FlexibleLoadActor, power::Float64, excess::Float64) =
    actor.given.interruptible ? less(power, excess, actor.given.min_power_kw) : power

function advance!(actor::FlexibleLoadActor, t::Int, power::Float64)
    actor.taken_kwh += actor.slot_h * power
    power > REPLAY_TOLERANCE || return nothing
    if actor.last_run != t - 1
        actor.run_count += 1
        actor.run_count == 2 && (actor.second_run = t)
    end
    actor.last_run = t
    return nothing
end

function unkept!(found, actor::FlexibleLoadActor)
    its, taken, pauses = actor.given, actor.taken_kwh, actor.run_count - 1
    its.energy_kwh - taken <= tolerance_kwh(its) || push!(found, ReplayViolation(
        field = "$(actor.field).energy_kwh", name = its.name, slot = its.end_slot - 1, slot_count = 1,
        amount = its.energy_kwh - taken, unit = "kWh",
        message = "took $(spoken(taken)) of $(spoken(its.energy_kwh)) kWh in its window"))
    its.interruptible || pauses < 1 || push!(found, ReplayViolation(
        field = "$(actor.field).interruptible", name = its.name, slot = actor.second_run - 1,
        slot_count = 1, amount = pauses, unit = "slots", message = "paused $pauses times and may not"))
end

"A machine that the first set-point above 0 starts, and that then runs to the end."
struct CycleActor <: Actor
    given::DispatchCycle
    field::String
    slot_h::Float64
    first::Int                   # slot of its start; 0 where it does not run
end

function CycleActor(given::DispatchCycle, field, slot_h, wanted::Vector{Float64})
    asked = findfirst(>(REPLAY_TOLERANCE), wanted)
    powered = findfirst(>(REPLAY_TOLERANCE), given.power_kw)
    first = asked === nothing || powered === nothing ? 0 : asked - powered + 1
    fits = given.start_slot < first && first - 1 + length(given.power_kw) <= given.end_slot
    return CycleActor(given, field, slot_h, fits ? first : 0)
end

function follow!(actor::CycleActor, t::Int, wanted::Float64)
    actor.first == 0 && return 0.0, "OUTSIDE"
    i = t - actor.first + 1
    return 1 <= i <= length(actor.given.power_kw) ? actor.given.power_kw[i] : 0.0, "PROFILE"
end

give_up(::CycleActor, power::Float64, ::Float64) = power

function unkept!(found, actor::CycleActor)
    its = actor.given
    energy = actor.slot_h * sum(its.power_kw)
    actor.first != 0 || energy <= REPLAY_TOLERANCE || push!(found, ReplayViolation(
        field = "$(actor.field).power_kw", name = its.name, slot = its.end_slot - 1, slot_count = 1,
        amount = energy, unit = "kWh", message = "did not run in its window"))
end

"A heat pump and its tank, from which heat is taken whether it is there or not."
mutable struct HeatPumpActor <: Actor
    given::DispatchHeatPump
    field::String
    slot_h::Float64
    energy_kwh::Vector{Float64}
    now_kwh::Float64
    recovered_kwh::Float64       # the minimum, or less where it was measured so and has not come back
    low_slot::Int                # first slot too low, 0 where none is; how many; the worst of them
    low_count::Int
    worst_slot::Int
    worst_kwh::Float64
    cold_slot::Int               # first slot with heat not delivered; how many; how much
    cold_count::Int
    cold_kwh::Float64
end

function HeatPumpActor(given::DispatchHeatPump, field, slot_h, T)
    start = given.tank.initial_energy_kwh
    return HeatPumpActor(given, field, slot_h, zeros(T), start, min(start, given.tank.min_energy_kwh),
        0, 0, 0, Inf, 0, 0, 0.0)
end

"The tank's energy at the end of the slot if the pump rests."
without_pump(actor::HeatPumpActor, t::Int) =
    (1 - min(1.0, actor.given.tank.loss_per_h * actor.slot_h)) * actor.now_kwh -
    actor.slot_h * actor.given.heat_demand_kw[t]

function follow!(actor::HeatPumpActor, t::Int, wanted::Float64)
    its, highest = actor.given, actor.given.tank.max_energy_kwh
    wanted < 0 && return 0.0, "POWER_LIMIT"
    is_too_low(wanted, its.min_power_kw) && return 0.0, "MIN_POWER"
    actor.now_kwh > highest + 2 * REPLAY_TOLERANCE && (highest = actor.now_kwh)
    return cut(wanted, its.max_power_kw, highest - without_pump(actor, t), actor.slot_h * its.cop[t],
        "FULL")
end

give_up(actor::HeatPumpActor, power::Float64, excess::Float64) =
    less(power, excess, actor.given.min_power_kw)

function advance!(actor::HeatPumpActor, t::Int, power::Float64)
    tank = actor.given.tank
    energy = without_pump(actor, t) + actor.slot_h * actor.given.cop[t] * power
    if energy < -REPLAY_TOLERANCE
        actor.cold_slot == 0 && (actor.cold_slot = t)
        actor.cold_count += 1
        actor.cold_kwh -= energy
    end
    energy = snapped(max(0.0, energy), tank.min_energy_kwh, tank.max_energy_kwh)
    if energy < actor.recovered_kwh - REPLAY_TOLERANCE
        actor.low_slot == 0 && (actor.low_slot = t)
        actor.low_count += 1
        energy < actor.worst_kwh && ((actor.worst_slot, actor.worst_kwh) = (t, energy))
    end
    actor.recovered_kwh = min(tank.min_energy_kwh, max(actor.recovered_kwh, energy))
    actor.now_kwh = actor.energy_kwh[t] = energy
    return nothing
end

function unkept!(found, actor::HeatPumpActor)
    its, tank, lowest = actor.given, actor.given.tank, actor.given.tank.min_energy_kwh
    actor.low_slot == 0 || push!(found, ReplayViolation(field = "$(actor.field).tank.min_energy_kwh",
        name = its.name, slot = actor.low_slot - 1, slot_count = actor.low_count,
        amount = lowest - actor.worst_kwh, unit = "kWh",
        message = "fell to $(spoken(actor.worst_kwh)) kWh in slot $(actor.worst_slot - 1); " *
                  "$(spoken(lowest)) must remain"))
    actor.cold_slot == 0 || push!(found, ReplayViolation(field = "$(actor.field).heat_demand_kw",
        name = its.name, slot = actor.cold_slot - 1, slot_count = actor.cold_count,
        amount = actor.cold_kwh, unit = "kWh",
        message = "$(spoken(actor.cold_kwh)) kWh of heat were not delivered"))
    missing_energy!(found, "$(actor.field).tank.final_energy_kwh", its.name,
        length(actor.energy_kwh) - 1, tank.final_energy_kwh, actor.now_kwh)
end

# ------------------------------------------------------------------------------------- generation

"A generator; `output_kw` and its limits are positive."
mutable struct GeneratorActor <: Actor
    given::DispatchGenerator
    wanted_on::Vector{Bool}
    ramp_up_kw::Float64          # a slot
    ramp_down_kw::Float64
    min_up::Int                  # slots
    min_down::Int
    is_on::Bool
    output_kw::Float64
    held::Int                    # slots for which it must stay on, or off
    lowest_kw::Float64           # in the slot, while it runs
    running::Vector{Float64}
end

function GeneratorActor(given::DispatchGenerator, slot_s::Int, wanted::Vector{Float64}, running)
    slot_h, is_on = slot_s / 3600, given.initially_running
    wanted_on = running === nothing ? Bool[-power > REPLAY_TOLERANCE for power in wanted] :
                Bool[on > 0.5 for on in running]
    least_s = is_on ? given.min_up_duration_s : given.min_down_duration_s
    per_slot(ramp) = ramp === nothing ? Inf : ramp * slot_h
    return GeneratorActor(given, wanted_on, per_slot(given.ramp_up_kw_per_h),
        per_slot(given.ramp_down_kw_per_h), cld(given.min_up_duration_s, slot_s),
        cld(given.min_down_duration_s, slot_s), is_on,
        is_on ? max(given.min_power_kw, given.initial_power_kw) : 0.0,
        cld(max(0, least_s - given.initial_duration_s), slot_s), 0.0, zeros(length(wanted)))
end

"Whether it runs in the slot, and why it does not do as it is told."
function state(actor::GeneratorActor, wanted_on::Bool)
    wanted_on == actor.is_on && return wanted_on, ""
    actor.held > 0 && return actor.is_on, actor.is_on ? "MIN_UP" : "MIN_DOWN"
    actor.is_on && actor.output_kw > max(actor.given.min_power_kw, actor.ramp_down_kw) + REPLAY_TOLERANCE &&
        return true, "RAMP_LIMIT"
    return wanted_on, ""
end

function follow!(actor::GeneratorActor, t::Int, wanted::Float64)
    its = actor.given
    on, why = state(actor, actor.wanted_on[t])
    actor.running[t] = on
    actor.lowest_kw = 0.0
    on || return 0.0, isempty(why) ? "POWER_LIMIT" : why
    highest = its.max_power_kw
    actor.lowest_kw = its.min_power_kw
    if actor.is_on
        highest = min(highest, actor.output_kw + actor.ramp_up_kw)
        actor.lowest_kw = max(actor.lowest_kw, actor.output_kw - actor.ramp_down_kw)
    else
        highest = min(highest, max(its.min_power_kw, actor.ramp_up_kw))
    end
    output = max(0.0, -wanted)
    output > highest + REPLAY_TOLERANCE &&
        return 0.0 - highest, highest == its.max_power_kw ? "POWER_LIMIT" : "RAMP_LIMIT"
    output < actor.lowest_kw - REPLAY_TOLERANCE && return 0.0 - actor.lowest_kw,
        !isempty(why) ? why : actor.lowest_kw == its.min_power_kw ? "MIN_POWER" : "RAMP_LIMIT"
    return 0.0 - output, wanted > 0 ? "POWER_LIMIT" : ""
end

give_up(actor::GeneratorActor, power::Float64, excess::Float64) = min(0.0 - actor.lowest_kw, power + excess)

function advance!(actor::GeneratorActor, t::Int, power::Float64)
    on = actor.running[t] > 0
    on == actor.is_on || (actor.held = on ? actor.min_up : actor.min_down)
    actor.held = max(0, actor.held - 1)
    actor.is_on, actor.output_kw = on, 0.0 - power
    return nothing
end

"A plant that delivers what is available, up to its ceiling in the slots `limited`."
struct PvActor <: Actor
    given::DispatchPv
    limited::Vector{Bool}
end

function PvActor(given::DispatchPv, T::Int, points)
    given.curtailable && points !== nothing || return PvActor(given, fill(false, T))
    return PvActor(given, points.limited === nothing ? fill(true, T) : Bool[x > 0.5 for x in points.limited])
end

function follow!(actor::PvActor, t::Int, wanted::Float64)
    available = actor.given.available_power_kw[t]
    return 0.0 - (actor.limited[t] ? min(available, max(0.0, -wanted)) : available), ""
end

# ------------------------------------------------------------------------------------- the replay

"How much something departed from its set-points for one reason."
mutable struct Departure
    reason::String
    first_slot::Int
    last_slot::Int
    slot_count::Int
    energy_kwh::Float64
end

"An asset, what it was told, and what it did; or a fixed load, which follows nobody (`actor` is nothing)."
struct ReplayLine
    name::String
    actor::Union{Actor,Nothing}
    wanted_kw::Vector{Float64}
    power_kw::Vector{Float64}
    departures::Vector{Departure}      # one for each reason, in the order in which they came
end
ReplayLine(actor::Actor, wanted::Vector{Float64}) =
    ReplayLine(actor.given.name, actor, wanted, zeros(length(wanted)), Departure[])
ReplayLine(load::DispatchLoad) =
    ReplayLine(load.name, nothing, load.power_kw, copy(load.power_kw), Departure[])

"A limit of a group, or of the grid connection, by slot; `import_kw` is Inf where there is none."
struct ReplayLimit
    field::String
    name::Union{String,Nothing}
    reason::String
    lines::Vector{ReplayLine}          # fixed loads first
    import_kw::Vector{Float64}
    export_kw::Vector{Float64}
end

"""
    replay!(lines, limits, at_limits, slot_h)

Carry the set-points out. Afterwards `lines` (fixed loads among them) say what was; `limits` are those of
the groups in order, then the grid's.
"""
function replay!(lines::Vector{ReplayLine}, limits::Vector{ReplayLimit}, at_limits::String, slot_h::Float64)
    assets = ReplayLine[line for line in lines if line.actor !== nothing]
    for t in 1:length(first(lines).power_kw)
        foreach(line -> follow!(line, t, slot_h), assets)
        at_limits == "VIOLATE" ||
            foreach(limit -> keep!(limit, t, at_limits == "REDUCE", slot_h), limits)
        foreach(line -> advance!(line.actor, t, line.power_kw[t]), assets)
    end
    return nothing
end

function follow!(line::ReplayLine, t::Int, slot_h::Float64)
    power, reason = follow!(line.actor, t, line.wanted_kw[t])::Tuple{Float64,String}
    line.power_kw[t] = power
    isempty(reason) || note!(line, reason, t, slot_h, line.wanted_kw[t] - power)
    return nothing
end

function note!(line::ReplayLine, reason::String, t::Int, slot_h::Float64, difference_kw::Float64)
    abs(difference_kw) > REPLAY_TOLERANCE || return nothing
    i = findfirst(departure -> departure.reason == reason, line.departures)
    i === nothing && push!(line.departures, Departure(reason, t, 0, 0, 0.0))
    departure = i === nothing ? line.departures[end] : line.departures[i]
    departure.last_slot == t || (departure.slot_count += 1)
    departure.last_slot = t
    departure.energy_kwh += slot_h * abs(difference_kw)
    return nothing
end

"Let what is behind a limit do less where it is too much."
function keep!(limit::ReplayLimit, t::Int, may_reduce::Bool, slot_h::Float64)
    power = 0.0
    for line in limit.lines
        power += line.power_kw[t]
    end
    excess = -power - limit.export_kw[t]
    if excess > REPLAY_TOLERANCE
        excess -= curtail!(limit, t, excess, slot_h)
        may_reduce && reduce!(limit, (BatteryActor, VehicleActor, GeneratorActor), -1, t, excess, slot_h)
    end
    excess = power - limit.import_kw[t]
    if may_reduce && excess > REPLAY_TOLERANCE
        reduce!(limit, (BatteryActor, VehicleActor, FlexibleLoadActor, HeatPumpActor, Nothing), 1, t,
            excess, slot_h)
    end
    return nothing
end

is_curtailable(line::ReplayLine) = line.actor isa PvActor && line.actor.given.curtailable

"Take an excess from curtailable PV, all in proportion; returns what came of it."
function curtail!(limit::ReplayLimit, t::Int, excess::Float64, slot_h::Float64)
    delivered = 0.0
    for line in limit.lines
        is_curtailable(line) && (delivered -= line.power_kw[t])
    end
    delivered > 0 || return 0.0
    taken = min(excess, delivered)
    for line in limit.lines
        is_curtailable(line) || continue
        before = line.power_kw[t]
        line.power_kw[t] = taken == delivered ? 0.0 : before * (1 - taken / delivered)
        note!(line, limit.reason, t, slot_h, before - line.power_kw[t])
    end
    return taken
end

"Let assets of the kinds `order` do less, one after the other, until nothing is too much."
function reduce!(limit::ReplayLimit, order, sign::Int, t::Int, excess::Float64, slot_h::Float64)
    for kind in order, line in limit.lines
        excess > 0 || return nothing
        before = line.power_kw[t]
        line.actor isa kind && sign * before > 0 || continue
        after = line.actor === nothing ? less(before, excess, 0.0) : give_up(line.actor, before, excess)
        line.power_kw[t] = after
        excess -= abs(before) - abs(after)
        note!(line, limit.reason, t, slot_h, before - after)
    end
    return nothing
end

"What exceeds a limit over all slots."
function unkept!(found, limit::ReplayLimit)
    power = zeros(length(limit.import_kw))
    foreach(line -> power .+= line.power_kw, limit.lines)
    for (way, sign, most) in (("import", 1.0, limit.import_kw), ("export", -1.0, limit.export_kw))
        excess = sign .* power .- most
        worst, count = argmax(excess), count_beyond(excess)
        count == 0 && continue
        push!(found, ReplayViolation(field = "$(limit.field).max_$(way)_power_kw", name = limit.name,
            slot = findfirst(>(REPLAY_TOLERANCE), excess) - 1, slot_count = count,
            amount = excess[worst], unit = "kW", message = "reached $(spoken(most[worst] +
                excess[worst])) kW in slot $(worst - 1); the limit is $(spoken(most[worst]))"))
    end
end

count_beyond(excess) = count(>(REPLAY_TOLERANCE), excess)
