# A worker process: takes one task after the other from the front and computes it.

"""
    work(path, id, parent_pid, memory_mib)

Connect to the front at `path`, warm up, say READY and serve tasks until the front goes away.
"""
function work(path::String, id::Int, parent_pid::Int, memory_mib::Int)
    die_with_parent(parent_pid)
    # Interrupts are the front's business; it ends its workers itself.
    ccall(:signal, Ptr{Cvoid}, (Cint, Ptr{Cvoid}), SIGNAL_INTERRUPT, Ptr{Cvoid}(1))
    link = connect(path)
    limit_memory(memory_mib)
    warm_up()
    Klu.library() === nothing && log_event(:warn, "klu-missing";
        solver = "UMFPACK, which is slower", remedy = "install libklu or set GRIDPACT_LIBKLU")
    write_link(link, READY, codeunits(string(id)) |> collect)
    while true
        tag, payload = try
            read_link(link)
        catch err
            err isa Union{EOFError,Base.IOError} && return nothing
            rethrow()
        end
        tag == TASK && answer(link, payload)
        relieve_memory(memory_mib)
    end
end

"Ten reports a second at most."
const LEAST_REPORT_INTERVAL_S = 0.1

"What a computation calls to say how far it is; writes PROGRESS to the link."
mutable struct Report
    link::IO
    task::TaskMessage
    last_s::Float64
end

function (report::Report)(fraction, stage; objective = nothing, bound = nothing,
        relative_gap = nothing)
    now_s = time_ns() / 1e9
    now_s - report.last_s < LEAST_REPORT_INTERVAL_S && return nothing
    report.last_s = now_s
    write_link(report.link, PROGRESS, pack(Progress(task_id = report.task.task_id,
        fencing_token = report.task.fencing_token, fraction = fraction, stage = stage,
        objective = objective, bound = bound, relative_gap = relative_gap)))
end

"Compute one task and write what it gives: PROGRESS, then RESULT or ERROR."
function answer(@nospecialize(link::IO), payload::Vector{UInt8})
    started_ns = time_ns()
    task = unpack_one_of(SEND_TO_NODE, payload; limits = LIMITS)::TaskMessage
    Highs.DEADLINE_NS[] = started_ns + UInt64(task.remaining_ms) * 1_000_000
    Highs.GIVEN_S[] = task.remaining_ms / 1000
    Highs.CUT_SHORT[] = false
    under!(WARM_MODELS, task.affinity_key)
    try
        encoding, body = encoded(compute_body(task.kind, decoded(task), Report(link, task, -Inf)))
        write_link(link, RESULT, pack(Result(task_id = task.task_id,
            fencing_token = task.fencing_token, encoding = encoding,
            solve_ms = (time_ns() - started_ns) / 1e6, body = body)))
    catch err
        err isa OutOfMemoryError && end_out_of_memory()
        err isa ContractError && err.reason == "TASK_TIMEOUT" && Highs.CUT_SHORT[] &&
            (err = out_of_time(task.remaining_ms))
        write_link(link, ERROR, pack(error_message(failure(err), task)))
    finally
        Highs.DEADLINE_NS[] = typemax(UInt64)
    end
    return nothing
end

"No time limit of the input ended the task, but its own."
out_of_time(remaining_ms::Int) = ContractError("TASK_TIMEOUT", "",
    "the task was not done within the $(Shapes.number(remaining_ms / 1000)) s that it had left; " *
    "raise timeout_s or make it smaller")

failure(err::ContractError) = err
function failure(err)
    log_event(:error, "computation-failed"; error = sprint(showerror, err, catch_backtrace()))
    return ContractError("INTERNAL", "", "the computation failed; the node's log says why")
end

"""
    warm_up()

Answer the rehearsals of every kind to nobody, so that no real task waits for the compiler. Throws when
an answer is not what it should be, or a kind has no rehearsal.
"""
function warm_up()
    for (kind, types) in KINDS
        knows_kind(kind) || continue
        cases = rehearsals(types.input)
        isempty(cases) && error("the kind $kind has no rehearsal")
        foreach(case -> rehearse_kind(kind, case.first, case.second), cases)
    end
    encoded(zeros(UInt8, ZSTD_THRESHOLD_BYTES))
    return nothing
end

"Answer one input, from bytes to bytes; `reason` is that of the error which it should come to, or nothing."
function rehearse_kind(kind::String, @nospecialize(input), reason)
    link = IOBuffer()
    answer(link, pack(TaskMessage(task_id = REHEARSAL_TASK_ID, kind = kind, attempt = 1,
        fencing_token = 1, remaining_ms = 600_000, encoding = "zstd",
        body = Zstd.compress(MsgPack.pack(input)))))
    seekstart(link)
    tag, payload = read_link(link)
    while tag == PROGRESS
        tag, payload = read_link(link)
    end
    answered = tag == RESULT ? nothing : unpack(Error, payload).reason
    answered == reason ||
        error("a rehearsal of $kind is answered by $(repr(String(payload)))")
    return nothing
end

const REHEARSAL_TASK_ID = "00000000-0000-7000-8000-000000000000"
