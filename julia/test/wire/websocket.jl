# A hostile client: raw sockets and hand-made frames against the server side.

using GridpactCompute: WebSocket
using Sockets

const KEY = "dGhlIHNhbXBsZSBub25jZQ=="      # of RFC 6455, as is the answer to it
const ANSWER = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

const UPGRADE = ["GET /compute HTTP/1.1", "Host: localhost", "Upgrade: websocket",
    "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: $KEY"]

quick(; options...) = WebSocket.Limits(; message_bytes = 100_000, handshake_timeout_s = 2.0,
    silence_timeout_s = 30.0, options...)

"Serve one connection; `talk(socket)` is the client. Returns what the server saw and why it ended."
function against(talk, limits = quick(); echo = true, authorize = request -> nothing)
    port, listener = listenany(ip"127.0.0.1", 0)
    received = Vector{UInt8}[]
    server = @async begin
        connection = try
            WebSocket.accept(accept(listener), limits; authorize = authorize)
        catch err
            err isa WebSocket.Refused || rethrow()
            return "refused: $(err.status) $(err.text)"
        end
        while (message = WebSocket.receive(connection)) !== nothing
            push!(received, message)
            echo && WebSocket.send(connection, message)
        end
        WebSocket.finish(connection)
        return connection.end_text
    end
    socket = connect(ip"127.0.0.1", port)
    deadline = Timer(_ -> close(socket), 20.0)      # a test that would wait for ever fails instead
    try
        talk(socket)
    finally
        close(deadline)
        close(socket)
        close(listener)
    end
    @test eventually(() -> istaskdone(server))
    return (received = received, ended = fetch(server))
end

request(socket, lines) = write(socket, join(lines, "\r\n") * "\r\n\r\n")
status(socket) = parse(Int, split(readuntil(socket, "\r\n\r\n"), ' ')[2])

function handshake(socket)
    request(socket, UPGRADE)
    head = readuntil(socket, "\r\n\r\n")
    @test startswith(head, "HTTP/1.1 101 ") && occursin("Sec-WebSocket-Accept: $ANSWER", head)
end

"A client's frame; the mask is one that changes every byte."
function client_frame(opcode, payload; final = true, reserved = 0x00, mask = UInt8[0x37, 0xfa, 0x21, 0x3d],
        masked = true, size = length(payload), long = false)
    io = IOBuffer()
    write(io, (final ? 0x80 : 0x00) | reserved | UInt8(opcode))
    bit = masked ? 0x80 : 0x00
    long ? write(io, bit | 0x7f, hton(UInt64(size))) :
    size <= 125 ? write(io, bit | UInt8(size)) :
    size <= 0xffff ? write(io, bit | 0x7e, hton(UInt16(size))) :
    write(io, bit | 0x7f, hton(UInt64(size)))
    masked && write(io, mask)
    write(io, masked ? UInt8[payload[i] ⊻ mask[(i - 1) % 4 + 1] for i in eachindex(payload)] : payload)
    return take!(io)
end
client_frame(opcode, text::String; options...) = client_frame(opcode, Vector{UInt8}(text); options...)

"The next frame from the server as `(opcode, payload)`."
function server_frame(socket)
    first, second = read(socket, UInt8), read(socket, UInt8)
    count = second == 126 ? Int(ntoh(read(socket, UInt16))) :
            second == 127 ? Int(ntoh(read(socket, UInt64))) : Int(second)
    @test second & 0x80 == 0        # a server never masks
    return first & 0x0f, read(socket, count)
end

"The code of the close frame that answers `bytes`; pongs and echoes before it are passed over."
function close_code(bytes, limits = quick())
    code = 0
    against(limits) do socket
        handshake(socket)
        try
            write(socket, bytes)
        catch err
            err isa Base.IOError || rethrow()       # it may hang up before it has read all
        end
        opcode, payload = server_frame(socket)
        while opcode != WebSocket.CLOSE
            opcode, payload = server_frame(socket)
        end
        code = Int(payload[1]) << 8 | payload[2]
    end
    return code
end

closing(code, text = "") = client_frame(WebSocket.CLOSE, [UInt8[code >> 8, code & 0xff]; codeunits(text)])

@testset "an upgrade is answered as the RFC says, and messages come back whole" begin
    dice = Dice(5)
    sizes = (0, 1, 125, 126, 127, 65535, 65536, 100_000)
    seen = against() do socket
        handshake(socket)
        for size in sizes
            payload = roll_bytes(dice, size)
            write(socket, client_frame(WebSocket.BINARY, payload))
            @test server_frame(socket) == (WebSocket.BINARY, payload)
        end
        write(socket, closing(1000))
        @test server_frame(socket) == (WebSocket.CLOSE, UInt8[0x03, 0xe8])
        @test eof(socket)
    end
    @test length.(seen.received) == collect(sizes)
    @test seen.ended == "peer closed with 1000"
end

@testset "what follows the request at once is not lost" begin
    seen = against() do socket
        write(socket, join(UPGRADE, "\r\n") * "\r\n\r\n", client_frame(WebSocket.BINARY, "at once"))
        readuntil(socket, "\r\n\r\n")
        @test server_frame(socket) == (WebSocket.BINARY, b"at once")
    end
    @test seen.received == [b"at once"]
end

@testset "one-byte slices and fragments make the same message" begin
    seen = against() do socket
        handshake(socket)
        bytes = vcat(client_frame(WebSocket.BINARY, "frag"; final = false),
            client_frame(WebSocket.PING, "in between"),
            client_frame(WebSocket.CONTINUATION, ""; final = false),
            client_frame(WebSocket.CONTINUATION, "ments"))
        for byte in bytes
            write(socket, byte)
        end
        @test server_frame(socket) == (WebSocket.PONG, b"in between")
        @test server_frame(socket) == (WebSocket.BINARY, b"fragments")
    end
    @test seen.received == [b"fragments"]
end

@testset "requests that are no upgrade are refused" begin
    without(name) = filter(line -> !startswith(line, name), UPGRADE)
    cases = [
        403 => UPGRADE,                                             # refused by `authorize`
        405 => ["POST /compute HTTP/1.1"; UPGRADE[2:end]],
        400 => ["GET /compute HTTP/1.0"; UPGRADE[2:end]],
        400 => ["GET /compute"; UPGRADE[2:end]],
        400 => without("Host"),
        400 => [UPGRADE; "Host: another"],
        400 => [UPGRADE; "Content-Length: 5"],
        400 => [UPGRADE; "Transfer-Encoding: chunked"],
        400 => [UPGRADE; "Bad Name: x"],
        400 => [UPGRADE; "Name : x"],
        400 => [UPGRADE; " folded"],
        400 => [UPGRADE; "Name: \x01"],
        400 => [UPGRADE; "Name: \xff"],
        403 => [UPGRADE; "Name: é"],         # refused by `authorize` as well
        426 => without("Upgrade"),
        426 => without("Connection"),
        426 => [without("Sec-WebSocket-Version"); "Sec-WebSocket-Version: 8"],
        400 => without("Sec-WebSocket-Key"),
        400 => [without("Sec-WebSocket-Key"); "Sec-WebSocket-Key: short"],
        400 => [UPGRADE; "Sec-WebSocket-Key: $KEY"],
        431 => [UPGRADE; "X-Long: $("x"^9000)"],
    ]
    for (expected, lines) in cases
        deny(request) = throw(WebSocket.Refused(403, "no"))
        seen = against(; authorize = expected == 403 ? deny : request -> nothing) do socket
            request(socket, lines)
            @test status(socket) == expected
            @test eof(socket)
        end
        @test startswith(seen.ended, "refused: $expected")
    end
end

@testset "a handshake that takes too long is cut off" begin
    seen = against(quick(handshake_timeout_s = 0.2)) do socket
        write(socket, "GET /compute HTTP/1.1\r\nHost: loc")
        @test eof(socket)
    end
    @test startswith(seen.ended, "refused: 400")
end

@testset "broken frames end the connection with the code of the RFC" begin
    binary, text, continuation, ping = WebSocket.BINARY, WebSocket.TEXT, WebSocket.CONTINUATION, WebSocket.PING
    @test close_code(client_frame(binary, "x"; masked = false)) == 1002
    for reserved in (0x10, 0x20, 0x40, 0x70)
        @test close_code(client_frame(binary, "x"; reserved = reserved)) == 1002
    end
    for opcode in (3, 7, 11, 15)
        @test close_code(client_frame(opcode, "x")) == 1002
    end
    @test close_code(client_frame(ping, "x"^126)) == 1002
    @test close_code(client_frame(ping, "x"; final = false)) == 1002
    @test close_code(client_frame(continuation, "x")) == 1002
    @test close_code([client_frame(binary, "x"; final = false); client_frame(binary, "x")]) == 1002
    @test close_code(client_frame(binary, "x"; long = true)) == 1002
    @test close_code(client_frame(binary, ""; size = typemax(UInt64), long = true)) == 1002
    @test close_code(UInt8[0x82, 0xfe, 0x00, 0x7d]) == 1002         # 125 in two bytes
end

@testset "text is validated, and refused even where it is valid" begin
    text, continuation = WebSocket.TEXT, WebSocket.CONTINUATION
    @test close_code(client_frame(text, "größer")) == 1003
    for wrong in (UInt8[0xff], UInt8[0xc3], UInt8[0xed, 0xa0, 0x80], UInt8[0xf4, 0x90, 0x80, 0x80], UInt8[0xc0, 0xaf])
        @test close_code(client_frame(text, wrong)) == 1007
    end
    # A character may be split over fragments.
    @test close_code([client_frame(text, UInt8[0xc3]; final = false);
        client_frame(continuation, UInt8[0xa9])]) == 1003
end

@testset "close frames are validated and answered" begin
    @test close_code(client_frame(WebSocket.CLOSE, "")) == 1000
    @test close_code(closing(1001, "bye")) == 1001
    @test close_code(closing(4000)) == 4000
    @test close_code(client_frame(WebSocket.CLOSE, UInt8[0x03])) == 1002
    for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
        @test close_code(closing(code)) == 1002
    end
    @test close_code(closing(1000, "\xff")) == 1007
end

@testset "what is too big is refused before it is read" begin
    binary, continuation = WebSocket.BINARY, WebSocket.CONTINUATION
    @test close_code(client_frame(binary, ""; size = 100_001)) == 1009
    @test close_code(client_frame(binary, ""; size = 2^40)) == 1009
    @test close_code([client_frame(binary, zeros(UInt8, 100_000); final = false);
        client_frame(continuation, "x")]) == 1009
    @test (@allocated close_code(client_frame(binary, ""; size = 2^40))) < 16 * 1024 * 1024
end

@testset "a claim of many bytes makes no room for them" begin
    against(quick(message_bytes = 2^30)) do socket
        handshake(socket)
        before = Base.gc_live_bytes()
        write(socket, client_frame(WebSocket.BINARY, zeros(UInt8, 1000); size = 2^30))
        write(socket, UInt8[0x00])
        @test Base.gc_live_bytes() - before < 16 * 1024 * 1024
    end
end

@testset "floods are cut off" begin
    pings = repeat(client_frame(WebSocket.PING, "x"), 300)
    @test close_code(pings, quick(control_frames_per_s = 20.0)) == 1008
    crumbs = [client_frame(WebSocket.BINARY, "x"; final = false);
        repeat(client_frame(WebSocket.CONTINUATION, ""; final = false), 50)]
    @test close_code(crumbs, quick(message_fragments = 20)) == 1008
    # A peer that pings as peers do is left alone.
    seen = against() do socket
        handshake(socket)
        for _ in 1:100
            write(socket, client_frame(WebSocket.PING, "x"))
            @test server_frame(socket) == (WebSocket.PONG, b"x")
        end
        write(socket, client_frame(WebSocket.PONG, "unasked"), closing(1000))
        @test server_frame(socket)[1] == WebSocket.CLOSE
    end
    @test seen.ended == "peer closed with 1000"
end

@testset "a half-open connection is noticed" begin
    seen = against(quick(silence_timeout_s = 0.4)) do socket
        handshake(socket)
        write(socket, client_frame(WebSocket.BINARY, "x")[1:3])      # and nothing ever again
        @test eof(socket)
    end
    @test startswith(seen.ended, "peer silent for 0.")
end

@testset "whoever talks now and then is not silent" begin
    seen = against(quick(silence_timeout_s = 0.6)) do socket
        handshake(socket)
        beat = Timer(_ -> write(socket, client_frame(WebSocket.BINARY, "x")), 0.0; interval = 0.1)
        for _ in 1:15
            @test server_frame(socket) == (WebSocket.BINARY, b"x")
        end
        close(beat)
        write(socket, closing(1000))
        while server_frame(socket)[1] != WebSocket.CLOSE
        end
    end
    @test length(seen.received) >= 15
end

@testset "a peer that does not read is cut off" begin
    seen = against(quick(send_buffer_bytes = 2_000_000)) do socket
        handshake(socket)
        message = client_frame(WebSocket.BINARY, zeros(UInt8, 100_000))
        try
            while true
                write(socket, message)
            end
        catch err
            err isa Base.IOError || rethrow()
        end
    end
    @test occursin("bytes unread", seen.ended)
end

@testset "a peer that goes away at any point ends the connection and nothing else" begin
    whole = [client_frame(WebSocket.BINARY, "first"); client_frame(WebSocket.BINARY, "x"^300)]
    for cut in 0:7:length(whole)
        seen = against() do socket
            handshake(socket)
            write(socket, whole[1:cut])
        end
        @test length(seen.received) <= 2 && seen.ended isa String
    end
end

@testset "random bytes after the handshake never get through" begin
    dice = Dice(6)
    for _ in 1:50
        seen = against(quick(message_bytes = 1000)) do socket
            handshake(socket)
            write(socket, roll_bytes(dice, 2000))
        end
        @test seen.ended isa String
    end
end
