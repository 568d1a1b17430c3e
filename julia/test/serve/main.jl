# The node as the platform starts it: processes, signals, exit codes.

using GridpactCompute: Result, TaskMessage, hear, pack, rehearsal_house, say, unpack, DispatchResult, Hello, Welcome,
    upgrade_request
using Sockets

const ROOT = GridpactCompute.project_folder()
const COMPUTE = joinpath(ROOT, "bin", "compute.jl")

node_command(arguments...; secret = "s") = setenv(
    `$(Base.julia_cmd()) --startup-file=no --project=$ROOT $COMPUTE $arguments`,
    merge(Dict(ENV), Dict("GRIDPACT_COMPUTE_SECRET" => secret)))

exit_code(command) = (process = run(pipeline(ignorestatus(command); stdout = devnull)); process.exitcode)

@testset "a wrong call ends with 2" begin
    @test exit_code(node_command("--port", "none")) == 2
    @test exit_code(node_command("--workers", "0")) == 2
    @test exit_code(node_command("--unknown", "1")) == 2
    @test exit_code(node_command("--port")) == 2
    @test exit_code(node_command(; secret = "")) == 2
end

@testset "a port that is taken ends with 2, and leaves no worker" begin
    port, listener = listenany(ip"127.0.0.1", 0)
    @test exit_code(node_command("--port", string(Int(port)), "--workers", "1")) == 2
    close(listener)
end

"The process ids of a process's children."
children(pid) = parse.(Int, split(read(`pgrep -P $pid`, String)))
lives(pid) = ccall(:kill, Cint, (Cint, Cint), pid, 0) == 0

"Start a node with one worker; `use(port, process, pids)` once it is ready."
function with_process(use)
    process = open(node_command("--port", "0", "--workers", "1"), "r")
    try
        said = [""]
        while !occursin("event=ready", said[end])
            eof(process) && error("the node ended before it was ready: $(join(said, '\n'))")
            push!(said, readline(process))
        end
        port = parse(Int, match(r"address=127.0.0.1:([0-9]+)", said[end]).captures[1])
        use(port, process, children(getpid(process)))
    finally
        process_running(process) && kill(process, 9)
    end
end

@testset "a node that is ready plans, and ends cleanly when told to" begin
    with_process() do port, process, pids
        socket = connect(ip"127.0.0.1", port)
        write(socket, upgrade_request("s"))
        readuntil(socket, "\r\n\r\n")
        say(socket, Hello(1, "bridge-1", "ab"^16))
        @test hear(socket, Welcome).engine == "julia"
        say(socket, TaskMessage(task_id = "01981f6e-7c00-7000-8000-000000000004", kind = "dispatch", attempt = 1,
            fencing_token = 1, remaining_ms = 900_000, encoding = "identity", body = pack(rehearsal_house())))
        @test unpack(DispatchResult, hear(socket, Result).body).status == "OPTIMAL"
        kill(process, 15)
        @test read(socket, UInt8) == 0x88                   # it says that it goes
        @test eventually(() -> process_exited(process))
        @test process.exitcode == 0
        @test eventually(() -> !any(lives, pids))
    end
end

@testset "workers do not outlive a front that is killed" begin
    with_process() do port, process, pids
        @test !isempty(pids)
        kill(process, 9)
        @test eventually(() -> !any(lives, pids))
    end
end
