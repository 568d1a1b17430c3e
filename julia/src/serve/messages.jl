# What the node says, and how bodies travel.

const ENGINE = "julia"
const ENGINE_VERSION = String(match(r"^version = \"(.+)\"$"m,
    read(joinpath(@__DIR__, "..", "..", "Project.toml"), String)).captures[1])
const HEARTBEAT_INTERVAL_S = HEARTBEAT_INTERVAL_MS / 1000

"The node answers a peer's silence of three intervals by ending the connection."
channel_limits() = WebSocket.Limits(message_bytes = MESSAGE_BYTES,
    silence_timeout_s = 3 * HEARTBEAT_INTERVAL_S, send_buffer_bytes = 4 * MESSAGE_BYTES)

"""
The `error` message for `err`, about the attempt that `about` names (a task message or a job) or,
without one, about the connection.
"""
function error_message(err::ContractError, about = nothing)
    reason = get(REASONS, err.reason, REASONS["INTERNAL"])
    return Error(
        task_id = about === nothing ? nothing : about.task_id,
        fencing_token = about === nothing ? nothing : about.fencing_token,
        reason = err.reason, message = clipped(err.message, 4096), retryable = reason.retryable,
        violations = Violation[
            Violation(clipped(v.field, 256), clipped(v.rule, 64), clipped(v.message, 1024))
            for v in err.violations[1:min(end, MAX_VIOLATIONS)]])
end

"At most `count` characters of a text."
clipped(text::String, count::Int) =
    length(text) <= count ? text : text[1:nextind(text, 0, count - 1)] * "…"

"The body of a task as the kind's MsgPack."
decoded(task::TaskMessage) =
    task.encoding == "zstd" ? Zstd.decompress(task.body, DECODED_BYTES) : task.body

"`(encoding, bytes)` of a result's body: compressed where that saves a tenth. RESULT_TOO_LARGE where no message carries it."
function encoded(body::Vector{UInt8})
    length(body) <= DECODED_BYTES || throw(result_too_large(length(body), DECODED_BYTES))
    encoding = "identity"
    if length(body) >= ZSTD_THRESHOLD_BYTES
        frame = Zstd.compress(body)
        if 10 * length(frame) <= 9 * length(body)
            encoding, body = "zstd", frame
        end
    end
    length(body) <= BODY_BYTES || throw(result_too_large(length(body), BODY_BYTES))
    return encoding, body
end

result_too_large(bytes::Int, limit::Int) = ContractError("RESULT_TOO_LARGE", "",
    "the result has $bytes bytes, at most $limit can be sent; ask for fewer slots or a shorter report")
