using GridpactCompute: Error, Job, Pool, Worker, assign!, served!, busy_count, end_with, expire, job_count, keep_spare, stop!,
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

@testset "a job is accepted, told of and ended once" begin
    with_pool(2) do pool
        it = trial("progress")
        assign!(pool, it.job, 900_000)
        @test eventually(() -> it.ended == 1)
        @test length(it.heard) == 3         # accepted, progress, result
        @test it.heard[2] == it.heard[3] == b"progress"
        @test busy_count(pool) == 0
    end
end

@testset "jobs beyond the ready workers wait for one" begin
    with_pool(1; spare = false) do pool
        trials = [trial("echo $i") for i in 1:20]
        foreach(it -> assign!(pool, it.job, 900_000), trials)
        @test job_count(pool) == 20
        @test eventually(() -> all(it -> it.ended == 1, trials))
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
            @test length(stuck.heard) == 2      # accepted, error: nothing more
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
        stop!(pool, first.job)
    end
end

@testset "a worker that dies loses its job and nothing else" begin
    with_pool(2) do pool
        dying, other = trial("die"), trial("echo")
        assign!(pool, dying.job, 900_000)
        assign!(pool, other.job, 900_000)
        @test eventually(() -> dying.ended == 1 && other.ended == 1)
        @test reason(dying) == "WORKER_LOST"
        @test unpack(Error, dying.heard[end]).retryable
        @test other.heard[end] == b"echo"
        @test eventually(() -> length(pool.idle) == 3)
    end
end

@testset "a job that needs more memory than there is for it ends, and is not tried again" begin
    with_pool(1; memory_mib = 500) do pool
        for payload in ("memory that cannot be had", "bits that come to more than the limit")
            it = trial(payload)
            assign!(pool, it.job, 900_000)
            @test eventually(() -> it.ended == 1)
            @test reason(it) == "OUT_OF_MEMORY"
            failure = unpack(Error, it.heard[end])
            @test !failure.retryable
            @test occursin("500 MiB", failure.message) && occursin("GRIDPACT_WORKER_MEMORY_MIB", failure.message)
            next = trial("echo")
            assign!(pool, next.job, 900_000)
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

@testset "a job that is over is answered no more, whatever strikes late" begin
    with_pool(1) do pool
        it = trial("echo")
        assign!(pool, it.job, 900_000)
        @test eventually(() -> it.ended == 1)
        expire(pool, it.job, 900_000)
        end_with(pool, it.job, ContractError("CANCELLED", "", "cancelled"))
        @test it.ended == 1 && length(it.heard) == 2        # accepted, result
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
