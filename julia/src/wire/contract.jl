# Checked messages: bytes to message and back. `contracts/messages.jl` adds the message types.

"Base of every generated message. Optional members without a default are `nothing` when absent."
abstract type Message end

"What has a shape: the messages, and `Violation`, which the checks themselves need."
const Contracted = Union{Message,Violation}

# Generated for each type: the type from a map that was checked, its shape, and where it has them its
# rules and the value of its member `type`.
function from_map end
function shape_of end
rules_of(::Type) = Rules.Rule[]
tag_of(::Type) = nothing

"The members that are present, in the contract's order."
function members(@nospecialize(value))
    T = typeof(value)
    tag = tag_of(T)
    present = tag === nothing ? Pair{String,Any}[] : Pair{String,Any}["type" => tag]
    for name in fieldnames(T)
        member = getfield(value, name)
        member === nothing || push!(present, Pair{String,Any}(String(name), member))
    end
    return present
end

Shapes.members_of(@nospecialize(value::Contracted)) = members(value)

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
function build(@nospecialize(T::Type), @nospecialize(plain))
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
function pack(@nospecialize(message::Message))
    found = validate(message)
    isempty(found) || refuse(found)
    return MsgPack.pack(message)
end

"Every rule that a built message breaks."
function validate(@nospecialize(message::Message))
    found = Violation[]
    Shapes.check!(found, shape_of(typeof(message)), message, "")
    isempty(found) && check_rules!(found, message, "")
    return found
end

function MsgPack.pack(io::IO, @nospecialize(message::Contracted))
    present = members(message)
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
function check_rules!(found, @nospecialize(value), field)
    if value isa Vector && eltype(value) <: Message
        for i in 1:length(value)
            check_rules!(found, value[i], "$field[$(i - 1)]")
        end
    elseif value isa Message
        for rule in rules_of(typeof(value))
            own = Violation[]
            Rules.check!(own, rule, value)
            for violation in own
                at = join(filter(!isempty, [field, violation.field]), ".")
                push!(found, Violation(at, violation.rule, violation.message))
            end
        end
        for (name, member) in members(value)
            check_rules!(found, member, isempty(field) ? name : "$field.$name")
        end
    end
    return nothing
end

# What `from_map` makes of a member that was checked.
series(value::Vector{Float64}) = value
series(value) = float64_series(value, "")
