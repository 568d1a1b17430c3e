# Checked messages: bytes to message and back. `contracts/messages.jl` adds the message types.

"Base of every generated message. Optional members without a default are `nothing` when absent."
abstract type Message end

"What has a shape: the messages, and `Violation`, which the checks themselves need."
const Contracted = Union{Message,Violation}

# Generated for each type: its members in the contract's order, the type from a map that was checked,
# its shape, and its rules.
function members end
function from_map end
function shape_of end
rules_of(::Type) = Rules.Rule[]

Shapes.members_of(value::Contracted) =
    Dict{String,Any}(name => member for (name, member) in members(value) if member !== nothing)

"""
    unpack(T, bytes; limits) -> T

The message that `bytes` hold. Throws `ContractError`: MESSAGE_MALFORMED or MESSAGE_TOO_LARGE when
they cannot be read, INVALID_ARGUMENT with every violation when they break the contract. Unknown
keys are ignored.
"""
unpack(::Type{T}, bytes; limits = MsgPack.Limits()) where {T<:Message} =
    build(T, MsgPack.unpack(bytes; limits = limits))

"""
    unpack_one_of(types, bytes; limits) -> Message

The message that `bytes` hold, one of `types` (tag => type), told apart by its member `type`.
"""
function unpack_one_of(types, bytes; limits = MsgPack.Limits())
    plain = MsgPack.unpack(bytes; limits = limits)
    tag = plain isa Dict ? get(plain, "type", nothing) : nothing
    for (name, T) in types
        name == tag && return build(T, plain)
    end
    refuse([Violation("type", "discriminator", "must be one of $(join(first.(types), ", "))")])
end

"The message of an unpacked value; throws `ContractError` with every violation."
function build(::Type{T}, plain) where {T<:Message}
    found = Violation[]
    Shapes.check!(found, shape_of(T), plain, "")
    isempty(found) || refuse(found)
    message = from_map(T, plain)
    check_rules!(found, message, "")
    isempty(found) || refuse(found)
    return message
end

"""
    pack(message) -> Vector{UInt8}

The bytes of a message: members in the contract's order, absent ones left out. Throws
`ContractError` when the message breaks its own contract.
"""
function pack(message::Message)
    found = validate(message)
    isempty(found) || refuse(found)
    return MsgPack.pack(message)
end

"Every rule that a built message breaks."
function validate(message::Message)
    found = Violation[]
    Shapes.check!(found, shape_of(typeof(message)), message, "")
    isempty(found) && check_rules!(found, message, "")
    return found
end

function MsgPack.pack(io::IO, message::Contracted)
    present = [entry for entry in members(message) if last(entry) !== nothing]
    MsgPack.pack_map(io, length(present))
    for (name, member) in present
        MsgPack.pack(io, name)
        MsgPack.pack(io, member)
    end
end

"As many as an error message may carry."
const MAX_VIOLATIONS = 100

function refuse(found::Vector{Violation})
    first = found[1]
    more = length(found) > 1 ? " (and $(length(found) - 1) more)" : ""
    throw(ContractError("INVALID_ARGUMENT", first.field, first.message * more,
        found[1:min(end, MAX_VIOLATIONS)]))
end

"Append what breaks the rules of a message and of the messages within it."
function check_rules!(found, message::Message, field)
    for rule in rules_of(typeof(message))
        own = Violation[]
        Rules.check!(own, rule, message)
        for violation in own
            at = join(filter(!isempty, (field, violation.field)), ".")
            push!(found, Violation(at, violation.rule, violation.message))
        end
    end
    for (name, member) in members(message)
        check_rules!(found, member, isempty(field) ? name : "$field.$name")
    end
end
check_rules!(found, value, field) = nothing
function check_rules!(found, items::Vector{<:Message}, field)
    for (i, item) in enumerate(items)
        check_rules!(found, item, "$field[$(i - 1)]")
    end
end

# What `from_map` makes of a member that was checked.
text(value) = String(value)
series(value::Vector{Float64}) = value
series(value) = float64_series(value, "")
