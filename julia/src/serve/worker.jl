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

"Compute one task and write what it gives: PROGRESS, then RESULT or ERROR."
function answer(link, payload::Vector{UInt8})
    started_ns = time_ns()
    task = unpack_task(payload)
    last_progress_s = 0.0
    function progress(fraction, stage, objective = nothing, relative_gap = nothing)
        now_s = time_ns() / 1e9
        now_s - last_progress_s < 0.1 && return nothing   # at most ten a second
        last_progress_s = now_s
        write_link(link, PROGRESS, pack_progress(task, fraction, stage, objective, relative_gap))
    end
    try
        body = compute(task.kind, decoded_body(task), progress)
        encoding, body = encoded_body(body)
        solve_ms = (time_ns() - started_ns) / 1e6
        write_link(link, RESULT, pack_result(task, encoding, solve_ms, body))
    catch err
        write_link(link, ERROR, pack_error(task, failure(err)))
    end
    return nothing
end

failure(err::ContractError) = err
failure(::OutOfMemoryError) = ContractError("SOLVER_FAILED", "", "the worker ran out of memory")
function failure(err)
    log_event(:error, "computation-failed"; error = sprint(showerror, err, catch_backtrace()))
    return ContractError("INTERNAL", "", "the computation failed; the node's log says why")
end
