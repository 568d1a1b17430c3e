# The local socket between the front process and one worker: a byte that says what, a length, bytes.
#
# To the worker: TASK. From the worker: READY once, then for each task any number of PROGRESS and one
# RESULT or ERROR. The bytes are messages of the contract, so the front passes them on as they are.

const TASK, READY, PROGRESS, RESULT, ERROR = 0x01, 0x02, 0x03, 0x04, 0x05

function write_link(io::IO, tag::UInt8, payload::Vector{UInt8})
    frame = IOBuffer(sizehint = length(payload) + 5)
    write(frame, tag, UInt32(length(payload)), payload)
    write(io, take!(frame))
    return nothing
end

"The next `(tag, payload)`; throws `EOFError` when the other side has gone."
function read_link(io::IO)
    tag = read(io, UInt8)
    count = read(io, UInt32)
    payload = read(io, count)
    length(payload) == count || throw(EOFError())
    return tag, payload
end
