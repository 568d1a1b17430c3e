# The front process: holds the sockets, hands tasks to workers, computes nothing.

const HELLO_TIMEOUT_S = 10.0
"A bridge that drops the line may be back at once; what is nearly done is let finish first."
const ORPHAN_GRACE_S = 2.0
const MOST_CONNECTIONS = 64
const NEWS_INTERVAL_S = 0.02

"A compute node: who it is, who may connect, and its workers."
struct Node
    id::String
    secret::String
    gate::Gate
    pool::Pool
    limits::WebSocket.Limits
    sessions::Set{Any}
end

"The node's side of one connection to a bridge."
mutable struct Session
    node::Node
    connection::WebSocket.Connection
    jobs::Dict{Tuple{String,Int},Job}    # by task id and fencing token
    sequence::Int                        # of the last heartbeat sent
    told_others::Int                     # what the bridge was told of others; -1 before it was greeted
    news_due::Bool                       # whether it will soon be told
end

"""
    serve(; host, port, capacity, secret, node_id)

Run a compute node until the process is told to end. Prints `event=ready` once the workers are warm
and the socket listens; port 0 takes any, which that line names.
"""
function serve(; host::String, port::Int, capacity::Int, secret::String, node_id::String)
    pool = Pool(capacity)
    node = Node(node_id, secret, Gate(secret), pool, channel_limits(), Set{Any}())
    stop = Condition()
    release_signals = on_stop_signal(() -> notify(stop))
    failure = nothing
    listener = nothing
    in_background("start") do
        try
            rehearse(node)
            listener = listen(getaddrinfo(host), port)
            in_background(() -> accept_connections(node, listener), "accept")
            log_event(:info, "ready"; address = "$host:$(Int(getsockname(listener)[2]))", workers = capacity,
                worker_memory_mib = pool.memory_mib,
                julia = VERSION, highs = Highs.version())
            keep_spare(pool)
        catch err
            failure = err
            notify(stop)
        end
    end
    wait(stop)
    log_event(:info, "stopping")
    listener === nothing || close(listener)
    for session in node.sessions
        WebSocket.close(session.connection, WebSocket.GOING_AWAY, "node stops")
    end
    sleep(0.05)     # lets the close frames out
    close(pool)
    release_signals()
    failure === nothing || throw(failure)
    return nothing
end

function accept_connections(node::Node, listener)
    open_sockets = 0
    while isopen(listener)
        socket = try
            accept(listener)
        catch err
            err isa Base.IOError || rethrow()
            isopen(listener) || return nothing
            log_event(:warning, "accept-failed"; error = sprint(showerror, err))
            sleep(0.1)      # out of file descriptors, mostly
            continue
        end
        if open_sockets >= MOST_CONNECTIONS
            close(socket)
            continue
        end
        open_sockets += 1
        in_background("connection") do
            try
                serve_connection(node, socket)
            finally
                close(socket)
                open_sockets -= 1
            end
        end
    end
end

function serve_connection(node::Node, socket)
    connection = try
        WebSocket.accept(socket, node.limits; authorize = request -> authorize(node.gate, request))
    catch err
        err isa WebSocket.Refused || rethrow()
        log_event(:warning, "connection-refused"; status = err.status, why = err.text)
        return nothing
    end
    session = Session(node, connection, Dict{Tuple{String,Int},Job}(), 0, -1, false)
    push!(node.sessions, session)
    try
        converse(session)
    finally
        delete!(node.sessions, session)
        abandon(session)
        WebSocket.finish(connection)
        log_event(:info, "connection-ended"; why = connection.end_text)
    end
end

"Answer `hello`, then take messages until the connection ends."
function converse(session::Session)
    connection = session.connection
    impatient = Timer(_ -> WebSocket.close(connection, WebSocket.POLICY_VIOLATION, "no hello"),
        HELLO_TIMEOUT_S)
    heart = nothing
    try
        payload = WebSocket.receive(connection)
        payload === nothing && return nothing
        close(impatient)
        greet(session, understood(payload))
        heart = Timer(_ -> beat(session), HEARTBEAT_INTERVAL_S; interval = HEARTBEAT_INTERVAL_S)
        while (payload = WebSocket.receive(connection)) !== nothing
            handle(session, understood(payload), payload)
        end
    catch err
        err isa ContractError || rethrow()
        log_event(:warning, "message-refused"; reason = err.reason, error = err.message)
        deliver(session, pack(error_message(err)))
        WebSocket.close(connection, WebSocket.POLICY_VIOLATION, err.reason)
    finally
        close(impatient)
        heart === nothing || close(heart)
    end
    return nothing
end

"The message that a bridge sent; throws `ContractError`."
understood(payload::Vector{UInt8}) = unpack_one_of(SEND_TO_NODE, payload; limits = LIMITS)

deliver(session::Session, message::Vector{UInt8}) = WebSocket.send(session.connection, message)

greet(::Session, message) =
    throw(ContractError("PROTOCOL_VIOLATION", "type", "the first message must be hello"))

function greet(session::Session, hello::Hello)
    node = session.node
    log_event(:info, "bridge-connected"; bridge = hello.bridge_id)
    deliver(session, pack(Welcome(contract_version = CONTRACT_VERSION, node_id = node.id,
        engine = ENGINE, engine_version = ENGINE_VERSION, kinds = computed_kinds(),
        capacity = node.pool.capacity, queue = node.pool.queue,
        heartbeat_interval_ms = HEARTBEAT_INTERVAL_MS, proof = proof(node.secret, hello.nonce))))
    session.told_others = 0
    others_count(session) == 0 || beat(session)
end

function beat(session::Session)
    session.sequence += 1
    session.told_others = others_count(session)
    pool = session.node.pool
    # With orphans at the workers and others at the spare there are more.
    busy = min(busy_count(pool), pool.capacity)
    deliver(session, pack(Heartbeat(sequence = session.sequence, busy = busy, others = session.told_others)))
end

"Let the other bridges know soon that this one uses more or fewer workers; not of every change."
function tell_others(session::Session)
    for other in session.node.sessions
        (other === session || other.news_due || other.told_others < 0) && continue
        other.news_due = true
        Timer(NEWS_INTERVAL_S) do _
            other.news_due = false
            others_count(other) == other.told_others || beat(other)
        end
    end
end

handle(::Session, message, payload) =
    throw(ContractError("PROTOCOL_VIOLATION", "type", "not expected from a bridge now"))

handle(::Session, ::Heartbeat, payload) = nothing    # having arrived is all it says

function handle(session::Session, task::TaskMessage, payload)
    node, key = session.node, (task.task_id, task.fencing_token)
    haskey(session.jobs, key) && return nothing          # the same attempt, said twice
    job = Job(task.task_id, task.fencing_token, payload, bytes -> deliver(session, bytes),
        job -> (delete!(session.jobs, key); tell_others(session)); affinity_key = task.affinity_key)
    if !knows_kind(task.kind)
        deliver(session, pack(error_message(unknown_kind(task.kind), task)))
    elseif live_jobs(node) >= node.pool.capacity + node.pool.queue
        busy = ContractError("NODE_BUSY", "", "this node has all the tasks that it takes")
        deliver(session, pack(error_message(busy, task)))
    else
        session.jobs[key] = job
        tell_others(session)
        assign!(node.pool, job, task.remaining_ms)
    end
end

function handle(session::Session, cancel::Cancel, payload)
    job = get(session.jobs, (cancel.task_id, cancel.fencing_token), nothing)
    job === nothing ||
        end_with(session.node.pool, job, ContractError("CANCELLED", "", "cancelled"))
end

"Jobs whose bridge is still there. Orphans give way, so they do not count."
live_jobs(node::Node) = mapreduce(session -> length(session.jobs), +, node.sessions; init = 0)

"How many workers they take for other bridges; the rest of them waits for one."
others_count(session::Session) =
    min(live_jobs(session.node) - length(session.jobs), session.node.pool.capacity)

"The bridge has gone: nobody will take these results."
function abandon(session::Session)
    tell_others(session)
    jobs, pool = collect(values(session.jobs)), session.node.pool
    isempty(jobs) && return nothing
    for job in jobs
        job.is_orphan = true
        job.worker === nothing && stop!(pool, job)
    end
    hand_out!(pool)
    Timer(ORPHAN_GRACE_S) do _
        foreach(job -> stop!(pool, job), values(session.jobs) |> collect)
    end
    return nothing
end
