"One rule that one field breaks: what is wrong and what would be right."
struct Violation
    field::String
    rule::String
    message::String
end

"""
    ContractError(reason, field, message, violations = Violation[])

A message or an input broke its contract, or the work it asked for failed in a way the contract
names. `reason` is an entry of `contracts/errors.yaml`; `field` is the path of the offending value
(`"batteries[0].capacity_kwh"`, or `""` when the message as a whole is meant); `message` is for
people and nobody branches on it; `violations` names every rule broken, where there are several.
"""
struct ContractError <: Exception
    reason::String
    field::String
    message::String
    violations::Vector{Violation}
end
ContractError(reason, field, message) = ContractError(reason, field, message, Violation[])

function Base.showerror(io::IO, err::ContractError)
    print(io, err.reason, isempty(err.field) ? "" : " at $(err.field)", ": ", err.message)
end

"Refuse a value of the message being read."
malformed(message; field = "") = throw(ContractError("MESSAGE_MALFORMED", field, message))
