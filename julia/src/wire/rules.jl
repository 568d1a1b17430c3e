"""
The vocabulary of `x-rules`: what a schema demands beyond single values.

`check!(found, rule, value)` appends what `value`, a built message with its defaults filled in,
breaks. Paths are dotted; `[]` after a member means each of its items.
`python/src/gridpact/kit/rules.py` says the same in Python.
"""
module Rules

import ..Violation, ..Shapes.add!, ..Shapes.number

abstract type Rule end

"Rounding must not refuse what is exactly at a limit."
const RELATIVE_TOLERANCE = 1e-9

"`field` must not exceed `limit`; holds when either is absent. `names` is to blame."
struct AtMost <: Rule
    field::String
    limit::String
    names::String
end
AtMost(; field, limit, names = field) = AtMost(field, limit, names)

function check!(found, rule::AtMost, @nospecialize(value))
    fields, limits = present(value, rule.field), present(value, rule.limit)
    isempty(fields) || isempty(limits) || blame!(found, rule, fields[1][2], limits[1][2])
end

function blame!(found, rule::AtMost, low::Real, high::Real)
    low <= high || add!(found, rule.names, "at-most", rule.names == rule.limit ?
        "must be at least $(number(low)) ($(rule.field)); it is $(number(high))" :
        "must be at most $(number(high)) ($(rule.limit)); it is $(number(low))")
end

"Each list at `field` must have as many items as the number `count` says."
struct LengthEquals <: Rule
    field::String
    count::String
end
LengthEquals(; field, count) = LengthEquals(field, count)

function check!(found, rule::LengthEquals, @nospecialize(value))
    for (_, count) in present(value, rule.count), (field, items) in present(value, rule.field)
        length(items) == count || add!(found, field, "length-equals",
            "must have $count values ($(rule.count)); it has $(length(items))")
    end
end

"No value may occur twice, all `fields` taken together."
struct Unique <: Rule
    fields::Vector{String}
end
Unique(; fields) = Unique(fields)

function check!(found, rule::Unique, @nospecialize(value))
    first_at = Dict{Any,String}()
    for path in rule.fields, (field, item) in present(value, path)
        taken_at = get!(first_at, item, field)
        taken_at == field ||
            add!(found, field, "unique", "must differ from $taken_at; both are $(repr(item))")
    end
end

"""
Each battery must be able to reach its final energy from its initial one in the time given.

Reads `slots` and `slot_duration_s` beside the batteries. Charging all the time adds
`max_charge_power_kw * charge_efficiency` kWh an hour, discharging takes out
`max_discharge_power_kw / discharge_efficiency`.
"""
struct ReachableEnergy <: Rule
    field::String
end
ReachableEnergy(; field) = ReachableEnergy(field)

function check!(found, rule::ReachableEnergy, @nospecialize(value))
    hours = value.slots * value.slot_duration_s / 3600
    batteries, final_energy = rsplit(rule.field, "."; limit = 2)
    for (path, item) in present(value, String(batteries))
        final = getproperty(item, Symbol(final_energy))
        final === nothing && continue
        initial, battery, field = item.initial_energy_kwh, item.battery, "$path.$final_energy"
        gain = hours * battery.max_charge_power_kw * battery.charge_efficiency
        loss = hours * battery.max_discharge_power_kw / battery.discharge_efficiency
        slack = RELATIVE_TOLERANCE * max(1.0, abs(initial), abs(final))
        if final - initial > gain + slack
            add!(found, field, "reachable-energy",
                "must be at most $(number(initial + gain)): charging with full power for " *
                "$(number(hours)) h adds $(number(gain)) kWh to the initial $(number(initial)); " *
                "it is $(number(final))")
        elseif initial - final > loss + slack
            add!(found, field, "reachable-energy",
                "must be at least $(number(initial - loss)): discharging with full power for " *
                "$(number(hours)) h takes $(number(loss)) kWh from the initial $(number(initial)); " *
                "it is $(number(final))")
        end
    end
end

"Each value that `path` leads to, with its concrete path; what is absent is left out."
function present(@nospecialize(value), path, at = "")
    found = Tuple{String,Any}[]
    step, rest = occursin('.', path) ? split(path, "."; limit = 2) : (path, "")
    name = replace(step, "[]" => "")
    member = getproperty(value, Symbol(name))
    member === nothing && return found
    field = isempty(at) ? name : "$at.$name"
    if endswith(step, "[]")
        for i in 1:length(member)
            lead!(found, member[i], rest, "$field[$(i - 1)]")
        end
    else
        lead!(found, member, rest, field)
    end
    return found
end

lead!(found, @nospecialize(value), rest, field) =
    isempty(rest) ? push!(found, (field, value)) : append!(found, present(value, rest, field))

end
