"""
Messages read straight from their bytes, in one pass: nothing is made that the message does not hold.

A value that is not exactly what its shape wants, or bytes that are no MsgPack, raise a `Doubt` at once and
without a word. Then `unpack` (contract.jl) reads the message again by way of `MsgPack` and `Shapes`, which
say what is wrong. So whatever is read here has to be just what those two let through.

The generated `contracts/messages.jl` has a method of `read_map` for each type of message.
"""
module Reading

Base.Experimental.@optlevel 3

import ..ContractError, ..FLOAT64_EXT_TYPE, ..MsgPack
using ..Shapes: Shapes, Binary, ListOf, Numeric, Record, Series, Text, keeps

"The message may be at fault: read it in the way that finds words for it."
struct Doubt <: Exception end
@noinline doubt() = throw(Doubt())

mutable struct Reader
    bytes::Vector{UInt8}
    position::Int
    limits::MsgPack.Limits
    depth::Int
    values_left::Int
    strangers::Vector{Tuple{Int,String}}  # members that no shape names, and where their map begins
end
Reader(bytes::Vector{UInt8}, limits::MsgPack.Limits) = Reader(bytes, 1, limits, 0, limits.max_values, Tuple{Int,String}[])

"The message of type `T` that fills `bytes`; raises `Doubt`."
function read_message(bytes::Vector{UInt8}, limits::MsgPack.Limits, @nospecialize(T::Type))
    length(bytes) <= limits.max_bytes || doubt()
    reader = Reader(bytes, limits)
    message = read_map(reader, T)
    reader.position == length(bytes) + 1 || doubt()
    return message
end

"One message within another, and for each type a generated method."
function read_map end

"""
    peek_text(bytes, name) -> String

The text that the member `name` of a map holds; raises `Doubt` where there is none.
"""
function peek_text(bytes::Vector{UInt8}, limits::MsgPack.Limits, name::String)
    reader = MsgPack.Reader(bytes, 1, limits)
    its = Reader(bytes, limits)
    _, count = open_map!(its)
    reader.position = its.position
    for _ in 1:count
        key = MsgPack.unpack_value(reader, 1)
        value = MsgPack.unpack_value(reader, 1)
        key == name && value isa String && return value
    end
    doubt()
end

# ------------------------------------------------------------------------------------------ bytes

"Step over `count` bytes; the index of the first of them."
@inline function step!(its::Reader, count::Int)
    first = its.position
    count <= length(its.bytes) - first + 1 || doubt()
    its.position = first + count
    return first
end

@inline byte!(its::Reader) = @inbounds its.bytes[step!(its, 1)]

@inline function big_endian!(its::Reader, ::Type{T}) where {T<:Unsigned}
    first, bytes = step!(its, sizeof(T)), its.bytes
    return GC.@preserve bytes ntoh(unsafe_load(convert(Ptr{T}, pointer(bytes, first))))
end
@inline size!(its::Reader, ::Type{T}) where {T} = Int(big_endian!(its, T))

function text_bytes!(its::Reader)
    tag = byte!(its)
    0xa0 <= tag <= 0xbf && return Int(tag & 0x1f)
    count = tag == 0xd9 ? size!(its, UInt8) : tag == 0xda ? size!(its, UInt16) :
        tag == 0xdb ? size!(its, UInt32) : doubt()
    return count <= its.limits.max_text_bytes ? count : doubt()
end

"Of an extension value of type 1, when `tag` begins one."
function series_bytes!(its::Reader, tag::UInt8)
    count = 0xd4 <= tag <= 0xd8 ? 1 << (tag - 0xd4) : tag == 0xc7 ? size!(its, UInt8) :
        tag == 0xc8 ? size!(its, UInt16) : tag == 0xc9 ? size!(its, UInt32) : doubt()
    reinterpret(Int8, byte!(its)) == FLOAT64_EXT_TYPE || doubt()
    return count
end

is_bin(tag::UInt8) = 0xc4 <= tag <= 0xc6
bin_bytes!(its::Reader, tag::UInt8) = tag == 0xc4 ? size!(its, UInt8) :
    tag == 0xc5 ? size!(its, UInt16) : size!(its, UInt32)

is_array(tag::UInt8) = 0x90 <= tag <= 0x9f || tag == 0xdc || tag == 0xdd
array_items!(its::Reader, tag::UInt8) = tag == 0xdc ? size!(its, UInt16) :
    tag == 0xdd ? size!(its, UInt32) : Int(tag & 0x0f)

"Go one level down, into a container whose items take at least so many bytes each."
function descend!(its::Reader, count::Int, bytes_per_item::Int)
    its.depth < its.limits.max_depth && count <= its.limits.max_items &&
        count * bytes_per_item <= length(its.bytes) - its.position + 1 || doubt()
    its.depth += 1
    its.values_left -= count
    its.values_left >= 0 || doubt()
    return count
end

# ------------------------------------------------------------------------------------------- maps

"`(where it begins, count)` of the map that comes next."
@noinline function open_map!(its::Reader)
    opened, tag = its.position, byte!(its)
    count = 0x80 <= tag <= 0x8f ? Int(tag & 0x0f) : tag == 0xde ? size!(its, UInt16) :
        tag == 0xdf ? size!(its, UInt32) : doubt()
    return (opened, descend!(its, count, 2))
end

"""
    key!(reader, record, previous, seen, opened) -> Int

Read a key: the number of the member that it names, or 0 after a member that the record does not know. Members
mostly come in the record's order, so the search begins after the previous one. `seen` has the bits of those read.
"""
@noinline function key!(its::Reader, record::Record, previous::Int, seen::Int, opened::Int)
    count = text_bytes!(its)
    first, fields = step!(its, count), record.fields
    i = previous
    while i < length(fields)
        i += 1
        if is_named(its, first, count, @inbounds fields[i].name)
            seen & (1 << i) == 0 || doubt()
            return i
        end
    end
    for i in 1:previous
        is_named(its, first, count, @inbounds fields[i].name) && (seen & (1 << i) == 0 ? (return i) : doubt())
    end
    pass!(its, first, count, opened)
    return 0
end

@inline function is_named(its::Reader, first::Int, count::Int, name::String)
    sizeof(name) == count || return false
    bytes = its.bytes
    GC.@preserve bytes name begin
        given, wanted = pointer(bytes, first), pointer(name)
        count < 8 && return is_same(given, wanted, count)
        # Eight bytes at a time, the last eight once more.
        i = 0
        while i < count - 8
            word(given, i) == word(wanted, i) || return false
            i += 8
        end
        return word(given, count - 8) == word(wanted, count - 8)
    end
end

@inline word(from::Ptr{UInt8}, offset::Int) = unsafe_load(convert(Ptr{UInt64}, from + offset))

@inline function is_same(given::Ptr{UInt8}, wanted::Ptr{UInt8}, count::Int)
    for i in 1:count
        unsafe_load(given, i) == unsafe_load(wanted, i) || return false
    end
    return true
end

"Pass over a member that nobody knows."
@noinline function pass!(its::Reader, first::Int, count::Int, opened::Int)
    name = String(its.bytes[first:first+count-1])
    isvalid(name) && !((opened, name) in its.strangers) || doubt()
    push!(its.strangers, (opened, name))
    reader = MsgPack.Reader(its.bytes, its.position, its.limits, its.values_left)
    MsgPack.unpack_value(reader, its.depth)
    its.position, its.values_left = reader.position, reader.values_left
    return nothing
end

"The end of a map; `required` has the bits of those that it must hold."
@noinline function close_map!(its::Reader, seen::Int, required::Int)
    its.depth -= 1
    seen & required == required || doubt()
    return nothing
end

"The shape of the member number `i`, which is known to be an `S`."
@inline shape(::Type{S}, record::Record, i::Int) where {S} = (@inbounds record.fields[i].shape)::S

# ----------------------------------------------------------------------------------------- values

# Each reads the value of member `i` of a record. None is inlined: the methods of `read_map` are compiled
# for each type when a worker starts, so they shall be small.
@noinline text!(its::Reader, record::Record, i::Int) = text!(its, shape(Text, record, i))
@noinline number!(its::Reader, record::Record, i::Int) = number!(its, shape(Numeric, record, i))
@noinline whole!(its::Reader, record::Record, i::Int) = whole!(its, shape(Numeric, record, i))
@noinline binary!(its::Reader, record::Record, i::Int) = binary!(its, shape(Binary, record, i))
@noinline series!(its::Reader, record::Record, i::Int) = series!(its, shape(Series, record, i))
list!(its::Reader, ::Type{T}, record::Record, i::Int) where {T} = list!(its, T, shape(ListOf, record, i))

@noinline flag!(its::Reader, ::Record, ::Int) = flag!(its)
function flag!(its::Reader)
    tag = byte!(its)
    return tag == 0xc3 ? true : tag == 0xc2 ? false : doubt()
end

function text!(its::Reader, shape::Text)
    count = text_bytes!(its)
    first, bytes = step!(its, count), its.bytes
    for choice in shape.choices
        is_named(its, first, count, choice) && return choice
    end
    text = GC.@preserve bytes unsafe_string(pointer(bytes, first), count)
    keeps(shape, text) || doubt()
    return text
end

function number!(its::Reader, shape::Numeric)
    value = any_number!(its, byte!(its))
    keeps(shape, value) || doubt()
    return Float64(value)
end

function whole!(its::Reader, shape::Numeric)
    value = any_number!(its, byte!(its))
    keeps(shape, value) && -2.0^63 <= value < 2.0^63 || doubt()
    return Int(value)
end

@inline function any_number!(its::Reader, tag::UInt8)
    tag == 0xcb && return finite(reinterpret(Float64, big_endian!(its, UInt64)))
    tag <= 0x7f && return Int(tag)
    return rare_number!(its, tag)
end

@noinline function rare_number!(its::Reader, tag::UInt8)
    tag >= 0xe0 && return Int(reinterpret(Int8, tag))
    tag == 0xca && return finite(Float64(reinterpret(Float32, big_endian!(its, UInt32))))
    tag == 0xcc && return size!(its, UInt8)
    tag == 0xcd && return size!(its, UInt16)
    tag == 0xce && return size!(its, UInt32)
    if tag == 0xcf
        value = big_endian!(its, UInt64)
        return value <= typemax(Int) ? Int(value) : value
    end
    tag == 0xd0 && return Int(reinterpret(Int8, big_endian!(its, UInt8)))
    tag == 0xd1 && return Int(reinterpret(Int16, big_endian!(its, UInt16)))
    tag == 0xd2 && return Int(reinterpret(Int32, big_endian!(its, UInt32)))
    tag == 0xd3 && return reinterpret(Int, big_endian!(its, UInt64))
    doubt()
end

finite(value::Float64) = isfinite(value) ? value : doubt()

function binary!(its::Reader, shape::Binary)
    tag = byte!(its)
    is_bin(tag) || doubt()
    count = bin_bytes!(its, tag)
    first = step!(its, count)
    count <= shape.max_bytes || doubt()
    return its.bytes[first:first+count-1]
end

function series!(its::Reader, shape::Series)
    tag = byte!(its)
    values = is_array(tag) ? listed_numbers!(its, tag) :
        copied_numbers!(its, is_bin(tag) ? bin_bytes!(its, tag) : series_bytes!(its, tag))
    keeps(shape, values) || doubt()
    return values
end

function copied_numbers!(its::Reader, byte_count::Int)
    byte_count % 8 == 0 || doubt()
    first, bytes = step!(its, byte_count), its.bytes
    values = Vector{Float64}(undef, byte_count ÷ 8)
    GC.@preserve bytes values unsafe_copyto!(
        convert(Ptr{UInt8}, pointer(values)), pointer(bytes, first), byte_count)
    ENDIAN_BOM == 0x04030201 || map!(ltoh, values, values)
    return values
end

function listed_numbers!(its::Reader, tag::UInt8)
    count = descend!(its, array_items!(its, tag), 1)
    values = Vector{Float64}(undef, count)
    for i in 1:count
        values[i] = Float64(any_number!(its, byte!(its)))
    end
    its.depth -= 1
    return values
end

function list!(its::Reader, ::Type{T}, shape::ListOf) where {T}
    tag = byte!(its)
    is_array(tag) || doubt()
    count = descend!(its, array_items!(its, tag), 1)
    shape.min_items <= count <= shape.max_items || doubt()
    items = Vector{T}(undef, count)
    for i in 1:count
        items[i] = item!(its, T, shape.items)
    end
    its.depth -= 1
    return items
end

item!(its::Reader, ::Type{String}, shape) = text!(its, shape::Text)
item!(its::Reader, ::Type{Float64}, shape) = number!(its, shape::Numeric)
item!(its::Reader, ::Type{Int}, shape) = whole!(its, shape::Numeric)
item!(its::Reader, ::Type{Bool}, shape) = flag!(its)
item!(its::Reader, ::Type{Vector{UInt8}}, shape) = binary!(its, shape::Binary)
item!(its::Reader, ::Type{Vector{Float64}}, shape) = series!(its, shape::Series)
item!(its::Reader, ::Type{Vector{T}}, shape) where {T} = list!(its, T, shape::ListOf)
item!(its::Reader, ::Type{T}, shape) where {T} = read_map(its, T)

end
