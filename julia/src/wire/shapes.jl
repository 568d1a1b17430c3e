"""
Shapes: what a schema says of a value, and the check that names everything that breaks it.

`check!(found, shape, value, field)` appends a `Violation` for every rule that `value`, which stands
at `field`, breaks. A value is what MsgPack unpacks to, or a message that was built. The generated
`contracts/shapes.jl` holds the shapes; `python/src/gridpact/kit/shapes.py` is the same vocabulary in
Python, and both give the same field and rule for the same value.
"""
module Shapes

# For `keeps`; the checks that find words are not worth it, and are small.
Base.Experimental.@optlevel 3

using Dates: daysinmonth

import ..Violation, ..float64_from_bytes

# `@nospecialize`: the checks run once a message on values of every type; compiling them for each
# type would take longer than they ever save.

abstract type Shape end

"The members of a map or of a built message that are present; `nothing` for anything else."
members_of(entries::Dict{String,Any}) = entries
members_of(@nospecialize(value)) = nothing

"What `member` gives for one that is absent; `nothing` is a value."
struct Absent end

"One member of what `members_of` gave."
member(entries::Dict{String,Any}, name::String) = get(entries, name, Absent())
function member(present::Vector{Pair{String,Any}}, name::String)
    for (its, value) in present
        its == name && return value
    end
    return Absent()
end

# ---------------------------------------------------------------------------------- vocabulary

"A text; lengths count code points. `choices`, where given, are the only texts allowed."
struct Text <: Shape
    min_length::Int
    max_length::Int
    pattern::Union{Nothing,Regex}
    format::String
    choices::Vector{String}
    takes_trimmed::Bool                   # any text of visible ASCII and blanks within it
end
Text(; min_length = 0, max_length = typemax(Int), pattern = nothing, format = "", choices = String[]) =
    Text(min_length, max_length, pattern === nothing ? nothing : exact(pattern), format, choices,
        isempty(format) && (pattern === nothing || pattern == TRIMMED))

"The pattern of names: no control characters, and no blank at either end."
const TRIMMED = "^[^\\x00-\\x20\\x7f]([^\\x00-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?\$"

# In JSON Schema `\$` is the end and nothing else; in PCRE it may stand before a last line break too.
exact(pattern::String) = Regex(replace(pattern, r"(?<!\\)\$(?=$|\))" => "\\z"))

"A finite number; `whole` takes integers only, and 51.0 is one."
struct Numeric <: Shape
    whole::Bool
    minimum::Float64
    maximum::Float64
    above::Float64
    below::Float64
    choices::Vector{Float64}
end
Numeric(; whole = false, minimum = -Inf, maximum = Inf, above = -Inf, below = Inf, choices = Float64[]) =
    Numeric(whole, minimum, maximum, above, below, choices)

"True or false; no number is one."
struct Flag <: Shape end

"Bytes, at most `max_bytes`."
struct Binary <: Shape
    max_bytes::Int
end
Binary(; max_bytes = typemax(Int)) = Binary(max_bytes)

"A Float64 series: the extension value, an array of numbers, or the bytes as `bin`."
struct Series <: Shape
    min_items::Int
    max_items::Int
    minimum::Float64
    maximum::Float64
end
Series(; min_items = 0, max_items = typemax(Int), minimum = -Inf, maximum = Inf) =
    Series(min_items, max_items, minimum, maximum)

"A list whose items all have one shape."
struct ListOf <: Shape
    items::Shape
    min_items::Int
    max_items::Int
end
ListOf(items; min_items = 0, max_items = typemax(Int)) = ListOf(items, min_items, max_items)

"A member of a record."
struct Field
    name::String
    shape::Shape
    required::Bool
end
Field(name, shape; required = true) = Field(name, shape, required)

"Named members; members that it does not name are ignored."
struct Record <: Shape
    fields::Vector{Field}
end

# ---------------------------------------------------------------------------------- checks

function check!(found, shape::Text, @nospecialize(value), field)
    value isa AbstractString || return wrong_type!(found, field, "a text", value)
    if !isempty(shape.choices)
        value in shape.choices || add!(found, field, "enum", "must be $(one_of(shape.choices))")
        return nothing
    end
    count = length(value)
    count < shape.min_length && add!(found, field, "min-length",
        "must have at least $(shape.min_length) characters; it has $count")
    count > shape.max_length && add!(found, field, "max-length",
        "must have at most $(shape.max_length) characters; it has $count")
    if shape.pattern !== nothing && !occursin(shape.pattern, value)
        add!(found, field, "pattern", "must match $(shape.pattern.pattern)")
    elseif shape.format == "date-time" && !is_instant(value)
        add!(found, field, "format", "must be a time that exists")
    end
    return nothing
end

function check!(found, shape::Numeric, @nospecialize(value), field)
    if !is_number(value) || (shape.whole && value != trunc(value))
        wrong_type!(found, field, shape.whole ? "a whole number" : "a number", value)
    elseif !isempty(shape.choices) && !(value in shape.choices)
        add!(found, field, "enum", "must be $(one_of(shape.choices)); it is $(number(value))")
    elseif value < shape.minimum
        bound!(found, field, "minimum", "at least", shape.minimum, value)
    elseif shape.above > -Inf && value <= shape.above
        bound!(found, field, "exclusive-minimum", "more than", shape.above, value)
    elseif value > shape.maximum
        bound!(found, field, "maximum", "at most", shape.maximum, value)
    elseif shape.below < Inf && value >= shape.below
        bound!(found, field, "exclusive-maximum", "less than", shape.below, value)
    end
    return nothing
end

check!(found, ::Flag, @nospecialize(value), field) =
    value isa Bool ? nothing : wrong_type!(found, field, "true or false", value)

function check!(found, shape::Binary, @nospecialize(value), field)
    value isa Vector{UInt8} || return wrong_type!(found, field, "bytes", value)
    length(value) > shape.max_bytes && add!(found, field, "max-length",
        "must have at most $(shape.max_bytes) bytes; it has $(length(value))")
    return nothing
end

check!(found, ::Series, @nospecialize(value), field) = wrong_type!(found, field, "a series of numbers", value)

function check!(found, shape::Series, bytes::Vector{UInt8}, field)
    length(bytes) % 8 == 0 || return add!(found, field, "type",
        "must have a multiple of 8 bytes; it has $(length(bytes))")
    values = reinterpret(Float64, bytes)
    check!(found, shape, ENDIAN_BOM == 0x04030201 ? collect(values) : ltoh.(values), field)
end

function check!(found, shape::Series, items::Vector{Any}, field)
    wrong = findfirst(item -> !is_number(item), items)
    wrong === nothing ||
        return wrong_type!(found, "$field[$(wrong - 1)]", "a number", items[wrong])
    check!(found, shape, Float64[item for item in items], field)
end

function check!(found, shape::Series, values::Vector{Float64}, field)
    check_count!(found, field, length(values), shape.min_items, shape.max_items)
    isempty(values) && return nothing
    wrong = findfirst(value -> !isfinite(value), values)
    wrong === nothing || return wrong_type!(found, "$field[$(wrong - 1)]", "a number", values[wrong])
    lowest, highest = extrema(values)
    if lowest < shape.minimum
        bound!(found, "$field[$(argmin(values) - 1)]", "minimum", "at least", shape.minimum, lowest)
    elseif highest > shape.maximum
        bound!(found, "$field[$(argmax(values) - 1)]", "maximum", "at most", shape.maximum, highest)
    end
    return nothing
end

function check!(found, shape::ListOf, @nospecialize(value), field)
    value isa AbstractVector && !(value isa Vector{UInt8}) && !(value isa Vector{Float64}) ||
        return wrong_type!(found, field, "a list", value)
    check_count!(found, field, length(value), shape.min_items, shape.max_items)
    for i in 1:length(value)
        # Its place is put into words only where something is wrong: a list may be long.
        known = length(found)
        check!(found, shape.items, value[i], "")
        for k in known+1:length(found)
            inner = found[k].field
            at = string(field, '[', i - 1, isempty(inner) || startswith(inner, '[') ? "]" : "].", inner)
            found[k] = Violation(at, found[k].rule, found[k].message)
        end
    end
    return nothing
end

function check!(found, shape::Record, @nospecialize(value), field)
    members = members_of(value)
    members === nothing && return wrong_type!(found, field, "an object", value)
    for its in shape.fields
        at = isempty(field) ? its.name : "$field.$(its.name)"
        item = member(members, its.name)
        if !(item isa Absent)
            check!(found, its.shape, item, at)
        elseif its.required
            add!(found, at, "required", "is required")
        end
    end
    return nothing
end

# ---------------------------------------------------------------------------- without a word

# Whether a value of the right type has the shape: what `check!` would find nothing wrong with.

keeps(shape::Numeric, value::Union{Float64,Int64,UInt64}) =
    shape.minimum <= value <= shape.maximum && value > shape.above && value < shape.below &&
    (!shape.whole || value == trunc(value)) && (isempty(shape.choices) || value in shape.choices)

function keeps(shape::Series, values::Vector{Float64})
    shape.min_items <= length(values) <= shape.max_items || return false
    low, high, kept = shape.minimum, shape.maximum, true
    @inbounds @simd for i in eachindex(values)
        kept &= isfinite(values[i]) & (low <= values[i]) & (values[i] <= high)
    end
    return kept
end

function keeps(shape::Text, text::String)
    isempty(shape.choices) || return text in shape.choices
    shape.takes_trimmed && shape.min_length <= sizeof(text) <= shape.max_length && is_trimmed(text) &&
        return true
    isvalid(text) || return false
    found = Violation[]
    check!(found, shape, text, "")
    return isempty(found)
end

"Whether a text is visible ASCII, with blanks only within it. Such a text has as many characters as bytes."
function is_trimmed(text::String)
    bytes, trimmed = codeunits(text), true
    isempty(bytes) && return false
    @inbounds for byte in bytes
        trimmed &= (0x20 <= byte) & (byte <= 0x7e)
    end
    return trimmed && @inbounds bytes[1] != 0x20 && bytes[end] != 0x20
end

# ---------------------------------------------------------------------------------- words

add!(found::Vector{Violation}, field, rule, message) = (push!(found, Violation(field, rule, message)); nothing)

wrong_type!(found, field, expected, @nospecialize(value)) =
    add!(found, field, "type", "must be $expected; it is $(name_of(value))")

bound!(found, field, rule, words, limit, value) =
    add!(found, field, rule, "must be $words $(number(limit)); it is $(number(value))")

function check_count!(found, field, count, least, most)
    count < least && add!(found, field, "min-items", "must have at least $least; it has $count")
    count > most && add!(found, field, "max-items", "must have at most $most; it has $count")
    return nothing
end

"Whether a value is a finite number; a Bool is none."
is_number(value) = value isa Real && !(value isa Bool) && isfinite(value)

"A number as people write it: 5 rather than 5.0."
number(value) = value == trunc(value) && abs(value) < 1e15 ? string(Int(value)) : string(Float64(value))

one_of(choices) = length(choices) > 1 ? "one of " * join(map(plain, choices), ", ") : plain(choices[1])
plain(choice::Float64) = number(choice)
plain(choice) = string(choice)

name_of(::Nothing) = "nil"
name_of(value::Real) = string(value)
name_of(::AbstractString) = "a text"
name_of(::Vector{UInt8}) = "bytes"
name_of(::Vector{Float64}) = "a series"
name_of(::AbstractVector) = "a list"
name_of(value) = "an object"

"Whether a text that matches the pattern of Instant names a time that exists."
function is_instant(text)
    match(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T", text) === nothing && return false
    year, month, day = parse(Int, text[1:4]), parse(Int, text[6:7]), parse(Int, text[9:10])
    return year >= 1 && 1 <= month <= 12 && 1 <= day <= daysinmonth(year, month)
end

end
