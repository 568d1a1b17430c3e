# What a worker computes before it is ready: every path that a first task may take.

rehearsals(::Type{DispatchInput}) = (
    rehearsal_input() => nothing,
    rehearsal_input(export_price = 0.35) => nothing,        # pays more than imports cost
    rehearsal_input(max_import_kw = 0.1) => "INFEASIBLE",
)

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
        grid = DispatchGrid(max_import_power_kw = max_import_kw, max_export_power_kw = 10.0),
        options = SolverOptions())
end
