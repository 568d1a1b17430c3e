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

"""
`field` must not exceed `limit`; holds when either is absent. `names` is to blame. Where `field` leads
to many values and `limit` to one, the one holds for each of them. `tolerance` is the part of the limit
by which a measured value may be beyond it.
"""
struct AtMost <: Rule
    field::String
    limit::String
    names::String
    tolerance::Float64
end
AtMost(; field, limit, names = field, tolerance = 0.0) = AtMost(field, limit, names, tolerance)

check!(found, rule::AtMost, @nospecialize(value)) =
    each_pair((low, high) -> blame!(found, rule, low, high), value, rule.field, rule.limit)

function blame!(found, rule::AtMost, low, high)
    low[2] <= high[2] * (1 + rule.tolerance) && return
    more = rule.tolerance == 0 ? "" : " + $(number(100 * rule.tolerance))%"
    rule.names == rule.limit ?
    add!(found, high[1], "at-most",
        "must be at least $(number(low[2])) ($(rule.field)); it is $(number(high[2]))") :
    add!(found, low[1], "at-most",
        "must be at most $(number(high[2]))$more ($(rule.limit)); it is $(number(low[2]))")
end

"`field` must be less than `limit`; holds when either is absent."
struct Before <: Rule
    field::String
    limit::String
end
Before(; field, limit) = Before(field, limit)

check!(found, rule::Before, @nospecialize(value)) =
    each_pair((low, high) -> low[2] < high[2] || add!(found, low[1], "before",
            "must be less than $(number(high[2])) ($(rule.limit)); it is $(number(low[2]))"),
        value, rule.field, rule.limit)

"Each value at `field` must be greater than the one before it; `or_equal` lets it repeat."
struct Increasing <: Rule
    field::String
    or_equal::Bool
end
Increasing(; field, or_equal = false) = Increasing(field, or_equal)

function check!(found, rule::Increasing, @nospecialize(value))
    values = present(value, rule.field)
    for i in 2:length(values)
        low, high = values[i-1][2], values[i][2]
        low < high || (rule.or_equal && low == high) || add!(found, values[i][1], "increasing",
            "must be $(rule.or_equal ? "at least" : "greater than") $(number(low)) " *
            "(the one before); it is $(number(high))")
    end
end

"The last value at `field` must be `value`, the path of a number; rounding is forgiven."
struct LastEquals <: Rule
    field::String
    value::String
end
LastEquals(; field, value) = LastEquals(field, value)

function check!(found, rule::LastEquals, @nospecialize(value))
    values = present(value, rule.field)
    for (_, wanted) in present(value, rule.value)
        field, last_one = values[end]
        abs(last_one - wanted) <= RELATIVE_TOLERANCE * max(1.0, abs(wanted)) ||
            add!(found, field, "last-equals", "must be $(number(wanted)) ($(rule.value)), " *
                "being the last; it is $(number(last_one))")
    end
end

"The windows at `field`, from `start` until before `stop`, are in order without overlap."
struct Disjoint <: Rule
    field::String
    start::String
    stop::String
end
Disjoint(; field, start, stop) = Disjoint(field, start, stop)

function check!(found, rule::Disjoint, @nospecialize(value))
    windows = present(value, rule.field)
    for i in 2:length(windows)
        stop = getproperty(windows[i-1][2], Symbol(rule.stop))
        start = getproperty(windows[i][2], Symbol(rule.start))
        start >= stop || add!(found, "$(windows[i][1]).$(rule.start)", "disjoint",
            "must be at least $(number(stop)) (the $(rule.stop) before it); it is $start")
    end
end

"The list at `field` has at most as many items as there are from `start` until `stop`."
struct Fits <: Rule
    field::String
    start::String
    stop::String
end
Fits(; field, start, stop) = Fits(field, start, stop)

function check!(found, rule::Fits, @nospecialize(value))
    all_of = present.(Ref(value), (rule.field, rule.start, rule.stop))
    for ((field, items), (_, start), (_, stop)) in zip(all_of...)
        length(items) <= stop - start || add!(found, field, "fits",
            "must have at most $(stop - start) values (from $(rule.start) to $(rule.stop)); " *
            "it has $(length(items))")
    end
end

"""
The slope from point to point of each list at `field` must not fall. Where `x` does not increase there
is no slope; that is for the rule `increasing` to say.
"""
struct Convex <: Rule
    field::String
    x::Symbol
    y::Symbol
end
Convex(; field, x, y) = Convex(field, Symbol(x), Symbol(y))

function check!(found, rule::Convex, @nospecialize(value))
    for (field, points) in present(value, rule.field), i in 3:length(points)
        x0, x1, x2 = (Float64(getproperty(points[j], rule.x)) for j in i-2:i)
        y0, y1, y2 = (Float64(getproperty(points[j], rule.y)) for j in i-2:i)
        x0 < x1 < x2 || continue
        least = y1 + (y1 - y0) / (x1 - x0) * (x2 - x1)
        y2 < least - RELATIVE_TOLERANCE * max(1.0, abs(y1), abs(least)) &&
            add!(found, "$field[$(i - 1)].$(rule.y)", "convex", "must be at least " *
                "$(number(least)), so that the slope does not fall (convex); it is $(number(y2))")
    end
end

"The values at `field` must begin with `first` and end with `last`."
struct Spans <: Rule
    field::String
    first::String
    last::String
end
Spans(; field, first, last) = Spans(field, first, last)

function check!(found, rule::Spans, @nospecialize(value))
    values = present(value, rule.field)
    isempty(values) && return nothing
    for ((field, item), limit) in ((values[1], rule.first), (values[end], rule.last)),
        (_, wanted) in present(value, limit)

        abs(item - wanted) > RELATIVE_TOLERANCE * max(1.0, abs(wanted)) && add!(found, field,
            "spans", "must be $(number(wanted)) ($limit); it is $(number(item))")
    end
end

"A thermal unit that must run must be on, or have been off long enough to start at once."
struct MustRunCanStart <: Rule
    field::String
end
MustRunCanStart(; field) = MustRunCanStart(field)

function check!(found, rule::MustRunCanStart, @nospecialize(value))
    value.must_run && value.initial_power_mw === nothing || return nothing
    down_h, off_h = value.min_down_time_h, value.initial_duration_h
    down_h - off_h > RELATIVE_TOLERANCE * max(1.0, down_h) && add!(found, rule.field,
        "must-run-can-start", "must be false: the unit is off, and may not start before it has " *
        "been off for $(number(down_h)) h (min_down_time_h); it has been for $(number(off_h)) h " *
        "(initial_duration_h)")
end

"Each value at `field` must be one of those found at the paths `to`."
struct RefersTo <: Rule
    field::String
    to::Vector{String}
end
RefersTo(; field, to) = RefersTo(field, to)

function check!(found, rule::RefersTo, @nospecialize(value))
    known = Set{Any}()
    for path in rule.to
        union!(known, values_at(value, path))
    end
    all(in(known), values_at(value, rule.field)) && return
    for (field, item) in present(value, rule.field)
        item in known || add!(found, field, "refers-to",
            "must be one of $(join(rule.to, ", ")); it is $(repr(item))")
    end
end

"""
Each list at `field` must have as many items as the number or the list `count` says; `or_less` lets it
have less.
"""
struct LengthEquals <: Rule
    field::String
    count::String
    or_less::Bool
end
LengthEquals(; field, count, or_less = false) = LengthEquals(field, count, or_less)

function check!(found, rule::LengthEquals, @nospecialize(value))
    for (_, item) in present(value, rule.count), (field, items) in present(value, rule.field)
        count = item isa Integer ? item : length(item)
        length(items) == count || (rule.or_less && length(items) < count) ||
            add!(found, field, "length-equals", "must have $(rule.or_less ? "at most " : "")" *
                "$count values ($(rule.count)); it has $(length(items))")
    end
end

"At least one of the values at `field` must be `value`."
struct Contains <: Rule
    field::String
    value::String
end
Contains(; field, value) = Contains(field, value)

function check!(found, rule::Contains, @nospecialize(value))
    any(item == rule.value for (_, item) in present(value, rule.field)) ||
        add!(found, split(rule.field, "[]")[1], "contains",
            "must have one with $(split(rule.field, '.')[end]) $(rule.value)")
end

"At least one of the numbers `fields` must differ from zero by more than `tolerance`."
struct NotAllZero <: Rule
    fields::Vector{String}
    tolerance::Float64
end
NotAllZero(; fields, tolerance = 0.0) = NotAllZero(fields, tolerance)

function check!(found, rule::NotAllZero, @nospecialize(value))
    all(abs(item) <= rule.tolerance for path in rule.fields for (_, item) in present(value, path)) &&
        add!(found, rule.fields[1], "not-all-zero",
            "must not be 0 together with $(join(rule.fields[2:end], ", "))")
end

"No value may occur twice, all `fields` taken together."
struct Unique <: Rule
    fields::Vector{String}
end
Unique(; fields) = Unique(fields)

function check!(found, rule::Unique, @nospecialize(value))
    all_values = Any[]
    for path in rule.fields
        append!(all_values, values_at(value, path))
    end
    allunique(all_values) && return
    first_at = Dict{Any,String}()
    for path in rule.fields, (field, item) in present(value, path)
        taken_at = get!(first_at, item, field)
        taken_at == field ||
            add!(found, field, "unique", "must differ from $taken_at; both are $(repr(item))")
    end
end

# What the generated `keeps_rules` asks: whether a rule is kept, without a word. What is absent keeps it.

at_most(low, high, tolerance::Float64) = low <= high * (1 + tolerance)
at_most(::Nothing, high, tolerance::Float64) = true
at_most(low, ::Nothing, tolerance::Float64) = true
at_most(::Nothing, ::Nothing, tolerance::Float64) = true

before(low, high) = low < high
before(::Nothing, high) = true
before(low, ::Nothing) = true
before(::Nothing, ::Nothing) = true

has_length(items::Vector, count::Integer, or_less::Bool) =
    length(items) == count || (or_less && length(items) < count)
has_length(items::Vector, list::Vector, or_less::Bool) = has_length(items, length(list), or_less)
has_length(items, count, or_less::Bool) = true

"Whether a rule that has no shorter form is kept."
function keeps(rule::Rule, @nospecialize(value))
    found = Violation[]
    check!(found, rule, value)
    return isempty(found)
end

"Call `f` for each value at `field` with its limit: the one at the same place, or the only one."
function each_pair(f, @nospecialize(value), field, limit)
    fields, limits = present(value, field), present(value, limit)
    length(limits) == 1 && (limits = fill(limits[1], length(fields)))
    foreach(f, fields, limits)
end

"One step of a path: a member, or `each` of its items."
struct Step
    name::String
    member::Symbol
    each::Bool
end

"Each value that `path` leads to, with its concrete path; what is absent is left out."
function present(@nospecialize(value), path::String)
    found = Tuple{String,Any}[]
    follow!(found, value, steps(path), 1, "")
    return found
end

function follow!(found, @nospecialize(value), steps::Vector{Step}, depth::Int, at::String)
    step, is_last = steps[depth], depth == length(steps)
    member = getproperty(value, step.member)
    member === nothing && return nothing
    field = isempty(at) ? step.name : string(at, '.', step.name)
    if !step.each
        is_last ? push!(found, (field, member)) : follow!(found, member, steps, depth + 1, field)
        return nothing
    end
    for i in 1:length(member)
        its_field = string(field, '[', i - 1, ']')
        is_last ? push!(found, (its_field, member[i])) :
            follow!(found, member[i], steps, depth + 1, its_field)
    end
    return nothing
end

"""
The values that `path` leads to. Most lists keep their rules: it is only where one does not that places
are put into words, which takes ten times as long.
"""
function values_at(@nospecialize(value), path::String)
    found = Any[]
    follow!(found, value, steps(path), 1)
    return found
end

function follow!(found, @nospecialize(value), steps::Vector{Step}, depth::Int)
    step, is_last = steps[depth], depth == length(steps)
    member = getproperty(value, step.member)
    if member === nothing
    elseif !step.each
        is_last ? push!(found, member) : follow!(found, member, steps, depth + 1)
    else
        for i in 1:length(member)
            is_last ? push!(found, member[i]) : follow!(found, member[i], steps, depth + 1)
        end
    end
    return nothing
end

"A path is taken apart once: a large message follows it ten thousand times."
const STEPS = Dict{String,Vector{Step}}()
steps(path::String) = get!(STEPS, path) do
    Step[Step(replace(step, "[]" => ""), Symbol(replace(step, "[]" => "")), endswith(step, "[]"))
         for step in split(path, ".")]
end

end
