"""
Zstandard by the C library. `decompress` never holds more than `max_bytes` of output, whatever the
frame declares or turns out to hold.

The library is the one named by `GRIDPACT_LIBZSTD`, or else the system's.
"""
module Zstd

using Libdl
import ..ContractError, ..malformed

const CONTENT_SIZE_UNKNOWN = typemax(UInt64)
const CONTENT_SIZE_ERROR = typemax(UInt64) - 1
const PARAMETER_WINDOW_LOG_MAX = Cint(100)
# A window of 8 MiB is what levels up to 19 use; a larger one is only a way to make us allocate.
const WINDOW_LOG_MAX = Cint(23)

mutable struct Buffer   # ZSTD_inBuffer and ZSTD_outBuffer have the same layout
    bytes::Ptr{UInt8}
    size::Csize_t
    position::Csize_t
end

"Entry points of the library, looked up once a process."
const ENTRY = Dict{Symbol,Ptr{Cvoid}}()

function entry(name::Symbol)
    return get!(ENTRY, name) do
        configured = get(ENV, "GRIDPACT_LIBZSTD", "")
        path = isempty(configured) ? Libdl.find_library(["libzstd.so.1", "libzstd"]) : configured
        isempty(path) && error("no Zstandard library found; set GRIDPACT_LIBZSTD")
        Libdl.dlsym(Libdl.dlopen(path), name)
    end
end

is_error(code::Csize_t) = ccall(entry(:ZSTD_isError), Cuint, (Csize_t,), code) != 0
error_name(code::Csize_t) =
    unsafe_string(ccall(entry(:ZSTD_getErrorName), Cstring, (Csize_t,), code))

"Compress `bytes` to one frame that declares its content size."
function compress(bytes::Vector{UInt8}; level::Integer = 3)
    bound = ccall(entry(:ZSTD_compressBound), Csize_t, (Csize_t,), length(bytes))
    frame = Vector{UInt8}(undef, bound)
    size = ccall(entry(:ZSTD_compress), Csize_t,
        (Ptr{UInt8}, Csize_t, Ptr{UInt8}, Csize_t, Cint),
        frame, bound, bytes, length(bytes), level)
    is_error(size) && error("Zstandard cannot compress: $(error_name(size))")
    return resize!(frame, size)
end

too_large(max_bytes) = throw(ContractError("MESSAGE_TOO_LARGE", "",
    "the compressed message holds more than $max_bytes bytes"))

"""
    decompress(frame, max_bytes) -> Vector{UInt8}

The content of exactly one frame. Refuses, as `ContractError`, content above `max_bytes` (before
allocating it when the frame declares its size), a damaged or truncated frame, and trailing bytes.
"""
function decompress(frame::Vector{UInt8}, max_bytes::Int)
    declared = ccall(entry(:ZSTD_getFrameContentSize), Culonglong,
        (Ptr{UInt8}, Csize_t), frame, length(frame))
    declared == CONTENT_SIZE_ERROR && malformed("the message is no Zstandard frame")
    declared != CONTENT_SIZE_UNKNOWN && declared > max_bytes && too_large(max_bytes)
    context = ccall(entry(:ZSTD_createDCtx), Ptr{Cvoid}, ())
    context == C_NULL && throw(OutOfMemoryError())
    try
        ccall(entry(:ZSTD_DCtx_setParameter), Csize_t, (Ptr{Cvoid}, Cint, Cint),
            context, PARAMETER_WINDOW_LOG_MAX, WINDOW_LOG_MAX)
        return decompress_stream(context, frame, Int(min(declared, max_bytes)), max_bytes)
    finally
        ccall(entry(:ZSTD_freeDCtx), Csize_t, (Ptr{Cvoid},), context)
    end
end

function decompress_stream(context::Ptr{Cvoid}, frame::Vector{UInt8}, expected::Int, max_bytes::Int)
    # The declared size is a claim: start with what the input makes plausible, then double. One byte
    # of room beyond the limit tells "exactly at the limit" from "above it".
    content = Vector{UInt8}(undef, min(expected, max(65536, 16 * length(frame))))
    input = Buffer(pointer(frame), length(frame), 0)
    output = Buffer(C_NULL, 0, 0)
    GC.@preserve frame while true
        before = (input.position, output.position)
        GC.@preserve content begin
            output.bytes, output.size = pointer(content), length(content)
            left = ccall(entry(:ZSTD_decompressStream), Csize_t,
                (Ptr{Cvoid}, Ref{Buffer}, Ref{Buffer}), context, output, input)
        end
        is_error(left) && malformed("the Zstandard frame is damaged: $(error_name(left))")
        output.position > max_bytes && too_large(max_bytes)
        if left == 0
            input.position == length(frame) || malformed("bytes follow the Zstandard frame")
            return resize!(content, output.position)
        elseif output.position == length(content)
            resize!(content, min(max_bytes + 1, max(65536, 2 * length(content))))
        elseif (input.position, output.position) == before
            malformed("the Zstandard frame is cut off")
        end
    end
end

end
