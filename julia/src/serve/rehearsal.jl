# Before the node says that it is ready it plays a bridge to itself: a connection, tasks for each
# worker, a cancel, a kill. What the first bridge would otherwise wait for is compiled then, and
# a node whose way there and back is broken never gets ready.

"For everything, the start of the workers included: then the node gives up."
const REHEARSAL_TIMEOUT_S = 600.0

"""
    rehearse(node)

Talk to the node over a socket of its own, and return when its workers are ready and have answered.
Throws when an answer is missing or wrong.
"""
function rehearse(node::Node)
    port, listener = listenany(ip"127.0.0.1", 0)
    # The node as it is, but for its patience with a peer that has yet to be compiled.
    limits = WebSocket.Limits(message_bytes = MESSAGE_BYTES,
        handshake_timeout_s = REHEARSAL_TIMEOUT_S, silence_timeout_s = REHEARSAL_TIMEOUT_S)
    patient = Node(node.id, node.secret, node.gate, node.pool, limits, node.sessions)
    server = in_background(() -> serve_connection(patient, accept(listener)), "rehearsal")
    socket = connect(ip"127.0.0.1", port)
    deadline = Timer(_ -> close(socket), REHEARSAL_TIMEOUT_S)
    try
        write(socket, upgrade_request(node.secret))
        head = readuntil(socket, "\r\n\r\n")
        startswith(head, "HTTP/1.1 101 ") || error("the upgrade is answered by $head")
        nonce = "0"^32
        say(socket, Hello(CONTRACT_VERSION, "rehearsal", nonce))
        hear(socket, Welcome).proof == proof(node.secret, nonce) || error("the proof is wrong")
        say(socket, Heartbeat(sequence = 1))
        say(socket, Cancel(REHEARSAL_TASK_ID, 1))        # of nothing: ignored
        # The workers are still warming up: these tasks wait for them.
        tokens = 1:node.pool.capacity
        foreach(token -> say(socket, rehearsal_probe(token)), tokens)
        wait_until_ready(node.pool)
        foreach(_ -> hear(socket, Result), tokens)
        foreach(token -> say(socket, rehearsal_probe(token)), tokens)
        foreach(_ -> hear(socket, Result), tokens)
        nobody = Job(REHEARSAL_TASK_ID, 1, UInt8[], identity, identity)
        end_with(node.pool, nobody, ContractError("CANCELLED", "", "cancelled"))
        give_up(node.pool, Worker(0, run(`sleep 60`; wait = false)))
        write(socket, UInt8[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])    # a close frame: 1000
    finally
        close(deadline)
        close(listener)
        close(socket)
    end
    wait(server)
    return nothing
end

rehearsal_probe(token::Int) = TaskMessage(task_id = REHEARSAL_TASK_ID, kind = "probe", attempt = 1,
    fencing_token = token, remaining_ms = 600_000, encoding = "identity",
    body = pack(ProbeInput(20, 0)))

function upgrade_request(secret::String)
    text = "v1.$(round(Int, time())).$(bytes2hex(rand(UInt8, 16)))"
    return string("GET $COMPUTE_ADDRESS HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        "Authorization: Bearer $text.$(hmac(secret, "gridpact-bridge:" * text))\r\n\r\n")
end

"Send a message as a client does: masked, here with zeros."
function say(socket, message::Message)
    payload = pack(message)
    frame = WebSocket.frame(WebSocket.BINARY, payload)
    head = length(frame) - length(payload)
    frame[2] |= 0x80
    write(socket, vcat(frame[1:head], zeros(UInt8, 4), payload))
    return nothing
end

"The next message of type `T`; accepted, progress and heartbeat are passed over."
function hear(socket, ::Type{T}) where {T}
    while true
        first, count = read(socket, UInt8), Int(read(socket, UInt8))
        count = count == 126 ? Int(ntoh(read(socket, UInt16))) :
                count == 127 ? Int(ntoh(read(socket, UInt64))) : count
        payload = read(socket, count)
        first == 0x80 | WebSocket.BINARY || error("an unexpected frame")
        message = unpack_one_of(RECEIVE_FROM_NODE, payload; limits = LIMITS)
        message isa T && return message
        message isa Union{Accepted,Progress,Heartbeat} || error("expected $T, got $message")
    end
end
