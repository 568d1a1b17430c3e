# What the node computes. A kind is a function from its input to its result; both are contract types.

"The kinds this node announces."
const KINDS = ("dispatch", "probe")

"""
    compute(kind, body, progress) -> bytes

Decode the input of `kind`, compute, encode the result.
"""
function compute(kind::String, body::Vector{UInt8}, progress)
    kind == "dispatch" && return pack(dispatch(unpack(DispatchInput, body), progress))
    kind == "probe" && return pack(probe(unpack(ProbeInput, body)))
    throw(ContractError("KIND_UNKNOWN", "kind", "this node does not know the kind $kind"))
end
