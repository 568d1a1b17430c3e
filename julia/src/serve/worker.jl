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
    try
        encoding, body = encoded(compute_body(task.kind, decoded(task), Report(link, task, -Inf)))
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

"""
    warm_up()

Answer tasks to nobody, so that no real one waits for the compiler: a plan that is linear, one that
needs decisions because exports pay more than imports cost, one that does not exist. Throws when an
answer is not what it should be.
"""
function warm_up()
    for (input, expected) in ((rehearsal_input(), RESULT),
            (rehearsal_input(export_price = 0.35), RESULT),
            (rehearsal_input(max_import_kw = 0.1), ERROR))
        link = IOBuffer()
        answer(link, pack(TaskMessage(task_id = REHEARSAL_TASK_ID, kind = "dispatch", attempt = 1,
            fencing_token = 1, remaining_ms = 600_000, encoding = "zstd",
            body = Zstd.compress(pack(input)))))
        seekstart(link)
        tag, payload = read_link(link)
        while tag == PROGRESS
            tag, payload = read_link(link)
        end
        tag == expected || error("the worker's own task is answered by $(repr(String(payload)))")
    end
    encoded(zeros(UInt8, ZSTD_THRESHOLD_BYTES))
    return nothing
end

const REHEARSAL_TASK_ID = "00000000-0000-7000-8000-000000000000"

"A small day: a battery, a roof and a house."
function rehearsal_input(; export_price = 0.08, max_import_kw = 30.0)
    battery = Battery(capacity_kwh = 10.0, min_energy_kwh = 1.0, max_charge_power_kw = 5.0,
        max_discharge_power_kw = 5.0, charge_efficiency = 0.95, discharge_efficiency = 0.95)
    return DispatchInput(
        start_time = "2026-01-01T00:00:00Z", slot_duration_s = 3600, slots = 4, currency = "EUR",
        batteries = [DispatchBattery("battery", battery, 5.0, 5.0)],
        pv = [DispatchPv("roof", true, [0.0, 0.5, 3.0, 1.0])],
        loads = [DispatchLoad("house", [2.0, 2.0, 1.0, 2.0])],
        tariff = DispatchTariff(import_price_per_kwh = [0.3, 0.4, 0.2, 0.3],
            export_price_per_kwh = fill(export_price, 4)),
        grid = DispatchGrid(max_import_power_kw = max_import_kw, max_export_power_kw = 10.0), options = SolverOptions())
end
