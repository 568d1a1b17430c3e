# What a worker computes before it is ready: every path that a first task may take.

rehearsals(::Type{DispatchInput}) = (
    rehearsal_house() => nothing,
    rehearsal_house(export_price = 0.35) => nothing,                  # pays more than imports cost
    rehearsal_house(max_import_kw = 0.1) => nothing,                  # relaxed
    rehearsal_house(max_import_kw = 0.1, on_conflict = "FAIL") => "INFEASIBLE",
    rehearsal_estate() => nothing,
)

"A small day: a battery, a roof and a house."
function rehearsal_house(; export_price = 0.08, max_import_kw = 30.0, on_conflict = "RELAX")
    return DispatchInput(
        start_time = "2026-01-01T00:00:00Z", slot_duration_s = 3600, slots = 4, currency = "EUR",
        batteries = [DispatchBattery("battery", rehearsal_battery(), 5.0, 5.0)],
        pv = [DispatchPv("roof", true, [0.0, 0.5, 3.0, 1.0])],
        loads = [DispatchLoad("house", [2.0, 2.0, 1.0, 2.0])],
        tariff = DispatchTariff(import_price_per_kwh = [0.3, 0.4, 0.2, 0.3],
            export_price_per_kwh = fill(export_price, 4)),
        grid = DispatchGrid(max_import_power_kw = max_import_kw, max_export_power_kw = 10.0),
        on_conflict = on_conflict, options = SolverOptions())
end

rehearsal_battery() = Battery(capacity_kwh = 10.0, min_energy_kwh = 1.0, max_charge_power_kw = 5.0,
    max_discharge_power_kw = 5.0, charge_efficiency = 0.95, discharge_efficiency = 0.95)

"One of everything, in two futures, with a battery that is outside of its window."
function rehearsal_estate()
    house = rehearsal_house()
    hours = [0.3, 0.2, 0.1, 0.4]
    return DispatchInput(start_time = house.start_time, slot_duration_s = 3600, slots = 4, currency = "EUR",
        batteries = [DispatchBattery("battery", rehearsal_battery(), 0.5, nothing)],
        pv = [DispatchPv("roof", true, [0.0, 0.5, 3.0, 1.0]), DispatchPv("shed", false, hours)],
        loads = house.loads,
        flexible_loads = [DispatchFlexibleLoad("pump", 0, 3, 1.5, 1.0, 2.0, false)],
        cycles = [DispatchCycle("washer", 0, 4, [2.0, 0.5])],
        electric_vehicles = [DispatchElectricVehicle("car", rehearsal_battery(), 1.4, [DispatchStay(0, 3, 4.0, 6.0)])],
        heat_pumps = [DispatchHeatPump("heat pump", 0.5, 2.0, fill(3.0, 4), fill(1.0, 4),
            DispatchHeatTank(max_energy_kwh = 8.0, initial_energy_kwh = 4.0, final_energy_kwh = 2.0))],
        generators = [DispatchGenerator(name = "engine", min_power_kw = 1.0, max_power_kw = 3.0,
            cost_segments = [DispatchCostSegment(2.0, 0.2), DispatchCostSegment(3.0, 0.25)], start_cost = 0.1,
            min_up_duration_s = 7200, ramp_up_kw_per_h = 1.5, ramp_down_kw_per_h = 1.5)],
        tariff = DispatchTariff(import_price_per_kwh = [0.3, 0.4, 0.2, 0.3], export_price_per_kwh = fill(0.08, 4),
            grid_fees = [DispatchGridFee("network", hours)],
            import_tiers = DispatchTiers(tiers = [DispatchTier(2.0, 0.05), DispatchTier(9.0, -0.02)]),
            demand_charges = [DispatchDemandCharge(name = "peak", price_per_kw = 0.5, billing_interval_s = 3600,
                windows = [DispatchSlotWindow(0, 3)])]),
        grid = DispatchGrid(max_import_power_kw = 30.0, max_export_power_kw = 10.0,
            import_limits_kw = fill(20.0, 4), export_limits_kw = fill(20.0, 4)),
        groups = [DispatchGroup(name = "garage", members = ["car", "house"], max_import_power_kw = 11.0,
            max_export_power_kw = 11.0)],
        reserve = DispatchReserve(upward_power_kw = fill(0.5, 4), downward_power_kw = fill(0.5, 4)),
        emissions = DispatchEmissions(fill(0.4, 4), 0.1),
        previous_plan = DispatchPreviousPlan(0.01, [DispatchAssetPower("battery", [1.0, 0.0])]),
        uncertainty = DispatchUncertainty(shared_slots = 1, risk_weight = 0.3, scenarios = [
            DispatchScenario(name = "clear", probability = 0.7),
            DispatchScenario(name = "cloudy", probability = 0.3, pv = [DispatchScenarioSeries("roof", zeros(4))])]))
end
