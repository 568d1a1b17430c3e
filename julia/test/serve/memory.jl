# What a worker may use, and how one ends that wants more.

using GridpactCompute: LEAST_WORKER_MEMORY_MIB, OUT_OF_MEMORY_EXIT, machine_memory_bytes, private_memory_mib,
    worker_memory_mib

"The exit code of a Julia that is limited to `mib` and then runs `code`."
function exit_code_of(code; mib = 400)
    program = "using GridpactCompute; GridpactCompute.limit_memory($mib); $code"
    command = `$(Base.julia_cmd()) -O1 --startup-file=no --project=$(GridpactCompute.project_folder()) -e $program`
    return run(pipeline(ignorestatus(command); stderr = devnull)).exitcode
end

@testset "the limit is the setting, or the share of a worker in the machine" begin
    withenv("GRIDPACT_WORKER_MEMORY_MIB" => nothing) do
        machine_mib = machine_memory_bytes() ÷ 2^20
        @test 0 < machine_mib <= Sys.total_memory() ÷ 2^20
        @test worker_memory_mib(1) in (3 * machine_mib ÷ 4 - 1):(3 * machine_mib ÷ 4 + 1)
        @test worker_memory_mib(1) >= worker_memory_mib(2) >= worker_memory_mib(10^9) == LEAST_WORKER_MEMORY_MIB
    end
    withenv(() -> @test(worker_memory_mib(3) == 700), "GRIDPACT_WORKER_MEMORY_MIB" => "700")
    for wrong in ("255", "-1", "1.5e3", "much")
        withenv("GRIDPACT_WORKER_MEMORY_MIB" => wrong) do
            @test_throws ArgumentError worker_memory_mib(1)
        end
    end
end

@testset "a process's own memory is what it has written to" begin
    # In a process of its own: this one has garbage that may go away meanwhile.
    @test exit_code_of("own() = GridpactCompute.private_memory_mib(getpid()); before = own(); " *
        "held = fill(0x01, 100 * 2^20); exit(90 <= own() - before <= 130 && held[end] == 1 ? 9 : 8)") == 9
    @test private_memory_mib(2^22) == 0                     # no such process
end

@testset "what is allocated beyond the limit fails, in C++ and in Julia" begin
    @test exit_code_of("ccall((:_Znwm, \"libstdc++.so.6\"), Ptr{Cvoid}, (Csize_t,), 2^30)") == OUT_OF_MEMORY_EXIT
    @test exit_code_of("try zeros(2^27) catch err; exit(err isa OutOfMemoryError ? 9 : 8) end") == 9
    @test exit_code_of("zeros(2^24); exit(read(\"/proc/self/oom_score_adj\", String) == \"500\\n\" ? 9 : 8)") == 9
end
