# What the node computes. A kind of the contract (`KINDS`: name, input type, result type) is one method
#
#     compute(input, progress) -> result
#
# and nothing else here knows of it. `progress(fraction, stage; objective, relative_gap)` may be called
# at any time.

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
knows_kind(kind) = any(==(kind), first.(KINDS))

"Hold the worker as long as asked, then answer with as many bytes as asked."
function compute(input::ProbeInput, @nospecialize(progress))
    started_ns = time_ns()
    if input.hold_ms > 0
        progress(0.0, "hold")
        Libc.systemsleep(input.hold_ms / 1000)
    end
    return ProbeResult(held_ms = (time_ns() - started_ns) / 1e6, padding = "x"^input.result_bytes)
end

"""
    warm_up()

Compute once what the first task would otherwise wait for: a plan that is linear, one that needs
decisions because exports pay more than imports cost, one that does not exist; and their encoding.
"""
function warm_up()
    ignore(fraction, stage; objective = nothing, relative_gap = nothing) = nothing
    for input in (rehearsal_input(), rehearsal_input(export_price = 0.35),
            rehearsal_input(max_import_kw = 0.1))
        try
            encoded(compute_body("dispatch", pack(input), ignore))
        catch err
            err isa ContractError && err.reason == "INFEASIBLE" || rethrow()
            pack(error_message(err))
        end
    end
    compute_body("probe", pack(ProbeInput(1, 0)), ignore)
    encoded(zeros(UInt8, ZSTD_THRESHOLD_BYTES))
    return nothing
end

"A small day: a battery, a roof and a house."
function rehearsal_input(; export_price = 0.08, max_import_kw = 30.0)
    battery = Battery(capacity_kwh = 10.0, min_energy_kwh = 1.0, max_charge_power_kw = 5.0,
        max_discharge_power_kw = 5.0, charge_efficiency = 0.95, discharge_efficiency = 0.95)
    return DispatchInput(
        start_time = "2026-01-01T00:00:00Z", slot_duration_s = 3600, slots = 4, currency = "EUR",
        batteries = [DispatchBattery("battery", battery, 5.0, 5.0)],
        pv = [DispatchPv("roof", true, [0.0, 0.5, 3.0, 1.0])],
        loads = [DispatchLoad("house", [2.0, 2.0, 1.0, 2.0])],
        tariff = DispatchTariff([0.3, 0.4, 0.2, 0.3], fill(export_price, 4)),
        grid = DispatchGrid(max_import_kw, 10.0), options = SolverOptions())
end
