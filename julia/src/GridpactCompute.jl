"""
The Gridpact compute service. Standard library only; HiGHS and Zstd are called as C libraries.

Layers, each using only those above it:

- `wire`: bytes and checks. MsgPack, Zstd, WebSocket; shapes and rules that messages must keep.
- `contracts`: generated message types, shapes, error reasons and limits.
- `model`: an optimisation problem in the words of its field.
- `solve`: the solver behind it, and why its answer is as it is.
- `serve`: the front process, the workers, the channel between them.
"""
module GridpactCompute

# Starting is compiling: what is heavy runs in C libraries, so the compiler need not try hard here.
Base.Experimental.@optlevel 1

using Libdl
using SHA: hmac_sha256
using Sockets

include("wire/errors.jl")
include("wire/float64ext.jl")
include("wire/msgpack.jl")
include("wire/shapes.jl")
include("wire/names.jl")
include("wire/rules.jl")
include("wire/reading.jl")
include("wire/writing.jl")
include("wire/contract.jl")
include("wire/zstd.jl")
include("wire/websocket.jl")

include("contracts/errors.jl")
include("contracts/shapes.jl")
include("contracts/messages.jl")
include("contracts/codecs.jl")
include("contracts/channels.jl")

include("model/linear_program.jl")
include("model/dispatch/problem.jl")
include("model/dispatch/draft.jl")
include("model/dispatch/group.jl")
include("model/dispatch/demand_charge.jl")
include("model/dispatch/grid.jl")
include("model/dispatch/reserve.jl")
include("model/dispatch/level.jl")
include("model/dispatch/storage.jl")
include("model/dispatch/flexible_load.jl")
include("model/dispatch/cycle.jl")
include("model/dispatch/heat_pump.jl")
include("model/dispatch/generator.jl")
include("model/dispatch/pv.jl")
include("model/dispatch/program.jl")
include("model/dispatch/bill.jl")
include("model/dispatch/baseline.jl")
include("model/network.jl")
include("model/replay.jl")
include("model/unit_commitment.jl")

include("solve/highs.jl")
include("solve/warm_models.jl")
include("solve/dispatch/held.jl")
include("solve/warm_program.jl")
include("solve/dispatch/search.jl")
include("solve/dispatch/plan.jl")
include("solve/dispatch/relaxation.jl")
include("solve/dispatch/futures.jl")
include("solve/dispatch/values.jl")
include("solve/dispatch/reasons.jl")
include("solve/dispatch/result.jl")
include("solve/dispatch/rehearsal.jl")
include("solve/klu.jl")
include("solve/newton.jl")
include("solve/network_survey.jl")
include("solve/network_problem.jl")
include("solve/power_flow.jl")
include("solve/replay.jl")
include("solve/mpc_step.jl")
include("solve/plan_check.jl")
include("solve/unit_commitment_dispatch.jl")
include("solve/unit_commitment_conflict.jl")
include("solve/unit_commitment_reasons.jl")
include("solve/unit_commitment_first_plan.jl")
include("solve/unit_commitment.jl")

include("serve/log.jl")
include("serve/process.jl")
include("serve/messages.jl")
include("serve/memory.jl")
include("serve/auth.jl")
include("serve/link.jl")
include("serve/kinds.jl")
include("serve/worker.jl")
include("serve/pool.jl")
include("serve/front.jl")
include("serve/rehearsal.jl")
include("serve/main.jl")

include("precompile.jl")

end
