"""
A WebSocket server connection (RFC 6455) for binary messages.

    connection = WebSocket.accept(socket, limits; authorize)   # handshake
    message = WebSocket.receive(connection)                    # Vector{UInt8}, or nothing at the end
    WebSocket.send(connection, bytes)                          # queues, never blocks
    WebSocket.close(connection, code, text)
    WebSocket.finish(connection)                               # when nothing more is received

Everything a peer can do wrong ends the connection with the close code the RFC gives it, and never
throws into the server: frames without mask (1002), reserved bits and opcodes (1002), broken
fragmentation (1002), text that is no UTF-8 (1007), text at all (1003), messages above the limit
(1009), more control frames or fragments than the budget (1008). A peer that sends nothing for
`silence_timeout_s` is cut off; so is one that leaves more than `send_buffer_bytes` unread.
"""
module WebSocket

using Sockets
using SHA: sha1
using Base64: base64encode, base64decode

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

const CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xa

const NORMAL = 1000
const GOING_AWAY = 1001
const PROTOCOL_ERROR = 1002
const UNSUPPORTED_DATA = 1003
const INVALID_PAYLOAD = 1007
const POLICY_VIOLATION = 1008
const MESSAGE_TOO_BIG = 1009
const INTERNAL_ERROR = 1011

"What a peer may ask of us."
struct Limits
    message_bytes::Int
    header_bytes::Int
    handshake_timeout_s::Float64
    silence_timeout_s::Float64
    send_buffer_bytes::Int
    control_frames_per_s::Float64   # sustained; bursts of ten times that are accepted
    message_fragments::Int
end
Limits(; message_bytes = 64 * 1024 * 1024, header_bytes = 8192, handshake_timeout_s = 5.0,
    silence_timeout_s = 15.0, send_buffer_bytes = 64 * 1024 * 1024, control_frames_per_s = 20.0,
    message_fragments = 65536) =
    Limits(message_bytes, header_bytes, handshake_timeout_s, silence_timeout_s, send_buffer_bytes,
        control_frames_per_s, message_fragments)

"The peer broke the protocol; the connection ends with this close code."
struct Violation <: Exception
    code::Int
    text::String
end

violate(code, text) = throw(Violation(code, text))

# ------------------------------------------------------------------------------------ handshake

"An upgrade request: target and headers, names in lower case."
struct Request
    method::String
    target::String
    headers::Vector{Pair{String,String}}
end

"The values of one header, in order."
values_of(request::Request, name) = String[value for (key, value) in request.headers if key == name]

"The only value of a header; `nothing` when it is absent or repeated."
function value_of(request::Request, name)
    values = values_of(request, name)
    return length(values) == 1 ? values[1] : nothing
end

has_token(request::Request, name, token) = any(values_of(request, name)) do value
    any(part -> lowercase(strip(part)) == token, split(value, ','))
end

"Why a request is not upgraded: the HTTP status to answer, and the reason for the log."
struct Refused <: Exception
    status::Int
    text::String
end

const STATUS_TEXT = Dict(400 => "Bad Request", 401 => "Unauthorized", 403 => "Forbidden",
    404 => "Not Found", 405 => "Method Not Allowed", 426 => "Upgrade Required",
    431 => "Request Header Fields Too Large", 503 => "Service Unavailable")

"Read the request head byte for byte: what follows it already belongs to the first frame."
function read_request(io::IO, limits::Limits)
    head = UInt8[]
    while !(length(head) >= 4 && @views head[end-3:end] == b"\r\n\r\n")
        length(head) < limits.header_bytes || throw(Refused(431, "header too large"))
        push!(head, read(io, UInt8))
    end
    text = String(head[1:end-4])        # cut as bytes: the last character may have several
    isvalid(text) || throw(Refused(400, "header is not UTF-8"))
    lines = split(text, "\r\n")
    first_line = split(lines[1], ' ')
    length(first_line) == 3 && first_line[3] == "HTTP/1.1" ||
        throw(Refused(400, "no HTTP/1.1 request line"))
    headers = Pair{String,String}[]
    for line in @view lines[2:end]
        m = match(r"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)$", line)
        m === nothing && throw(Refused(400, "broken header line"))
        push!(headers, lowercase(m.captures[1]) => String(rstrip(m.captures[2])))
    end
    return Request(first_line[1], first_line[2], headers)
end

accept_key(key::AbstractString) = base64encode(sha1(key * GUID))

is_key(key) = key !== nothing && occursin(r"^[A-Za-z0-9+/]{22}==$", key)

function check_upgrade(request::Request)
    request.method == "GET" || throw(Refused(405, "method is not GET"))
    value_of(request, "host") === nothing && throw(Refused(400, "no single Host"))
    isempty(values_of(request, "transfer-encoding")) &&
        all(==("0"), values_of(request, "content-length")) || throw(Refused(400, "request has a body"))
    has_token(request, "upgrade", "websocket") && has_token(request, "connection", "upgrade") ||
        throw(Refused(426, "no WebSocket upgrade"))
    value_of(request, "sec-websocket-version") == "13" || throw(Refused(426, "version is not 13"))
    is_key(value_of(request, "sec-websocket-key")) || throw(Refused(400, "no valid key"))
    return nothing
end

# ----------------------------------------------------------------------------------- connection

mutable struct Connection
    socket::TCPSocket
    limits::Limits
    last_receive_s::Float64
    control_credit::Float64      # token bucket of control frames
    control_credit_s::Float64
    outbox::Vector{Vector{UInt8}}
    outbox_bytes::Int
    outbox_changed::Condition
    close_sent::Bool
    close_received::Bool
    ended::Bool
    end_text::String             # why it ended, for the log
    watchdog::Union{Timer,Nothing}
end

now_s() = time_ns() / 1e9

is_open(connection::Connection) = !connection.ended && !connection.close_sent

"""
    accept(socket, limits; authorize) -> Connection

Answer the upgrade request. `authorize(request)` returns nothing, or throws `Refused`. Throws
`Refused` after having answered with its status; the socket is then closed.
"""
function accept(socket::TCPSocket, limits::Limits; authorize = request -> nothing)
    deadline = Timer(_ -> hang_up(socket), limits.handshake_timeout_s)
    try
        request = read_request(socket, limits)
        check_upgrade(request)
        authorize(request)
        write(socket, string("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
            "Connection: Upgrade\r\nSec-WebSocket-Accept: ",
            accept_key(value_of(request, "sec-websocket-key")), "\r\n\r\n"))
    catch err
        err isa Refused && answer_refusal(socket, err)
        Base.close(socket)
        err isa Union{EOFError,Base.IOError} &&
            throw(Refused(400, "the peer went away or took too long in the handshake"))
        rethrow()
    finally
        Base.close(deadline)
    end
    Sockets.nagle(socket, false)
    now = now_s()
    connection = Connection(socket, limits, now, 10 * limits.control_frames_per_s, now,
        Vector{UInt8}[], 0, Condition(), false, false, false,
        "", nothing)
    @async write_outbox(connection)
    interval_s = limits.silence_timeout_s / 4
    connection.watchdog = Timer(_ -> watch(connection), interval_s; interval = interval_s)
    return connection
end

function answer_refusal(socket, refused::Refused)
    extra = refused.status == 401 ? "WWW-Authenticate: Bearer\r\n" :
            refused.status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" : ""
    try
        write(socket, string("HTTP/1.1 ", refused.status, " ", STATUS_TEXT[refused.status],
            "\r\n", extra, "Content-Length: 0\r\nConnection: close\r\n\r\n"))
    catch err
        err isa Base.IOError || rethrow()   # the peer did not wait for the answer
    end
end

"Drop the connection now, whatever is unsent."
function abort(connection::Connection, text)
    connection.ended && return
    connection.ended = true
    connection.end_text = text
    connection.watchdog === nothing || Base.close(connection.watchdog)
    notify(connection.outbox_changed)
    hang_up(connection.socket)
    return nothing
end

const SHUT_BOTH_WAYS = 2

"Close a socket at once. `Base.close` alone would first wait until the peer has read everything."
function hang_up(socket::TCPSocket)
    isopen(socket) && ccall(:shutdown, Cint, (RawFD, Cint), Base._fd(socket), SHUT_BOTH_WAYS)
    Base.close(socket)
    return nothing
end

function watch(connection::Connection)
    silent_s = now_s() - connection.last_receive_s
    if silent_s > connection.limits.silence_timeout_s
        abort(connection, "peer silent for $(round(silent_s; digits = 1)) s")
    end
end

# -------------------------------------------------------------------------------------- sending

function frame(opcode::UInt8, payload::Vector{UInt8})
    count = length(payload)
    io = IOBuffer(sizehint = count + 10)
    write(io, 0x80 | opcode)
    count <= 125 ? write(io, UInt8(count)) :
    count <= 0xffff ? write(io, 0x7e, hton(UInt16(count))) :
    write(io, 0x7f, hton(UInt64(count)))
    write(io, payload)
    return take!(io)
end

function enqueue(connection::Connection, bytes::Vector{UInt8})
    connection.ended && return nothing
    if connection.outbox_bytes + length(bytes) > connection.limits.send_buffer_bytes
        return abort(connection, "peer leaves $(connection.outbox_bytes) bytes unread")
    end
    push!(connection.outbox, bytes)
    connection.outbox_bytes += length(bytes)
    notify(connection.outbox_changed)
    return nothing
end

"Queue one binary message. A peer that does not read is cut off, so this never blocks or throws."
send(connection::Connection, payload::Vector{UInt8}) =
    is_open(connection) ? enqueue(connection, frame(BINARY, payload)) : nothing

"The one task that writes to the socket."
function write_outbox(connection::Connection)
    try
        while !connection.ended
            if isempty(connection.outbox)
                connection.close_sent && connection.close_received &&
                    return abort(connection, connection.end_text)
                wait(connection.outbox_changed)
            else
                bytes = connection.outbox[1]
                write(connection.socket, bytes)
                # Counted until the kernel took it: what is being written is unread as well.
                connection.outbox_bytes -= length(popfirst!(connection.outbox))
            end
        end
    catch err
        err isa Union{Base.IOError,EOFError,ArgumentError} || rethrow()
        abort(connection, "cannot write: $(sprint(showerror, err))")
    end
end

"How long a peer may take to read our close frame and what is queued before it."
const CLOSE_GRACE_S = 1.0

"Send a close frame behind what is queued, then end the connection; the first caller's code counts."
function close(connection::Connection, code::Integer, text::AbstractString = "")
    is_open(connection) || return nothing
    payload = UInt8[code >> 8, code & 0xff]
    append!(payload, codeunits(text)[1:min(end, 123)])
    enqueue(connection, frame(CLOSE, payload))
    connection.close_sent = true
    isempty(connection.end_text) && (connection.end_text = "closed with $code $text")
    notify(connection.outbox_changed)
    Timer(_ -> abort(connection, connection.end_text), CLOSE_GRACE_S)
    return nothing
end


# ------------------------------------------------------------------------------------ receiving

struct Header
    final::Bool
    opcode::UInt8
    payload_bytes::Int
    mask::NTuple{4,UInt8}
end

function read_header(connection::Connection)
    socket = connection.socket
    first, second = read(socket, UInt8), read(socket, UInt8)
    connection.last_receive_s = now_s()
    opcode = first & 0x0f
    first & 0x70 == 0 || violate(PROTOCOL_ERROR, "reserved bit set")
    opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG) ||
        violate(PROTOCOL_ERROR, "reserved opcode")
    second & 0x80 != 0 || violate(PROTOCOL_ERROR, "frame without mask")
    count = UInt64(second & 0x7f)
    if opcode >= CLOSE
        first & 0x80 != 0 || violate(PROTOCOL_ERROR, "fragmented control frame")
        count <= 125 || violate(PROTOCOL_ERROR, "control frame too long")
    elseif count == 126
        count = UInt64(ntoh(read(socket, UInt16)))
        count > 125 || violate(PROTOCOL_ERROR, "length not in its shortest form")
    elseif count == 127
        count = ntoh(read(socket, UInt64))
        0xffff < count <= typemax(Int64) || violate(PROTOCOL_ERROR, "length not in its shortest form")
    end
    # Refused here, before a byte of it is read or room for it is made.
    count <= connection.limits.message_bytes || violate(MESSAGE_TOO_BIG, "frame too big")
    mask = (read(socket, UInt8), read(socket, UInt8), read(socket, UInt8), read(socket, UInt8))
    return Header(first & 0x80 != 0, opcode, Int(count), mask)
end

const CHUNK_BYTES = 65536

"Append a frame's payload to `message`. Room is made for what has arrived, not for what is claimed."
function read_payload!(message::Vector{UInt8}, connection::Connection, header::Header)
    start = length(message)
    done = 0
    while done < header.payload_bytes
        count = min(CHUNK_BYTES, header.payload_bytes - done)
        resize!(message, start + done + count)
        GC.@preserve message unsafe_read(
            connection.socket, pointer(message, start + done + 1), UInt(count))
        connection.last_receive_s = now_s()
        done += count
    end
    unmask!(message, start, done, header.mask)
    return message
end

function unmask!(bytes::Vector{UInt8}, start::Int, count::Int, mask::NTuple{4,UInt8})
    word = reinterpret(UInt64, [mask..., mask...])[1]
    words = count ÷ 8
    GC.@preserve bytes begin
        target = convert(Ptr{UInt64}, pointer(bytes, start + 1))
        for i in 1:words
            unsafe_store!(target, unsafe_load(target, i) ⊻ word, i)
        end
    end
    for i in 8 * words + 1:count
        @inbounds bytes[start + i] ⊻= mask[(i - 1) % 4 + 1]
    end
    return bytes
end

"Control frames cost the sender nothing and us an answer: a token bucket bounds them."
function charge_control_frame(connection::Connection)
    rate = connection.limits.control_frames_per_s
    now = now_s()
    connection.control_credit = min(10 * rate,
        connection.control_credit + rate * (now - connection.control_credit_s)) - 1
    connection.control_credit_s = now
    connection.control_credit >= 0 || violate(POLICY_VIOLATION, "too many control frames")
    return nothing
end

is_close_code(code) =
    code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014) ||
    3000 <= code <= 4999

function answer_close(connection::Connection, payload::Vector{UInt8})
    connection.close_received = true
    isempty(payload) && return close(connection, NORMAL)
    length(payload) >= 2 || violate(PROTOCOL_ERROR, "close frame of one byte")
    code = Int(payload[1]) << 8 | payload[2]
    is_close_code(code) || violate(PROTOCOL_ERROR, "close code $code")
    isvalid(String(payload[3:end])) || violate(INVALID_PAYLOAD, "close text is not UTF-8")
    connection.end_text = "peer closed with $code"
    return close(connection, code)
end

"""
    receive(connection) -> Vector{UInt8} or nothing

The next binary message; nothing once the connection has ended, for whatever reason
(`connection.end_text` says which). Pings are answered on the way.
"""
function receive(connection::Connection)
    try
        return receive_message(connection)
    catch err
        if err isa Violation
            connection.end_text = "peer violates the protocol: $(err.text)"
            close(connection, err.code, err.text)
        elseif err isa Union{EOFError,Base.IOError,ArgumentError}
            abort(connection, isempty(connection.end_text) ? "peer went away" : connection.end_text)
        else
            abort(connection, "internal error")
            rethrow()
        end
        return nothing
    end
end

"""
    finish(connection)

End the connection, if it has not ended by itself, and return when its socket is closed. Reads on
without looking until the peer hangs up or the grace is over: a socket closed with bytes unread would
reset the connection, and the peer might never see our close frame.
"""
function finish(connection::Connection)
    close(connection, INTERNAL_ERROR)
    try
        while !eof(connection.socket)
            readavailable(connection.socket)
        end
    catch err
        err isa Union{Base.IOError,EOFError,ArgumentError} || rethrow()
    end
    abort(connection, connection.end_text)
end

function receive_message(connection::Connection)
    message = UInt8[]
    opcode = CONTINUATION        # of the message being read; CONTINUATION means none is
    fragments = 0
    while true
        header = read_header(connection)
        if header.opcode >= CLOSE
            charge_control_frame(connection)
            payload = read_payload!(UInt8[], connection, header)
            if header.opcode == CLOSE
                answer_close(connection, payload)
                return nothing
            elseif header.opcode == PING
                is_open(connection) && enqueue(connection, frame(PONG, payload))
            end
            continue
        end
        if header.opcode == CONTINUATION
            opcode != CONTINUATION || violate(PROTOCOL_ERROR, "continuation of nothing")
        else
            opcode == CONTINUATION || violate(PROTOCOL_ERROR, "message inside a message")
            opcode = header.opcode
        end
        fragments += 1
        fragments <= connection.limits.message_fragments ||
            violate(POLICY_VIOLATION, "too many fragments")
        length(message) + header.payload_bytes <= connection.limits.message_bytes ||
            violate(MESSAGE_TOO_BIG, "message too big")
        read_payload!(message, connection, header)
        header.final || continue
        opcode == BINARY && return message
        isvalid(String(message)) || violate(INVALID_PAYLOAD, "text is not UTF-8")
        violate(UNSUPPORTED_DATA, "only binary messages are understood")
    end
end

end
