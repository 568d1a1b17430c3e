# Bridge and node prove to each other that they know the shared secret; neither sends it.

const TOKEN_LIFETIME_S = 300

hmac(secret::String, text::String) = bytes2hex(hmac_sha256(Vector{UInt8}(secret), text))

"What the node answers to the nonce of `hello`."
proof(secret::String, nonce::String) = hmac(secret, "gridpact-compute:" * nonce)

"Equality in a time that does not depend on where the texts differ."
function same_text(a::AbstractString, b::AbstractString)
    ncodeunits(a) == ncodeunits(b) || return false
    difference = 0x00
    for (x, y) in zip(codeunits(a), codeunits(b))
        difference |= x ⊻ y
    end
    return difference == 0x00
end

"""
The gate of the node: lets in whoever presents a fresh token made with the secret, once each.
`clock()` gives Unix seconds.
"""
struct Gate
    secret::String
    clock::Function
    seen::Dict{String,Float64}    # nonce => when it may be forgotten
end
Gate(secret::String; clock = time) = Gate(secret, clock, Dict{String,Float64}())

"Throw `WebSocket.Refused` unless the upgrade request comes from the bridge."
function authorize(gate::Gate, request::WebSocket.Request)
    first(split(request.target, '?')) == "/compute" ||
        throw(WebSocket.Refused(404, "no such path"))
    # A browser always sends an Origin, a bridge never does.
    isempty(WebSocket.values_of(request, "origin")) ||
        throw(WebSocket.Refused(403, "a browser's request"))
    value = WebSocket.value_of(request, "authorization")
    value === nothing && throw(WebSocket.Refused(401, "no token"))
    m = match(r"^Bearer v1\.([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})$", value)
    m === nothing && throw(WebSocket.Refused(401, "no valid token"))
    issued, nonce, mac = String.(m.captures)
    same_text(mac, hmac(gate.secret, "gridpact-bridge:v1.$issued.$nonce")) ||
        throw(WebSocket.Refused(401, "wrong token"))
    now = gate.clock()
    abs(now - parse(Int, issued)) <= TOKEN_LIFETIME_S ||
        throw(WebSocket.Refused(401, "token out of its time"))
    filter!(entry -> entry.second > now, gate.seen)
    haskey(gate.seen, nonce) && throw(WebSocket.Refused(401, "token used before"))
    # A token issued in the future stays valid for up to twice its lifetime.
    gate.seen[nonce] = now + 2 * TOKEN_LIFETIME_S
    return nothing
end
