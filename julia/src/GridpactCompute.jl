"""
The Gridpact compute service. Standard library only; HiGHS and Zstd are called as C libraries.

Layers, each using only those above it:

- `wire`: bytes. MsgPack, Zstd, WebSocket.
- `contracts`: generated message types and limits.
- `model`: an optimisation problem in the words of its field.
- `solve`: the solver behind it.
- `serve`: the front process, the workers, the channel between them.
"""
module GridpactCompute

include("wire/errors.jl")
include("wire/float64ext.jl")
include("wire/msgpack.jl")
include("wire/zstd.jl")
include("wire/websocket.jl")

include("model/linear_program.jl")
include("model/dispatch.jl")

include("solve/highs.jl")
include("solve/dispatch.jl")
include("solve/explain.jl")

end
