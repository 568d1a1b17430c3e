# A worker process: takes one task after the other from the front and computes it.

"""
    work(path, id, parent_pid)

Connect to the front at `path`, warm up, say READY and serve tasks until the front goes away.
"""
function work(path::String, id::Int, parent_pid::Int)
    die_with_parent(parent_pid)
    # Interrupts are the front's business; it ends its workers itself.
    ccall(:signal, Ptr{Cvoid}, (Cint, Ptr{Cvoid}), SIGNAL_INTERRUPT, Ptr{Cvoid}(1))
    link = connect(path)
    warm_up()
    write_link(link, READY, codeunits(string(id)) |> collect)
    while true
        tag, payload = try
            read_link(link)
        catch err
            err isa Union{EOFError,Base.IOError} && return nothing
            rethrow()
        end
        tag == TASK && answer(link, payload)
    end
end

"Ten reports a second at most."
const LEAST_REPORT_INTERVAL_S = 0.1

"Compute one task and write what it gives: PROGRESS, then RESULT or ERROR."
function answer(link, payload::Vector{UInt8})
    started_ns = time_ns()
    task = unpack_one_of(SEND_TO_NODE, payload; limits = LIMITS)::TaskMessage
    last_report_s = -Inf
    function progress(fraction, stage; objective = nothing, relative_gap = nothing)
        now_s = time_ns() / 1e9
        now_s - last_report_s < LEAST_REPORT_INTERVAL_S && return nothing
        last_report_s = now_s
        write_link(link, PROGRESS, pack(Progress(task_id = task.task_id,
            fencing_token = task.fencing_token, fraction = fraction, stage = stage,
            objective = objective, relative_gap = relative_gap)))
    end
    try
        encoding, body = encoded(compute_body(task.kind, decoded(task), progress))
        write_link(link, RESULT, pack(Result(task_id = task.task_id,
            fencing_token = task.fencing_token, encoding = encoding,
            solve_ms = (time_ns() - started_ns) / 1e6, body = body)))
    catch err
        write_link(link, ERROR, pack(error_message(failure(err), task)))
    end
    return nothing
end

failure(err::ContractError) = err
failure(::OutOfMemoryError) = ContractError("SOLVER_FAILED", "", "the worker ran out of memory")
function failure(err)
    log_event(:error, "computation-failed"; error = sprint(showerror, err, catch_backtrace()))
    return ContractError("INTERNAL", "", "the computation failed; the node's log says why")
end
