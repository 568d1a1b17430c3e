# One file for each file of src/, and the golden vectors of contract-tests/.
#
#     julia --project=julia julia/test/runtests.jl [NAME...]      e.g. wire/websocket

using GridpactCompute
using Test

include("support.jl")
include("problems.jl")
include("networks.jl")

const FILES = isempty(ARGS) ? [
    "wire/float64ext", "wire/msgpack", "wire/shapes", "wire/rules", "wire/contract", "wire/zstd",
    "wire/websocket",
    "model/linear_program", "model/dispatch/program", "model/dispatch/baseline", "model/dispatch/bill",
    "model/network",
    "solve/highs", "solve/warm_models", "solve/dispatch/search", "solve/dispatch/values", "solve/dispatch/reasons",
    "solve/dispatch/relaxation", "solve/dispatch/futures", "solve/dispatch/result",
    "solve/warm_program", "solve/mpc_step", "solve/replay",
    "solve/klu", "solve/power_flow", "solve/plan_check", "solve/unit_commitment",
    "serve/log", "serve/auth", "serve/link", "serve/messages", "serve/memory", "serve/kinds", "serve/pool",
    "serve/front", "serve/main",
] : ARGS

@testset "GridpactCompute" begin
    @testset "$file" for file in FILES
        include("$file.jl")
    end
end
