# A node in this process with fake workers, and bridges that talk to it over real sockets.

using GridpactCompute: Accepted, Cancel, Error, Gate, Heartbeat, Hello, Job, Message, Node, Pool, ProbeInput,
    QUEUE_OF_WORKER, TaskMessage, WebSocket, Welcome, accept_connections, hear, keep_spare, computed_kinds, live_jobs, pack, proof, say, serve_connection,
    unpack_one_of, upgrade_request, wait_until_ready, channel_limits, RECEIVE_FROM_NODE, LIMITS
using Sockets

const NODE_SECRET = "a secret of the test"
const TASK_ID = "01981f6e-7c00-7000-8000-000000000004"

const PROBE_WORKER_FILE = joinpath(@__DIR__, "probe_worker.jl")
const PROBE_WORKER = `$(Base.julia_cmd()) --startup-file=no --project=$(GridpactCompute.project_folder())
    $PROBE_WORKER_FILE`

"As those of the channel, but for the silence: these bridges do not beat, and a worker may be long in coming."
patient_limits() = WebSocket.Limits(message_bytes = channel_limits().message_bytes, handshake_timeout_s = 600.0,
    silence_timeout_s = 600.0, send_buffer_bytes = channel_limits().send_buffer_bytes)

"A node whose workers only know how to probe; `use(port, node)`."
function with_node(use, capacity; limits = patient_limits())
    pool = Pool(capacity; command = PROBE_WORKER)
    node = Node("node-1", NODE_SECRET, Gate(NODE_SECRET), pool, limits, Set{Any}())
    port, listener = listenany(ip"127.0.0.1", 0)
    server = @async accept_connections(node, listener)
    try
        wait_until_ready(pool)
        keep_spare(pool)
        use(port, node)
    finally
        close(listener)
        close(pool)
        wait(server)
    end
end

"A bridge's connection, greeted; closed after `use(socket)`."
function with_bridge(use, port)
    socket = connect(ip"127.0.0.1", port)
    deadline = Timer(_ -> close(socket), 300.0)
    try
        write(socket, upgrade_request(NODE_SECRET))
        @test startswith(readuntil(socket, "\r\n\r\n"), "HTTP/1.1 101 ")
        say(socket, Hello(1, "bridge-1", "ab"^16))
        welcome = hear(socket, Welcome)
        @test welcome.proof == proof(NODE_SECRET, "ab"^16)
        @test welcome.kinds == computed_kinds()
        @test welcome.capacity == 1 || welcome.capacity == 2
        @test welcome.queue == QUEUE_OF_WORKER * welcome.capacity
        use(socket)
    finally
        close(deadline)
        close(socket)
    end
end

task(token; hold_ms = 0, kind = "probe", remaining_ms = 900_000) = TaskMessage(task_id = TASK_ID, kind = kind,
    attempt = 1, fencing_token = token, remaining_ms = remaining_ms, encoding = "identity",
    body = pack(ProbeInput(hold_ms, 0)))

only_busy(node) = first(worker for worker in values(node.pool.workers) if worker.job !== nothing)

result(socket) = hear(socket, GridpactCompute.Result)
failure(socket) = hear(socket, Error)

@testset "tasks are answered, in parallel and in turn" begin
    with_node(2) do port, node
        with_bridge(port) do socket
            for token in 1:50
                say(socket, task(token))
                @test result(socket).fencing_token == token
            end
            say(socket, task(51; hold_ms = 600_000))
            say(socket, task(52))
            @test result(socket).fencing_token == 52
            say(socket, Cancel(TASK_ID, 51))
            @test failure(socket).fencing_token == 51
        end
    end
end

@testset "more tasks than workers and queue are refused as busy, unknown kinds as unknown" begin
    with_node(1) do port, node
        with_bridge(port) do socket
            say(socket, task(1; hold_ms = 600_000))
            for token in 1:QUEUE_OF_WORKER          # the first of them is the same attempt again: ignored
                say(socket, task(token))
            end
            with_bridge(port) do other              # of all bridges together
                say(other, task(1))
                say(other, task(2))
                busy = failure(other)
                @test (busy.reason, busy.retryable, busy.fencing_token) == ("NODE_BUSY", true, 2)
                say(other, task(3; kind = "weather"))       # trying again would not help
                @test failure(other).reason == "KIND_UNKNOWN"
            end
            for token in (7, 1)                     # one that waits, and the one that keeps it waiting
                say(socket, Cancel(TASK_ID, token))
                cancelled = failure(socket)
                @test (cancelled.reason, cancelled.fencing_token) == ("CANCELLED", token)
            end
            @test all(result(socket).fencing_token == token for token in 2:QUEUE_OF_WORKER if token != 7)
        end
    end
end

@testset "a node tells of no more workers than it has, however many tasks wait" begin
    with_node(1) do port, node
        with_bridge(port) do other
            with_bridge(port) do socket
                foreach(token -> say(socket, task(token; hold_ms = 600_000)), 1:3)
                told = hear(other, Heartbeat)
                @test (told.busy, told.others) == (1, 1)
            end
            @test eventually(() -> live_jobs(node) == 0)
            @test isempty(node.pool.waiting)        # nobody would take their results
            told = hear(other, Heartbeat)
            @test told.others == 0
        end
    end
end

@testset "a cancel stops the attempt it names, and no other" begin
    with_node(1) do port, node
        with_bridge(port) do socket
            say(socket, task(7; hold_ms = 600_000))
            hear(socket, Accepted)
            say(socket, Cancel(TASK_ID, 6))
            say(socket, Cancel("01981f6e-7c00-7000-8000-000000000005", 7))
            say(socket, Cancel(TASK_ID, 7))
            cancelled = failure(socket)
            @test (cancelled.reason, cancelled.fencing_token) == ("CANCELLED", 7)
            say(socket, task(8))
            @test result(socket).fencing_token == 8
        end
    end
end

@testset "a worker killed at work is reported, and the node goes on" begin
    with_node(1) do port, node
        with_bridge(port) do socket
            say(socket, task(1; hold_ms = 600_000))
            hear(socket, Accepted)
            kill(only_busy(node).process, 9)
            lost = failure(socket)
            @test (lost.reason, lost.retryable) == ("WORKER_LOST", true)
            say(socket, task(2))
            @test result(socket).fencing_token == 2
        end
    end
end
@testset "what is out of order or broken ends the connection with a reason" begin
    with_node(1) do port, node
        socket = connect(ip"127.0.0.1", port)
        write(socket, upgrade_request(NODE_SECRET))
        readuntil(socket, "\r\n\r\n")
        say(socket, task(1))                        # before hello
        @test failure(socket).reason == "PROTOCOL_VIOLATION"
        @test read(socket, UInt8) == 0x80 | WebSocket.CLOSE
        close(socket)
        for wrong in (Hello(1, "again", "ab"^16), Accepted(TASK_ID, 1))
            with_bridge(port) do bridge
                say(bridge, wrong)
                @test failure(bridge).reason in ("PROTOCOL_VIOLATION", "INVALID_ARGUMENT")
            end
        end
        with_bridge(port) do bridge
            write(bridge, UInt8[0x82, 0x81, 0, 0, 0, 0, 0xc1])
            @test failure(bridge).reason == "MESSAGE_MALFORMED"
        end
        with_bridge(port) do bridge                 # the node is none the worse for it
            say(bridge, task(1))
            @test result(bridge).fencing_token == 1
        end
    end
end

@testset "without a token, or with a used one, nobody gets in" begin
    with_node(1) do port, node
        used = upgrade_request(NODE_SECRET)
        for (request, expected) in (used => "101", used => "401", upgrade_request("another") => "401",
                replace(upgrade_request(NODE_SECRET), "Host:" => "Origin: http://x\r\nHost:") => "403")
            socket = connect(ip"127.0.0.1", port)
            write(socket, request)
            @test split(readuntil(socket, "\r\n\r\n"), ' ')[2] == expected
            close(socket)
        end
        @test eventually(() -> isempty(node.sessions))
    end
end

@testset "the jobs of a bridge that went away make room at once and end soon" begin
    with_node(1) do port, node
        with_bridge(socket -> (say(socket, task(1; hold_ms = 600_000)); hear(socket, Accepted)), port)
        @test eventually(() -> isempty(node.sessions))
        @test live_jobs(node) == 0
        with_bridge(port) do socket
            say(socket, task(2))                    # waits until the orphan has had its grace
            @test result(socket).fencing_token == 2
        end
        @test eventually(() -> GridpactCompute.busy_count(node.pool) == 0)
    end
end

@testset "a bridge that is silent is gone" begin
    with_node(1; limits = WebSocket.Limits(silence_timeout_s = 1.0)) do port, node
        with_bridge(port) do socket
            while !eof(socket)
                readavailable(socket)
            end
        end
        @test eventually(() -> isempty(node.sessions))
    end
end
