"""
Messages written straight to their bytes: what `Reading` reads. Each value is checked as it is written; one
that its shape does not want raises a `Doubt`, and `pack` (contract.jl) finds the words.

The generated `contracts/messages.jl` has a method of `write_map` for each type of message.
"""
module Writing

Base.Experimental.@optlevel 3

import ..FLOAT64_EXT_TYPE
using ..Reading: doubt, shape
using ..Shapes: Binary, ListOf, Numeric, Record, Series, Text, keeps

mutable struct Writer
    bytes::Vector{UInt8}
    count::Int                            # of the bytes written
end
Writer() = Writer(Vector{UInt8}(undef, 1024), 0)

"What was written; the writer is not used again."
finish!(out::Writer) = resize!(out.bytes, out.count)

"One message within another, and for each type a generated method."
function write_map end

"Make room for `count` bytes; the index of the first of them."
@inline function room!(out::Writer, count::Int)
    first = out.count + 1
    out.count += count
    out.count <= length(out.bytes) || resize!(out.bytes, max(out.count, 2 * length(out.bytes)))
    return first
end

@inline byte!(out::Writer, byte::UInt8) = (out.bytes[room!(out, 1)] = byte; nothing)

@inline function big_endian!(out::Writer, tag::UInt8, value::T) where {T<:Unsigned}
    first, bytes = room!(out, 1 + sizeof(T)), out.bytes
    GC.@preserve bytes begin
        unsafe_store!(pointer(bytes, first), tag)
        unsafe_store!(convert(Ptr{T}, pointer(bytes, first + 1)), hton(value))
    end
    return nothing
end

@inline function copy!(out::Writer, from, byte_count::Int)
    first, bytes = room!(out, byte_count), out.bytes
    GC.@preserve bytes from unsafe_copyto!(pointer(bytes, first), convert(Ptr{UInt8}, pointer(from)), byte_count)
    return nothing
end

count!(out::Writer, count::Int, tag16::UInt8, tag32::UInt8) = count <= 0xffff ?
    big_endian!(out, tag16, UInt16(count)) : count <= 0xffffffff ? big_endian!(out, tag32, UInt32(count)) : doubt()
size!(out::Writer, count::Int, tag8::UInt8, tag16::UInt8, tag32::UInt8) = count <= 0xff ?
    big_endian!(out, tag8, UInt8(count)) : count!(out, count, tag16, tag32)

# ----------------------------------------------------------------------------------------- members

"Begin a map of so many members."
@noinline open_map!(out::Writer, count::Int) =
    count <= 15 ? byte!(out, 0x80 | UInt8(count)) : count!(out, count, 0xde, 0xdf)

"""
Write member `i` of a record, if it is not absent. Not inlined: the methods of `write_map` are compiled for each
type when a worker starts, so they shall be small.
"""
@noinline function member!(out::Writer, record::Record, i::Int, value)
    its = @inbounds record.fields[i]
    plain!(out, its.name)
    item!(out, value, its.shape)
    return nothing
end
member!(::Writer, ::Record, ::Int, ::Nothing) = nothing

"The member that tells the type of a message."
function tag!(out::Writer, record::Record, i::Int)
    plain!(out, record.fields[i].name)
    plain!(out, shape(Text, record, i).choices[1])
end

# ------------------------------------------------------------------------------------------ values

function plain!(out::Writer, text::String)
    count = sizeof(text)
    count <= 31 ? byte!(out, 0xa0 | UInt8(count)) : size!(out, count, 0xd9, 0xda, 0xdb)
    copy!(out, text, count)
end

text!(out::Writer, text::String, shape::Text) = (keeps(shape, text) || doubt(); plain!(out, text))
flag!(out::Writer, value::Bool) = byte!(out, value ? 0xc3 : 0xc2)

function number!(out::Writer, value::Float64, shape::Numeric)
    isfinite(value) && keeps(shape, value) || doubt()
    big_endian!(out, 0xcb, reinterpret(UInt64, value))
end

function whole!(out::Writer, value::Int, shape::Numeric)
    keeps(shape, value) || doubt()
    value > 0xffffffff ? big_endian!(out, 0xcf, UInt64(value)) :
    value > 0xffff ? big_endian!(out, 0xce, UInt32(value)) :
    value > 0xff ? big_endian!(out, 0xcd, UInt16(value)) :
    value > 0x7f ? big_endian!(out, 0xcc, UInt8(value)) :
    value >= -32 ? byte!(out, reinterpret(UInt8, Int8(value))) :
    value >= typemin(Int8) ? big_endian!(out, 0xd0, reinterpret(UInt8, Int8(value))) :
    value >= typemin(Int16) ? big_endian!(out, 0xd1, reinterpret(UInt16, Int16(value))) :
    value >= typemin(Int32) ? big_endian!(out, 0xd2, reinterpret(UInt32, Int32(value))) :
    big_endian!(out, 0xd3, reinterpret(UInt64, value))
end

function binary!(out::Writer, value::Vector{UInt8}, shape::Binary)
    length(value) <= shape.max_bytes || doubt()
    size!(out, length(value), 0xc4, 0xc5, 0xc6)
    copy!(out, value, length(value))
end

function series!(out::Writer, values::Vector{Float64}, shape::Series)
    keeps(shape, values) || doubt()
    count = 8 * length(values)
    count in (1, 2, 4, 8, 16) ? byte!(out, 0xd4 + UInt8(trailing_zeros(count))) :
        size!(out, count, 0xc7, 0xc8, 0xc9)
    byte!(out, reinterpret(UInt8, FLOAT64_EXT_TYPE))
    copy!(out, ENDIAN_BOM == 0x04030201 ? values : map(htol, values), count)
end

function list!(out::Writer, items::Vector, shape::ListOf)
    count = length(items)
    shape.min_items <= count <= shape.max_items || doubt()
    count <= 15 ? byte!(out, 0x90 | UInt8(count)) : count!(out, count, 0xdc, 0xdd)
    for item in items
        item!(out, item, shape.items)
    end
    return nothing
end

item!(out::Writer, value::String, shape) = text!(out, value, shape::Text)
item!(out::Writer, value::Float64, shape) = number!(out, value, shape::Numeric)
item!(out::Writer, value::Int, shape) = whole!(out, value, shape::Numeric)
item!(out::Writer, value::Bool, shape) = flag!(out, value)
item!(out::Writer, value::Vector{UInt8}, shape) = binary!(out, value, shape::Binary)
item!(out::Writer, value::Vector{Float64}, shape) = series!(out, value, shape::Series)
item!(out::Writer, value::Vector, shape) = list!(out, value, shape::ListOf)
item!(out::Writer, value, shape) = write_map(out, value)

end
