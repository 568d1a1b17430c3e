# Checked messages: bytes to message and back. `contracts/messages.jl` adds the message types.

"Base of every generated message. Optional members without a default are `nothing` when absent."
abstract type Message end

"What has a shape: the messages, and `Violation`, which the checks themselves need."
const Contracted = Union{Message,Violation}

# Generated for each type beside its methods of `Reading.read_map` and `Writing.write_map`: its shape, and where
# it has them its rules and the value of its member `type`.
function shape_of end
rules_of(::Type) = Rules.Rule[]
tag_of(::Type) = nothing

"Whether a message and all within it keep their rules. What may be large has a generated method."
function keeps_rules(@nospecialize(message))
    found = Violation[]
    check_rules!(found, message, "")
    return isempty(found)
end

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
function unpack(@nospecialize(T::Type), bytes::Vector{UInt8}; limits = MsgPack.Limits())
    message = try
        Reading.read_message(bytes, limits, T)
    catch doubt
        doubt isa Union{Reading.Doubt,ContractError} || rethrow()
        refuse_to_read(T, bytes, limits)
    end
    check_rules(message)
    return message
end
unpack(T::Type, bytes::AbstractVector{UInt8}; limits = MsgPack.Limits()) =
    unpack(T, Vector{UInt8}(bytes); limits = limits)

"""
    unpack_one_of(types, bytes; limits) -> Message

The message that `bytes` hold, one of `types` (tag => type), told apart by its member `type`.
"""
function unpack_one_of(types, bytes; limits = MsgPack.Limits())
    tag = try
        Reading.peek_text(bytes, limits, "type")
    catch doubt
        doubt isa Union{Reading.Doubt,ContractError} || rethrow()
        MsgPack.unpack(bytes; limits = limits)
        ""
    end
    for (name, T) in types
        name == tag && return unpack(T, bytes; limits = limits)
    end
    # What is no MsgPack is that before anything else.
    MsgPack.unpack(bytes; limits = limits)
    refuse([Violation("type", "discriminator", "must be one of $(join(first.(types), ", "))")])
end

"Throw what is wrong with bytes that `Reading` would not take."
function refuse_to_read(@nospecialize(T::Type), bytes::Vector{UInt8}, limits)
    found = Violation[]
    Shapes.check!(found, shape_of(T), MsgPack.unpack(bytes; limits = limits), "")
    isempty(found) && error("$T cannot be read, and nothing is wrong with it")
    refuse(found)
end

"Throw what is wrong with a message beyond its shape."
function check_rules(@nospecialize(message))
    keeps_rules(message) && return nothing
    found = Violation[]
    check_rules!(found, message, "")
    isempty(found) || refuse(found)
    return nothing
end

"""
    pack(message) -> Vector{UInt8}

The bytes of a message: members in the contract's order, absent ones left out. Throws
`ContractError` when the message breaks its own contract.
"""
function pack(@nospecialize(message::Message))
    out = Writing.Writer()
    try
        Writing.write_map(out, message)
    catch doubt
        doubt isa Reading.Doubt || rethrow()
        found = Violation[]
        Shapes.check!(found, shape_of(typeof(message)), message, "")
        isempty(found) ? malformed("a text is not UTF-8") : refuse(found)
    end
    check_rules(message)
    return Writing.finish!(out)
end

# The same bytes without a check, and without code of its own for each type: for what is written only once.
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
function check_rules!(found, @nospecialize(value), field::String)
    T = typeof(value)
    for rule in rules_of(T)
        known = length(found)
        Rules.check!(found, rule, value)
        for i in known+1:length(found)
            at = join(filter(!isempty, [field, found[i].field]), ".")
            found[i] = Violation(at, found[i].rule, found[i].message)
        end
    end
    for index in ruled_members(T)
        member, name = getfield(value, index), String(fieldname(T, index))
        member === nothing && continue
        at = isempty(field) ? name : string(field, '.', name)
        member isa Vector ? check_items!(found, member, at) : check_rules!(found, member, at)
    end
    return nothing
end

"The same for each item of a list; its place is put into words only where something is wrong."
function check_items!(found, @nospecialize(items), field::String)
    for i in 1:length(items)
        known = length(found)
        check_rules!(found, items[i], "")
        for k in known+1:length(found)
            inner = found[k].field
            at = string(field, '[', i - 1, isempty(inner) ? "]" : "].", inner)
            found[k] = Violation(at, found[k].rule, found[k].message)
        end
    end
    return nothing
end

"The members that have rules, or messages with rules within them."
ruled_members(T::Type) = get!(() -> Int[i for i in 1:fieldcount(T) if is_ruled(fieldtype(T, i))], RULED_MEMBERS, T)
const RULED_MEMBERS = IdDict{Any,Vector{Int}}()

function is_ruled(T::Type)
    T isa Union && return is_ruled(T.a) || is_ruled(T.b)
    T <: Vector && return is_ruled(eltype(T))
    return T <: Message && (!isempty(rules_of(T)) || !isempty(ruled_members(T)))
end
