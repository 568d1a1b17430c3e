# The command line of a compute node.

const USAGE = "usage: compute.jl [--host HOST] [--port PORT] [--workers COUNT]"

"""
    main(arguments) -> exit code

Run a compute node until it is told to end. 2 means that it was called wrongly.
"""
function main(arguments::Vector{String})
    options = Dict("--host" => "127.0.0.1", "--port" => "7430",
        "--workers" => string(max(1, Sys.CPU_THREADS - 1)))
    try
        for i in 1:2:length(arguments)
            haskey(options, arguments[i]) && i < length(arguments) || throw(ArgumentError(USAGE))
            options[arguments[i]] = arguments[i + 1]
        end
        secret = get(ENV, "GRIDPACT_COMPUTE_SECRET", "")
        isempty(secret) && throw(ArgumentError("GRIDPACT_COMPUTE_SECRET is not set"))
        port, capacity = parse(Int, options["--port"]), parse(Int, options["--workers"])
        1 <= capacity <= 1024 || throw(ArgumentError("--workers must be between 1 and 1024"))
        node_id = get(ENV, "GRIDPACT_NODE_ID", "$(gethostname())-$(getpid())")
        serve(host = options["--host"], port = port, capacity = capacity, secret = secret,
            node_id = node_id)
        return 0
    catch err
        err isa Union{ArgumentError,Base.IOError} || rethrow()
        log_event(:error, "cannot-start"; error = sprint(showerror, err))
        return 2
    end
end
