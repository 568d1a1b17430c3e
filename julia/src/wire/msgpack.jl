"""
The MsgPack codec of the compute channel. Strict: whatever the contract does not name is refused.

# Interface

    MsgPack.unpack(bytes; limits = MsgPack.Limits()) -> value
    MsgPack.pack(value) -> Vector{UInt8}
    MsgPack.pack(io, value)

| on the wire                | unpacked                                            | packed from        |
|----------------------------|-----------------------------------------------------|--------------------|
| nil                        | `nothing`                                           | `nothing`, `missing` |
| bool                       | `Bool`                                              | `Bool`             |
| any integer                | `Int64`; `UInt64` above `typemax(Int64)`            | `Integer`, shortest form |
| float 32, float 64         | `Float64`                                           | `AbstractFloat`, always float 64 |
| str                        | `String`                                            | `AbstractString`   |
| bin                        | `Vector{UInt8}`                                     | `Vector{UInt8}`    |
| array                      | `Vector{Any}`                                       | `AbstractVector`, `Tuple` |
| map                        | `Dict{String,Any}`                                  | `AbstractDict` (sorted by key), `NamedTuple` (in order) |
| ext 1 (Float64 series)     | `Vector{Float64}`                                   | `Vector{Float64}`  |

Struct-like writers emit a map field by field, in the contract's order:

    MsgPack.pack_map(io, count)      # then `count` times: pack(io, key); pack(io, value)
    MsgPack.pack_array(io, count)    # then `count` times: pack(io, item)

`float64_series(value, field)` (float64ext.jl) reads any of the three accepted forms of a series.

Refused with `ContractError("MESSAGE_MALFORMED", …)`: trailing bytes, a truncated value, keys that
are not strings or occur twice, text that is no UTF-8, the reserved byte 0xc1, an extension type
other than 1, NaN and infinities (reading and writing), and what is above `Limits`; more than
`max_bytes` is `ContractError("MESSAGE_TOO_LARGE", …)`. A count never makes the reader allocate more
items than bytes are left to read, nor all counts together more than `max_values`.
"""
module MsgPack

import ..ContractError, ..malformed, ..all_finite, ..float64_from_bytes, ..FLOAT64_EXT_TYPE

"What a reader accepts; the defaults are the contract's (`x-limits` of asyncapi.yaml)."
struct Limits
    max_bytes::Int        # of the message
    max_depth::Int        # arrays and maps inside one another
    max_text_bytes::Int   # of one text
    max_items::Int        # of one array or map
    max_values::Int       # of all arrays and maps together
end
Limits(; max_bytes = 64 * 1024 * 1024, max_depth = 32, max_text_bytes = 8 * 1024 * 1024,
    max_items = 65536, max_values = 4 * 1024 * 1024) =
    Limits(max_bytes, max_depth, max_text_bytes, max_items, max_values)

# ---------------------------------------------------------------------------------- reading

mutable struct Reader
    bytes::Vector{UInt8}
    position::Int
    limits::Limits
    values_left::Int
end
Reader(bytes::Vector{UInt8}, position::Int, limits::Limits) = Reader(bytes, position, limits, limits.max_values)

remaining(reader::Reader) = length(reader.bytes) - reader.position + 1

"""
    unpack(bytes; limits = Limits()) -> value

Decode exactly one value that fills `bytes`. Throws `ContractError` and nothing else.
"""
function unpack(bytes::Vector{UInt8}; limits::Limits = Limits())
    length(bytes) <= limits.max_bytes || throw(ContractError("MESSAGE_TOO_LARGE", "",
        "the message has $(length(bytes)) bytes, at most $(limits.max_bytes) are read"))
    reader = Reader(bytes, 1, limits)
    value = unpack_value(reader, 0)
    remaining(reader) == 0 || malformed("$(remaining(reader)) bytes follow the message")
    return value
end
unpack(bytes::AbstractVector{UInt8}; limits::Limits = Limits()) =
    unpack(Vector{UInt8}(bytes); limits = limits)

"Step over `count` bytes; the index of the first of them."
function take!(reader::Reader, count::Integer)
    count <= remaining(reader) || malformed("the message ends inside a value")
    first = reader.position
    reader.position += count
    return first
end

function read_big_endian(reader::Reader, ::Type{T}) where {T<:Unsigned}
    first = take!(reader, sizeof(T))
    value = zero(T)
    for i in first:first + sizeof(T) - 1
        value = (value << 8) | T(@inbounds reader.bytes[i])
    end
    return value
end
# `x << 8` of a UInt8 is 0 by definition of the shift, so one byte needs no loop of its own.

read_size(reader::Reader, ::Type{T}) where {T} = Int(read_big_endian(reader, T))

function unpack_value(reader::Reader, depth::Int)
    tag = @inbounds reader.bytes[take!(reader, 1)]
    tag <= 0x7f && return Int64(tag)
    tag <= 0x8f && return unpack_map(reader, Int(tag & 0x0f), depth)
    tag <= 0x9f && return unpack_array(reader, Int(tag & 0x0f), depth)
    tag <= 0xbf && return unpack_text(reader, Int(tag & 0x1f))
    tag >= 0xe0 && return Int64(reinterpret(Int8, tag))
    tag == 0xc0 && return nothing
    tag == 0xc2 && return false
    tag == 0xc3 && return true
    tag == 0xc4 && return unpack_bin(reader, read_size(reader, UInt8))
    tag == 0xc5 && return unpack_bin(reader, read_size(reader, UInt16))
    tag == 0xc6 && return unpack_bin(reader, read_size(reader, UInt32))
    tag == 0xc7 && return unpack_ext(reader, read_size(reader, UInt8))
    tag == 0xc8 && return unpack_ext(reader, read_size(reader, UInt16))
    tag == 0xc9 && return unpack_ext(reader, read_size(reader, UInt32))
    tag == 0xca && return finite(Float64(reinterpret(Float32, read_big_endian(reader, UInt32))))
    tag == 0xcb && return finite(reinterpret(Float64, read_big_endian(reader, UInt64)))
    tag == 0xcc && return Int64(read_big_endian(reader, UInt8))
    tag == 0xcd && return Int64(read_big_endian(reader, UInt16))
    tag == 0xce && return Int64(read_big_endian(reader, UInt32))
    tag == 0xcf && return narrow(read_big_endian(reader, UInt64))
    tag == 0xd0 && return Int64(reinterpret(Int8, read_big_endian(reader, UInt8)))
    tag == 0xd1 && return Int64(reinterpret(Int16, read_big_endian(reader, UInt16)))
    tag == 0xd2 && return Int64(reinterpret(Int32, read_big_endian(reader, UInt32)))
    tag == 0xd3 && return reinterpret(Int64, read_big_endian(reader, UInt64))
    0xd4 <= tag <= 0xd8 && return unpack_ext(reader, 1 << (tag - 0xd4))
    tag == 0xd9 && return unpack_text(reader, read_size(reader, UInt8))
    tag == 0xda && return unpack_text(reader, read_size(reader, UInt16))
    tag == 0xdb && return unpack_text(reader, read_size(reader, UInt32))
    tag == 0xdc && return unpack_array(reader, read_size(reader, UInt16), depth)
    tag == 0xdd && return unpack_array(reader, read_size(reader, UInt32), depth)
    tag == 0xde && return unpack_map(reader, read_size(reader, UInt16), depth)
    tag == 0xdf && return unpack_map(reader, read_size(reader, UInt32), depth)
    malformed("byte 0xc1 is reserved")
end

finite(value::Float64) = isfinite(value) ? value : malformed("a number is not finite")
narrow(value::UInt64) = value <= typemax(Int64) ? Int64(value) : value

function unpack_text(reader::Reader, byte_count::Int)
    byte_count <= reader.limits.max_text_bytes ||
        malformed("a text has $byte_count bytes, at most $(reader.limits.max_text_bytes) are read")
    first = take!(reader, byte_count)
    text = GC.@preserve reader unsafe_string(pointer(reader.bytes, first), byte_count)
    isvalid(text) || malformed("a text is not UTF-8")
    return text
end

function unpack_bin(reader::Reader, byte_count::Int)
    first = take!(reader, byte_count)
    return reader.bytes[first:first + byte_count - 1]
end

function unpack_ext(reader::Reader, byte_count::Int)
    ext_type = reinterpret(Int8, read_big_endian(reader, UInt8))
    ext_type == FLOAT64_EXT_TYPE || malformed("extension type $ext_type is unknown")
    return float64_from_bytes(reader.bytes, take!(reader, byte_count), byte_count)
end

"Go one level down; refuse nesting beyond the limit and counts that the rest cannot hold."
function descend(reader::Reader, depth::Int, count::Int, bytes_per_item::Int)
    depth < reader.limits.max_depth ||
        malformed("values nest deeper than $(reader.limits.max_depth)")
    count <= reader.limits.max_items ||
        malformed("a container has $count items, at most $(reader.limits.max_items) are read")
    count * bytes_per_item <= remaining(reader) || malformed("the message ends inside a value")
    # A byte may be a whole empty map.
    reader.values_left -= count
    reader.values_left >= 0 || malformed("more than $(reader.limits.max_values) values in all")
    return depth + 1
end

function unpack_array(reader::Reader, count::Int, depth::Int)
    inner = descend(reader, depth, count, 1)
    items = Vector{Any}(undef, count)
    for i in 1:count
        items[i] = unpack_value(reader, inner)
    end
    return items
end

function unpack_map(reader::Reader, count::Int, depth::Int)
    inner = descend(reader, depth, count, 2)
    entries = Dict{String,Any}()
    for _ in 1:count
        key = unpack_value(reader, inner)
        key isa String || malformed("a map key is not a text")
        haskey(entries, key) && malformed("key $(repr(key)) occurs twice")
        entries[key] = unpack_value(reader, inner)
    end
    return entries
end

# ---------------------------------------------------------------------------------- writing

"""
    pack(value) -> Vector{UInt8}
    pack(io, value)

Encode one value. The same value always gives the same bytes. Refuses NaN and infinities.
"""
function pack(value)
    io = IOBuffer()
    pack(io, value)
    return Base.take!(io)
end

pack(io::IO, ::Union{Nothing,Missing}) = (write(io, 0xc0); nothing)
pack(io::IO, value::Bool) = (write(io, value ? 0xc3 : 0xc2); nothing)

function pack(io::IO, value::Integer)
    if value >= 0
        value <= 0x7f ? write(io, UInt8(value)) :
        value <= 0xff ? write(io, 0xcc, UInt8(value)) :
        value <= 0xffff ? write(io, 0xcd, hton(UInt16(value))) :
        value <= 0xffffffff ? write(io, 0xce, hton(UInt32(value))) :
        write(io, 0xcf, hton(UInt64(value)))
    else
        value >= -32 ? write(io, Int8(value)) :
        value >= typemin(Int8) ? write(io, 0xd0, Int8(value)) :
        value >= typemin(Int16) ? write(io, 0xd1, hton(Int16(value))) :
        value >= typemin(Int32) ? write(io, 0xd2, hton(Int32(value))) :
        write(io, 0xd3, hton(Int64(value)))
    end
    return nothing
end

pack(io::IO, value::AbstractFloat) =
    (write(io, 0xcb, hton(reinterpret(UInt64, finite(Float64(value))))); nothing)

function pack(io::IO, text::AbstractString)
    isvalid(text) || malformed("a text is not UTF-8")
    count = sizeof(text)
    count <= 31 ? write(io, 0xa0 | UInt8(count)) : write_size(io, count, 0xd9, 0xda, 0xdb)
    write(io, text)
    return nothing
end

function pack(io::IO, bytes::AbstractVector{UInt8})
    write_size(io, length(bytes), 0xc4, 0xc5, 0xc6)
    write(io, bytes)
    return nothing
end

function pack(io::IO, values::Vector{Float64})
    all_finite(values) || malformed("a Float64 series has a value that is not finite")
    count = 8 * length(values)
    count in (1, 2, 4, 8, 16) ? write(io, 0xd4 + UInt8(trailing_zeros(count))) :
    write_size(io, count, 0xc7, 0xc8, 0xc9)
    write(io, FLOAT64_EXT_TYPE)
    write(io, ENDIAN_BOM == 0x04030201 ? values : map(htol, values))
    return nothing
end

function pack(io::IO, @nospecialize(items::Union{AbstractVector,Tuple}))
    pack_array(io, length(items))
    for i in 1:length(items)
        pack(io, items[i])
    end
end

function pack(io::IO, entries::AbstractDict)
    pack_map(io, length(entries))
    # A Dict has no order; sorting makes equal values equal bytes.
    for key in sort!(String[string(key) for key in keys(entries)])
        pack(io, key)
        pack(io, entries[key])
    end
end

function pack(io::IO, entries::NamedTuple)
    pack_map(io, length(entries))
    for key in keys(entries)
        pack(io, String(key))
        pack(io, entries[key])
    end
end

pack_map(io::IO, count::Integer) =
    (count <= 15 ? write(io, 0x80 | UInt8(count)) : write_count(io, count, 0xde, 0xdf); nothing)
pack_array(io::IO, count::Integer) =
    (count <= 15 ? write(io, 0x90 | UInt8(count)) : write_count(io, count, 0xdc, 0xdd); nothing)

function write_size(io::IO, count::Integer, tag8::UInt8, tag16::UInt8, tag32::UInt8)
    count <= 0xff ? write(io, tag8, UInt8(count)) : write_count(io, count, tag16, tag32)
end

function write_count(io::IO, count::Integer, tag16::UInt8, tag32::UInt8)
    count <= 0xffff ? write(io, tag16, hton(UInt16(count))) :
    count <= 0xffffffff ? write(io, tag32, hton(UInt32(count))) :
    throw(ContractError("MESSAGE_TOO_LARGE", "", "$count items do not fit a MsgPack value"))
end

end
