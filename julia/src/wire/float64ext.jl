# A Float64 series on the wire: extension type 1 holding little-endian IEEE-754 bytes.
# Decoding is one copy and one pass that looks for values that are not finite.

const FLOAT64_EXT_TYPE = Int8(1)

"True when no element is NaN or infinite."
function all_finite(values::Vector{Float64})
    finite = true
    # `&`, no early exit: the loop is vectorised. A floating-point sum under @simd would not do,
    # because the compiler may then assume that there is no NaN.
    @inbounds @simd for i in eachindex(values)
        finite &= isfinite(values[i])
    end
    return finite
end

"""
    float64_from_bytes(bytes, first, byte_count) -> Vector{Float64}

Copy `byte_count` little-endian bytes starting at index `first`. Refuses a length that is no multiple
of 8, and NaN and infinities.
"""
function float64_from_bytes(bytes::Vector{UInt8}, first::Int, byte_count::Int)
    byte_count % 8 == 0 || malformed("a Float64 series has $byte_count bytes, no multiple of 8")
    values = Vector{Float64}(undef, byte_count ÷ 8)
    GC.@preserve bytes values unsafe_copyto!(
        convert(Ptr{UInt8}, pointer(values)), pointer(bytes, first), byte_count)
    ENDIAN_BOM == 0x04030201 || map!(ltoh, values, values)
    all_finite(values) || malformed("a Float64 series has a value that is not finite")
    return values
end

"""
    float64_series(value, field) -> Vector{Float64}

Read one decoded value as a series: the extension type (already a `Vector{Float64}`), a plain array
of numbers, or `bin` with the bytes of the extension type.
"""
float64_series(values::Vector{Float64}, field) = values
float64_series(bytes::Vector{UInt8}, field) = float64_from_bytes(bytes, 1, length(bytes))
float64_series(value, field) =
    malformed("expected a series of numbers, found $(typeof(value))"; field = field)
function float64_series(items::Vector{Any}, field)
    values = Vector{Float64}(undef, length(items))
    for (i, item) in enumerate(items)
        # Bool is an Integer in Julia, not in the contract.
        (item isa Real && !(item isa Bool)) ||
            malformed("expected a number, found $(typeof(item))"; field = "$field[$(i - 1)]")
        values[i] = item
    end
    return values
end
