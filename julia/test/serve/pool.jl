using GridpactCompute: Accepted, Error, Job, Pool, Worker, accept!, assign!, served!, busy_count, end_with, expire, job_count, keep_spare, stop!,
    wait_until_ready, unpack, unpack_one_of, RECEIVE_FROM_NODE, LIMITS

const FAKE_WORKER = joinpath(@__DIR__, "fake_worker.jl")
fake_command(behaviour = "well") = `$(Base.julia_cmd()) --startup-file=no $FAKE_WORKER $behaviour`

"A pool of fake workers, closed after `use(pool)`."
function with_pool(use, capacity; behaviour = "well", spare = true, memory_mib = 10_000)
    pool = Pool(capacity; command = fake_command(behaviour), memory_mib = memory_mib)
    try
        if behaviour == "well"
            wait_until_ready(pool)
            spare && keep_spare(pool)
            @test eventually(() -> length(pool.idle) == pool.target)
        end
        use(pool)
    finally
        close(pool)
    end
end

"A job whose deliveries are collected; `ended` counts how often it ended."
mutable struct Trial
    job::Job
    heard::Vector{Vector{UInt8}}
    ended::Int
end

function trial(payload; token = 1, key = nothing)
    heard = Vector{UInt8}[]
    it = Trial(Job("01981f6e-7c00-7000-8000-000000000004", token, Vector{UInt8}(payload),
        bytes -> push!(heard, bytes), job -> nothing; affinity_key = key), heard, 0)
    it.job.ended = job -> it.ended += 1
    return it
end

"What was delivered last, as the reason of an error."
reason(it::Trial) = unpack(Error, it.heard[end]).reason

is_alive(pid) = ccall(:kill, Cint, (Cint, Cint), pid, 0) == 0

"Whether this is what was delivered as number `at`: that a worker has the job."
is_accepted(it::Trial, at) = unpack(Accepted, it.heard[at]).fencing_token == it.job.fencing_token

@testset "a job is accepted, told of and ended once" begin
    with_pool(2) do pool
        it = trial("progress")
        assign!(pool, it.job, 900_000)
        @test eventually(() -> it.ended == 1)
        @test length(it.heard) == 3 && is_accepted(it, 1)       # then progress, result
        @test it.heard[2] == it.heard[3] == b"progress"
        @test busy_count(pool) == 0
    end
end

@testset "that a worker has a job is told of one at a worker and of none that waits" begin
    with_pool(1) do pool
        slow, waiting = trial("hang"; token = 1), trial("hang"; token = 2)
        assign!(pool, slow.job, 900_000)
        assign!(pool, waiting.job, 900_000)
        @test eventually(() -> length(slow.heard) == 1)
        @test is_accepted(slow, 1)
        @test isempty(waiting.heard)
        stop!(pool, slow.job)
        @test eventually(() -> length(waiting.heard) == 1)
        @test is_accepted(waiting, 1) && length(slow.heard) == 1
        stop!(pool, waiting.job)
    end
end

@testset "jobs wait for a worker in their order, and never take the spare" begin
    with_pool(1) do pool
        trials, order = [trial("echo $i"; token = i) for i in 1:20], Int[]
        for it in trials
            it.job.ended = job -> (it.ended += 1; push!(order, job.fencing_token))
            assign!(pool, it.job, 900_000)
        end
        @test job_count(pool) == 20 && busy_count(pool) == 1
        @test eventually(() -> all(it -> it.ended == 1, trials))
        @test order == 1:20
        @test all(it.heard[end] == Vector{UInt8}("echo $i") for (i, it) in enumerate(trials))
        @test job_count(pool) == 0
    end
end

@testset "a job goes to the worker that served its key last, and never waits for it" begin
    with_pool(2; spare = false) do pool
        function pid_of(key)
            it = trial("id"; key = key)
            assign!(pool, it.job, 900_000)
            @test eventually(() -> it.ended == 1)
            return String(it.heard[end])
        end
        first, second = pid_of("a"), pid_of("b")
        @test first != second                       # keys spread over the workers
        for _ in 1:3
            @test pid_of("b") == second
            @test pid_of("a") == first
            pid_of(nothing)
        end
        busy = trial("hang"; key = "a")
        assign!(pool, busy.job, 900_000)
        @test pid_of("a") == second                 # the other one is idle
        @test pid_of("b") == second
        stop!(pool, busy.job)
        @test eventually(() -> length(pool.idle) == 2)
        @test pid_of("a") == second                 # the one killed has kept nothing
    end
end

@testset "a worker's keys are as many as it may keep models" begin
    worker = Worker(1, run(`true`))
    foreach(i -> served!(worker, "key $i"), [1:20; 19])
    @test worker.keys == ["key $i" for i in [13:18; 20; 19]]
end

@testset "a cancel kills the worker at once, and the spare takes its place" begin
    with_pool(1) do pool
        for _ in 1:2
            stuck = trial("hang")
            assign!(pool, stuck.job, 900_000)
            worker = stuck.job.worker
            end_with(pool, stuck.job, ContractError("CANCELLED", "", "cancelled"))
            @test stuck.ended == 1 && reason(stuck) == "CANCELLED"
            next = trial("echo")
            assign!(pool, next.job, 900_000)
            @test eventually(() -> next.ended == 1)
            @test eventually(() -> process_exited(worker.process))
            @test worker.process.termsignal == 9
            @test eventually(() -> length(pool.idle) == 2)      # and there is a spare again
            @test length(stuck.heard) == 1      # the error: nothing more
        end
    end
end

@testset "a cancel of a job that waits starts nothing" begin
    with_pool(1; spare = false) do pool
        first, second = trial("hang"), trial("echo")
        assign!(pool, first.job, 900_000)
        assign!(pool, second.job, 900_000)
        stop!(pool, second.job)
        @test second.ended == 1 && isempty(second.heard)
        @test isempty(pool.waiting) && busy_count(pool) == 1
        @test process_running(first.job.worker.process)
        stop!(pool, first.job)
    end
end

@testset "what waits as a worker is killed goes to the spare at once" begin
    with_pool(1) do pool
        stuck, next = trial("hang"), trial("hang")
        assign!(pool, stuck.job, 900_000)
        assign!(pool, next.job, 900_000)
        @test next.job.worker === nothing && length(pool.idle) == 1
        end_with(pool, stuck.job, ContractError("CANCELLED", "", "cancelled"))
        @test next.job.worker !== nothing && isempty(pool.idle)
        stop!(pool, next.job)
    end
end

@testset "a job whose bridge has gone keeps no other from the spare" begin
    with_pool(1) do pool
        orphan, next = trial("hang"), trial("echo")
        assign!(pool, orphan.job, 900_000)
        orphan.job.is_orphan = true
        assign!(pool, next.job, 900_000)
        @test eventually(() -> next.ended == 1)
        @test orphan.ended == 0
        stop!(pool, orphan.job)
    end
end

@testset "a worker that dies loses its job and nothing else" begin
    with_pool(2) do pool
        dying, others = trial("die"), [trial("echo") for _ in 1:5]
        assign!(pool, dying.job, 900_000)
        foreach(it -> assign!(pool, it.job, 900_000), others)
        @test eventually(() -> dying.ended == 1 && all(it -> it.ended == 1, others))
        @test reason(dying) == "WORKER_LOST"
        @test unpack(Error, dying.heard[end]).retryable
        @test all(it -> it.heard[end] == b"echo", others)
        @test eventually(() -> length(pool.idle) == 3)
    end
end

@testset "a job that needs more memory than there is for it ends, and is not tried again" begin
    with_pool(1; memory_mib = 500) do pool
        for payload in ("memory that cannot be had", "bits that come to more than the limit")
            it, next = trial(payload), trial("echo")
            assign!(pool, it.job, 900_000)
            assign!(pool, next.job, 900_000)
            @test eventually(() -> it.ended == 1)
            @test reason(it) == "OUT_OF_MEMORY"
            failure = unpack(Error, it.heard[end])
            @test !failure.retryable
            @test occursin("500 MiB", failure.message) && occursin("GRIDPACT_WORKER_MEMORY_MIB", failure.message)
            @test eventually(() -> next.ended == 1)
            @test eventually(() -> length(pool.idle) == 2)
        end
    end
end

@testset "an idle worker that is killed from outside is replaced" begin
    with_pool(1) do pool
        victim = pool.idle[end]
        kill(victim.process, 9)
        @test eventually(() -> !(victim in pool.idle) && length(pool.idle) == 2)
    end
end

@testset "a task that runs out of time ends" begin
    with_pool(1) do pool
        it = trial("hang")
        assign!(pool, it.job, 100)
        @test eventually(() -> it.ended == 1)
        @test reason(it) == "TASK_TIMEOUT"
    end
end

@testset "a task that waits runs out of time as well, and no worker is killed for it" begin
    with_pool(1; spare = false) do pool
        stuck, waiting = trial("hang"), trial("echo")
        assign!(pool, stuck.job, 900_000)
        assign!(pool, waiting.job, 100)
        @test eventually(() -> waiting.ended == 1)
        @test reason(waiting) == "TASK_TIMEOUT" && length(waiting.heard) == 1
        @test busy_count(pool) == 1 && process_running(stuck.job.worker.process)
        stop!(pool, stuck.job)
    end
end

@testset "a job that is over is answered no more, whatever strikes late" begin
    with_pool(1) do pool
        it = trial("echo")
        assign!(pool, it.job, 900_000)
        @test eventually(() -> it.ended == 1)
        expire(pool, it.job, 900_000)
        end_with(pool, it.job, ContractError("CANCELLED", "", "cancelled"))
        accept!(it.job)
        @test it.ended == 1 && it.heard[end] == b"echo"
        @test busy_count(pool) == 0
    end
end

@testset "workers that never get ready are started again, ever more slowly" begin
    with_pool(1; behaviour = "stillborn") do pool
        @test eventually(() -> pool.restart_delay_s >= 2.0)
        @test length(pool.workers) <= 1
    end
end

@testset "closing leaves neither process nor folder" begin
    pids, folder = Int[], ""
    with_pool(2) do pool
        folder = pool.folder
        pids = [getpid(worker.process) for worker in values(pool.workers)]
        @test filemode(folder) & 0o077 == 0
    end
    @test !ispath(folder)
    @test eventually(() -> !any(is_alive, pids))
end
