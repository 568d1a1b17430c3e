# The worker processes: as many at work as the node announces, one more warmed up in reserve, and the jobs
# that wait for them.

"One attempt at a task, from its arrival until its end."
mutable struct Job
    task_id::String
    fencing_token::Int
    payload::Vector{UInt8}               # the task message as it came
    deliver::Function                    # deliver(bytes): to the bridge that sent it
    ended::Function                      # ended(job): once, when no more will be delivered
    affinity_key::Union{String,Nothing}  # of the model it builds on
    worker::Any                          # the Worker at work on it, or nothing
    deadline::Union{Timer,Nothing}
    accepting::Union{Timer,Nothing}      # while it is at a worker, and the bridge has not been told so
    is_orphan::Bool                      # its bridge has gone
    is_over::Bool
end
Job(task_id, fencing_token, payload, deliver, ended; affinity_key = nothing) =
    Job(task_id, fencing_token, payload, deliver, ended, affinity_key, nothing, nothing, nothing, false, false)

mutable struct Worker
    id::Int
    process::Base.Process
    link::Union{IO,Nothing}              # nothing until it is ready
    job::Union{Job,Nothing}
    given_up::Bool                       # killed by us: its death is no news
    keys::Vector{String}                 # what it served, the newest last: it may have kept the models
end
Worker(id, process) = Worker(id, process, nothing, nothing, false, String[])

"""
    Pool(capacity; memory_mib)

Starts `capacity` workers and then the spare. `assign!(pool, job)` hands a job to a ready worker, or
keeps it until one is ready: first come, first served. Besides those at work, `queue` jobs may be in the
pool. `stop!(pool, job)` ends a job by killing its worker, whose place the spare takes at once. A job
whose worker uses more than `memory_mib` ends so, too.
"""
mutable struct Pool
    capacity::Int
    queue::Int
    command::Cmd
    memory_mib::Int                      # that a worker may use
    folder::String                       # private to this user; holds the socket
    listener::Base.IOServer
    workers::Dict{Int,Worker}
    idle::Vector{Worker}
    waiting::Vector{Job}
    next_id::Int
    restart_delay_s::Float64
    target::Int                          # processes wanted: capacity, then one more
    ready_changed::Condition
    memory_watch::Union{Timer,Nothing}
    closed::Bool
end

const LONGEST_RESTART_DELAY_S = 30.0

# A worker that is through with a task at once has the next ones at hand.
const QUEUE_OF_WORKER = 128
const MOST_QUEUED = 1024

"That the answer will come need not be said of one that comes at once."
const ACCEPTED_S = 0.01

function Pool(capacity::Int; command::Cmd = worker_command(), memory_mib::Int = worker_memory_mib(capacity))
    folder = mktempdir(runtime_folder(); prefix = "compute-", cleanup = false)
    pool = Pool(capacity, min(QUEUE_OF_WORKER * capacity, MOST_QUEUED), command, memory_mib, folder,
        listen(joinpath(folder, "front")), Dict{Int,Worker}(), Worker[], Job[], 1, 0.0, capacity, Condition(),
        nothing, false)
    pool.memory_watch = Timer(_ -> watch_memory(pool), MEMORY_CHECK_INTERVAL_S;
        interval = MEMORY_CHECK_INTERVAL_S)
    in_background(() -> greet_workers(pool), "greet-workers")
    restock(pool)
    return pool
end

"A socket's path has at most 107 bytes."
const LONGEST_FOLDER = 70

"Where the node's socket lives: what a killed node leaves goes away with the platform's state."
function runtime_folder()
    folder = get(ENV, "GRIDPACT_STATE_DIR", "")
    return isdir(folder) && sizeof(folder) <= LONGEST_FOLDER ? folder : tempdir()
end

"Return once the first `capacity` workers are ready."
function wait_until_ready(pool::Pool)
    while length(pool.idle) + busy_count(pool) < pool.capacity
        wait(pool.ready_changed)
    end
end

"From now on, one worker more than needed stands by."
function keep_spare(pool::Pool)
    pool.target = pool.capacity + 1
    restock(pool)
    return nothing
end

busy_count(pool::Pool) = count(worker -> worker.job !== nothing, values(pool.workers))
job_count(pool::Pool) = busy_count(pool) + length(pool.waiting)

# ------------------------------------------------------------------------- the life of a worker

worker_command() = `$(Base.julia_cmd()) -O3 --startup-file=no --project=$(project_folder())
    $(joinpath(project_folder(), "bin", "worker.jl"))`

project_folder() = dirname(dirname(@__DIR__))

function restock(pool::Pool)
    while !pool.closed && length(pool.workers) < pool.target
        start_worker(pool)
    end
end

function start_worker(pool::Pool)
    id = pool.next_id
    pool.next_id += 1
    command = `$(pool.command) $(joinpath(pool.folder, "front")) $id $(getpid()) $(pool.memory_mib)`
    # A worker solves on one core; threads of the linear algebra library would only fight for it.
    command = setenv(command, merge(ENV |> Dict{String,String}, Dict("OPENBLAS_NUM_THREADS" => "1")))
    process = run(pipeline(command; stdin = devnull, stdout = stdout, stderr = stderr); wait = false)
    worker = Worker(id, process)
    pool.workers[id] = worker
    in_background("watch-worker") do
        wait_for_end(process)
        lost(pool, worker)
    end
    return worker
end

wait_for_end(process::Base.Process) = process_exited(process) || wait(process)

function greet_workers(pool::Pool)
    while !pool.closed
        link = try
            accept(pool.listener)
        catch err
            err isa Base.IOError && pool.closed && return
            rethrow()
        end
        in_background(() -> greet(pool, link), "read-worker")
    end
end

function greet(pool::Pool, link)
    try
        tag, payload = read_link(link)
        worker = get(pool.workers, tag == READY ? parse(Int, String(payload)) : 0, nothing)
        worker === nothing && return close(link)
        worker.link = link
        pool.restart_delay_s = 0.0
        log_event(:info, "worker-ready"; worker = worker.id, pid = getpid(worker.process))
        release(pool, worker)
        while true
            tag, payload = read_link(link)
            worker.job === nothing || heard(pool, worker, tag, payload)
        end
    catch err
        # Its death is dealt with where the process is watched.
        err isa Union{EOFError,Base.IOError} || rethrow()
    end
end

"A worker said something about its job."
function heard(pool::Pool, worker::Worker, tag::UInt8, payload::Vector{UInt8})
    job = worker.job
    tag == PROGRESS && accept!(job)
    job.deliver(payload)
    tag == PROGRESS && return nothing
    worker.job = nothing
    finish(job)
    release(pool, worker)
end

"The worker is free: it takes what waits, or stands by."
function release(pool::Pool, worker::Worker)
    push!(pool.idle, worker)
    hand_out!(pool)
    notify(pool.ready_changed)
    return nothing
end

"The process of a worker has ended."
function lost(pool::Pool, worker::Worker)
    forget(pool, worker)
    pool.closed && return nothing
    no_memory = worker.process.exitcode == OUT_OF_MEMORY_EXIT
    if !worker.given_up
        log_event(:warning, no_memory ? "out-of-memory" : "worker-lost"; worker = worker.id, exit_code = worker.process.exitcode,
            signal = worker.process.termsignal, task_id = worker.job === nothing ? "-" : worker.job.task_id)
    end
    if worker.job !== nothing
        job, worker.job = worker.job, nothing
        fail(job, no_memory ? out_of_memory(pool.memory_mib) :
            ContractError("WORKER_LOST", "", "the worker died while it computed"))
    end
    hand_out!(pool)
    if worker.link === nothing && !worker.given_up
        # It never became ready; the next one probably will not either.
        pool.restart_delay_s = clamp(2 * pool.restart_delay_s, 1.0, LONGEST_RESTART_DELAY_S)
        Timer(_ -> restock(pool), pool.restart_delay_s)
    else
        restock(pool)
    end
    return nothing
end

"End the jobs whose workers use too much; for what is allocated slowly, no allocation fails."
function watch_memory(pool::Pool)
    for worker in collect(values(pool.workers))
        worker.job === nothing && continue
        used_mib = process_running(worker.process) ? private_memory_mib(getpid(worker.process)) : 0
        used_mib > pool.memory_mib || continue
        log_event(:warning, "out-of-memory"; worker = worker.id, task_id = worker.job.task_id,
            used_mib = used_mib, limit_mib = pool.memory_mib)
        end_with(pool, worker.job, out_of_memory(pool.memory_mib))
    end
    return nothing
end

function forget(pool::Pool, worker::Worker)
    delete!(pool.workers, worker.id)
    filter!(!=(worker), pool.idle)
    worker.link === nothing || close(worker.link)
    return nothing
end

"Kill a worker; its successor is started when whoever waits for the kill has been told."
function give_up(pool::Pool, worker::Worker)
    worker.given_up = true
    worker.job = nothing
    process_running(worker.process) && kill(worker.process, SIGNAL_KILL)
    forget(pool, worker)
    hand_out!(pool)
    in_background(() -> restock(pool), "restock")
    return nothing
end

# ---------------------------------------------------------------------------- the life of a job

"Take on a job, to end within `remaining_ms`. The caller has made sure that there is room for it."
function assign!(pool::Pool, job::Job, remaining_ms::Int)
    job.deadline = Timer(_ -> expire(pool, job, remaining_ms), remaining_ms / 1000)
    push!(pool.waiting, job)
    hand_out!(pool)
    return nothing
end

"Give what waits to idle workers; the spare is not one more of them, but takes the place of another."
function hand_out!(pool::Pool)
    while !isempty(pool.waiting) && !isempty(pool.idle) && wanted_count(pool) < pool.capacity
        job = popfirst!(pool.waiting)
        give!(choose!(pool, job.affinity_key), job)
    end
    return nothing
end

"Workers at work for somebody: orphans give way, so they do not count."
wanted_count(pool::Pool) =
    count(worker -> worker.job !== nothing && !worker.job.is_orphan, values(pool.workers))

"""
Take an idle worker: the one that served `key` last, or else the one that has served fewest keys, so
that models spread over the workers; of those the one used last, whose code and caches are warmest.
"""
function choose!(pool::Pool, key)
    key === nothing && return pop!(pool.idle)
    at = findlast(worker -> key in worker.keys, pool.idle)
    if at === nothing
        fewest = minimum(length(worker.keys) for worker in pool.idle)
        at = findlast(worker -> length(worker.keys) == fewest, pool.idle)
    end
    worker = pool.idle[at]
    deleteat!(pool.idle, at)
    return worker
end

function give!(worker::Worker, job::Job)
    worker.job = job
    job.worker = worker
    job.affinity_key === nothing || served!(worker, job.affinity_key)
    job.accepting = Timer(_ -> accept!(job), ACCEPTED_S)
    payload = job.payload
    job.payload = UInt8[]
    # In a task of its own: a worker that does not read must not hold up the front.
    in_background("give-task") do
        try
            write_link(worker.link, TASK, payload)
        catch err
            err isa Union{Base.IOError,EOFError,ArgumentError} || rethrow()   # it has died
        end
    end
    return nothing
end

"Tell the bridge that a worker has the job, once; and not after its end."
function accept!(job::Job)
    job.accepting === nothing && return nothing
    close(job.accepting)
    job.accepting = nothing
    job.deliver(pack(Accepted(job.task_id, job.fencing_token)))
    return nothing
end

function served!(worker::Worker, key::String)
    filter!(!=(key), worker.keys)
    push!(worker.keys, key)
    length(worker.keys) > WARM_MODELS.most && popfirst!(worker.keys)
    return nothing
end

"End a job now, wherever it is; nothing more of it is delivered."
function stop!(pool::Pool, job::Job)
    filter!(!=(job), pool.waiting)
    job.worker === nothing || job.worker.job !== job || give_up(pool, job.worker)
    finish(job)
    return nothing
end

expire(pool::Pool, job::Job, remaining_ms::Int) = end_with(pool, job, out_of_time(remaining_ms))

"Stop a job and say why. One that is over stays as it is: a timer may strike as its result arrives."
function end_with(pool::Pool, job::Job, err::ContractError)
    job.is_over && return nothing
    stop!(pool, job)
    job.deliver(pack(error_message(err, job)))
    return nothing
end

function fail(job::Job, err::ContractError)
    finish(job)
    job.deliver(pack(error_message(err, job)))
    return nothing
end

function finish(job::Job)
    job.is_over = true
    job.deadline === nothing || close(job.deadline)
    job.accepting === nothing || close(job.accepting)
    job.accepting = nothing
    job.ended(job)
    return nothing
end

"End every worker and remove the socket."
function Base.close(pool::Pool)
    pool.closed = true
    close(pool.memory_watch)
    close(pool.listener)
    for worker in collect(values(pool.workers))
        worker.given_up = true
        process_running(worker.process) && kill(worker.process, SIGNAL_KILL)
    end
    rm(pool.folder; recursive = true, force = true)
    return nothing
end
