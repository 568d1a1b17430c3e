# What the node computes. A kind of the contract (`KINDS`: name, input type, result type) is one method
#
#     compute(input, progress) -> result
#
# and what a worker computes before it is ready, so that no task waits for the compiler:
#
#     rehearsals(::Type{Input}) -> (input => nothing, input => "REASON of its error", ...)
#
# Each path through the code should be taken by one. Nothing else here knows of a kind. `progress(fraction, stage; objective, bound, relative_gap)` may be
# called at any time; what comes too soon after another is dropped.

"""
    compute_body(kind, body, progress) -> bytes

Decode the input of `kind`, compute, encode the result. Throws `ContractError`.
"""
function compute_body(kind::String, body::Vector{UInt8}, progress)
    for (name, types) in KINDS
        name == kind &&
            return pack(compute(unpack(types.input, body; limits = LIMITS), progress)::types.result)
    end
    throw(unknown_kind(kind))
end

unknown_kind(kind) = ContractError("KIND_UNKNOWN", "kind", "this node does not know the kind $kind")

"The names of the kinds that have a `compute`."
computed_kinds() = String[name for (name, types) in KINDS if hasmethod(compute, Tuple{types.input,Any})]
knows_kind(kind) = kind in computed_kinds()

"Hold the worker as long as asked, then answer with as many bytes as asked."
function compute(input::ProbeInput, progress)
    started_ns = time_ns()
    if input.hold_ms > 0
        progress(0.0, "hold")
        Libc.systemsleep(input.hold_ms / 1000)
    end
    return ProbeResult(held_ms = (time_ns() - started_ns) / 1e6, padding = "x"^input.result_bytes)
end

rehearsals(::Type{ProbeInput}) = (ProbeInput(1, 20) => nothing,)
