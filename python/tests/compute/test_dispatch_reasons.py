"""Each reason where it must appear; and no reason that does not fit what an asset does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.compute.cases import Json, Wish, problems
from tests.compute.test_dispatch_plan import battery, plan_of, site

SMALL = 1e-6
POWERFUL = {"max_charge_power_kw": 5.0, "max_discharge_power_kw": 5.0}


@given(problems(Wish(tight=False, reserve=2, previous_plan=2, outside=2)))
@settings(max_examples=60, deadline=None)
def test_reasons_fit_what_assets_do(problem: Json) -> None:
    """No storage charges for the reason of a discharge, nothing holds while it works, and so on."""
    result = plan_of(problem)
    running = {"CHEAPEST", "POWER_LIMIT", "HEAT_DEMAND"}
    resting = {"DEARER", "HOLD_FULL", "OUTSIDE"}
    for plan in (*result.batteries, *result.electric_vehicles):
        for power, reason in zip(plan.power_kw, plan.reasons, strict=True):
            if reason.startswith("CHARGE"):
                assert power > 0
            if reason.startswith("DISCHARGE"):
                assert power < 0
            if reason.startswith("HOLD") or reason == "AWAY":
                assert abs(power) <= SMALL
            if reason == "POWER_LIMIT":
                assert abs(power) > SMALL
    for plan in (*result.flexible_loads, *result.heat_pumps):
        for power, reason in zip(plan.power_kw, plan.reasons, strict=True):
            assert power <= SMALL or reason not in resting
            assert power > SMALL or reason not in running
    for plan in result.generators:
        for on, reason in zip(plan.running, plan.reasons, strict=True):
            assert on or reason not in {"CHEAPER_THAN_GRID", "MIN_UP", "MIN_POWER", "RAMP_LIMIT"}
            assert not on or reason not in {"DEARER_THAN_GRID", "MIN_DOWN", "START_COST"}
    for asset, plan in zip(problem["pv"], result.pv, strict=True):
        assert plan.reasons
        for power, most, reason in zip(
            plan.power_kw, asset["available_power_kw"], plan.reasons, strict=True
        ):
            assert (reason == "FULL_OUTPUT") == (most + power <= SMALL)


def reasons_of(kind: str, problem: Json) -> list[str]:
    (plan,) = getattr(plan_of(problem), kind)
    return [plan.reason] if kind == "cycles" else list(plan.reasons)


def of_battery(load: list[float], price: list[float], its: Json, **more: Any) -> list[str]:
    return reasons_of("batteries", site(load, price, batteries=[its], **more))


def roof(*power: float, curtailable: bool = False) -> Json:
    return {"name": "roof", "available_power_kw": list(power), "curtailable": curtailable}


def test_buys_cheap_and_supplies_the_load() -> None:
    assert of_battery([1.0, 2.0], [0.1, 0.4], battery(0.0, **POWERFUL)) == [
        "CHARGE_FROM_GRID",
        "DISCHARGE_TO_LOAD",
    ]


def test_stores_surplus() -> None:
    its = battery(0.0, **POWERFUL)
    assert of_battery([0.5, 1.5], [0.3, 0.3], its, pv=[roof(2.0, 0.0)])[0] == "CHARGE_FROM_SURPLUS"


def test_sells_where_export_pays() -> None:
    its = battery(2.0, **POWERFUL)
    problem = site([0.0, 0.0], [0.5, 0.5], [0.1, 0.4], batteries=[its])
    assert reasons_of("batteries", problem) == ["HOLD_NO_GAIN", "DISCHARGE_TO_EXPORT"]


def test_full_power_is_the_limit_only_while_more_would_pay() -> None:
    small = battery(0.0, max_charge_power_kw=1.0, capacity_kwh=0.8)
    assert of_battery([0.0, 3.0], [0.1, 0.4], small)[0] == "CHARGE_FROM_GRID"
    roomy = battery(0.0, max_charge_power_kw=1.0)
    assert of_battery([0.0, 3.0], [0.1, 0.4], roomy)[0] == "POWER_LIMIT"


def test_grid_limit_decides() -> None:
    its = battery(0.0, **POWERFUL)
    assert of_battery([1.0, 1.9], [0.1, 0.4], its, max_import=2.0)[0] == "GRID_LIMIT"


def test_empty_battery_waits() -> None:
    """A flat price gives nothing to charge for; any energy would be used at once."""
    assert of_battery([1.0, 1.0], [0.3, 0.3], battery(0.0)) == ["HOLD_EMPTY", "HOLD_EMPTY"]


def test_full_battery_lets_surplus_go() -> None:
    its = battery(4.0, max_discharge_power_kw=5.0)
    assert of_battery([0.5, 4.0], [0.3, 0.3], its, pv=[roof(2.0, 0.0)]) == [
        "HOLD_FULL",
        "DISCHARGE_TO_LOAD",
    ]


def test_small_difference_is_no_gain() -> None:
    assert of_battery([1.0, 1.0], [0.30, 0.35], battery(0.0))[0] == "HOLD_NO_GAIN"


def test_required_final_energy_is_bought_and_kept() -> None:
    assert of_battery([1.0, 1.0], [0.3, 0.3], battery(1.0, 1.0)) == ["FINAL_ENERGY"] * 2
    bought = battery(0.0, 1.0, max_charge_power_kw=5.0)
    assert of_battery([1.0, 1.0], [0.3, 0.2], bought)[1] == "FINAL_ENERGY"


def test_group_limit_decides() -> None:
    """The fuse of battery and heater lets no more in at the cheap price."""
    groups = [{"name": "fuse", "members": ["battery"], "max_import_power_kw": 1.0}]
    its = battery(0.0, **POWERFUL)
    assert of_battery([0.0, 3.0], [0.1, 0.4], its, groups=groups)[0] == "GROUP_LIMIT"


def test_peak_price_holds_the_battery_back() -> None:
    """Charging at 0.1 what is worth 0.32 then would pay, if it did not make the month's peak."""
    problem = site([1.0, 3.0], [0.1, 0.4], batteries=[battery(0.0, **POWERFUL)])
    charge = {"name": "peak", "price_per_kw": 9.0, "billing_interval_s": 3600}
    problem["tariff"]["demand_charges"] = [charge]
    assert reasons_of("batteries", problem)[0] == "PEAK_PRICE"


def test_reserve_keeps_energy_back() -> None:
    """One kWh must stay for the hour that the reserve may be called."""
    its = battery(1.0, charge_efficiency=1.0, discharge_efficiency=1.0)
    reserve = {"upward_power_kw": [1.0], "duration_s": 3600}
    assert of_battery([1.0], [0.3], its, reserve=reserve) == ["RESERVE"]


def test_previous_plan_is_kept_where_departing_gains_less_than_it_costs() -> None:
    its = battery(2.0, charge_efficiency=1.0, discharge_efficiency=1.0)
    previous = {
        "deviation_cost_per_kwh": 0.05,
        "assets": [{"name": "battery", "power_kw": [-2.0, 0.0]}],
    }
    # Later would be better by 0.02, less than 2 · 0.05 for the two changes.
    assert of_battery([2.0, 2.0], [0.30, 0.32], its, previous_plan=previous)[0] in (
        "PREVIOUS_PLAN",
        "POWER_LIMIT",
    )
    smaller = battery(2.0, charge_efficiency=1.0, discharge_efficiency=1.0, **POWERFUL)
    assert (
        of_battery([2.5, 2.5], [0.30, 0.32], smaller, previous_plan=previous)[0] == "PREVIOUS_PLAN"
    )


def test_pv_says_why_it_is_curtailed() -> None:
    def why(export_price: float, power: float = 2.0, **more: Any) -> str:
        plant = roof(power, curtailable=True)
        (reason,) = reasons_of("pv", site([1.0], [0.3], [export_price], pv=[plant], **more))
        return reason

    assert why(0.1) == "FULL_OUTPUT"
    assert why(-0.1) == "CURTAIL_PRICE"
    assert why(0.1, 5.0, max_export=1.0) == "GRID_LIMIT"
    fuse = {"name": "fuse", "members": ["roof"], "max_export_power_kw": 1.5}
    assert why(0.1, groups=[fuse]) == "GROUP_LIMIT"
    assert why(0.1, reserve={"upward_power_kw": [0.5]}) == "RESERVE"


def test_vehicle_is_away_or_charges_for_its_departure() -> None:
    stay = {
        "start_slot": 1,
        "end_slot": 3,
        "initial_energy_kwh": 0.0,
        "required_energy_kwh": 0.8,
    }
    van = {"name": "van", "battery": battery(0.0)["battery"], "stays": [stay]}
    problem = site([0.0] * 4, [0.3, 0.3, 0.2, 0.1], electric_vehicles=[van])
    result = plan_of(problem)
    # It waits for the cheaper slot, with nothing but the departure in view.
    assert list(result.electric_vehicles[0].reasons) == ["AWAY", "DEPARTURE", "DEPARTURE", "AWAY"]
    assert result.electric_vehicles[0].marginal_value_per_kwh.tolist() == pytest.approx(
        [0.0, 0.25, 0.25, 0.0]
    )


def load_in_window(**changed: Any) -> Json:
    pool = {"name": "pool", "start_slot": 1, "end_slot": 4, "energy_kwh": 2.0, "max_power_kw": 2.0}
    return pool | changed


def test_flexible_load_runs_where_it_is_cheapest() -> None:
    def why(pool: Json, price: list[float], **more: Any) -> list[str]:
        problem = site([0.0] * len(price), price, flexible_loads=[pool], **more)
        return reasons_of("flexible_loads", problem)

    prices = [0.1, 0.3, 0.2, 0.3]
    assert why(load_in_window(), prices) == ["OUTSIDE", "DEARER", "CHEAPEST", "DEARER"]
    assert why(load_in_window(energy_kwh=3.0), prices)[2] == "POWER_LIMIT"
    assert why(load_in_window(energy_kwh=6.0), prices) == ["OUTSIDE", *["NO_CHOICE"] * 3]


def test_flexible_load_avoids_the_peak() -> None:
    """All at 0.2 would be cheapest but for the peak."""
    problem = site([0.0] * 4, [0.1, 0.3, 0.2, 0.3], flexible_loads=[load_in_window()])
    charge = {"name": "peak", "price_per_kw": 1.0, "billing_interval_s": 3600}
    problem["tariff"]["demand_charges"] = [charge]
    result = plan_of(problem)
    assert result.flexible_loads[0].power_kw.tolist() == pytest.approx([0, 2 / 3, 2 / 3, 2 / 3])
    assert "PEAK_PRICE" in result.flexible_loads[0].reasons


def test_cycle_has_a_choice_or_none() -> None:
    wash = {"name": "wash", "start_slot": 0, "end_slot": 2, "power_kw": [1.0]}
    assert reasons_of("cycles", site([0.0, 0.0], [0.3, 0.1], cycles=[wash])) == ["CHEAPEST"]
    long = wash | {"power_kw": [1.0, 1.0]}
    assert reasons_of("cycles", site([0.0, 0.0], [0.3, 0.1], cycles=[long])) == ["NO_CHOICE"]


def pump(demand: list[float], initial: float, **changed: Any) -> Json:
    return {
        "name": "pump",
        "max_power_kw": 2.0,
        "cop": [3.0] * len(demand),
        "heat_demand_kw": demand,
        "tank": {"max_energy_kwh": 6.0, "initial_energy_kwh": initial},
    } | changed


def test_heat_pump_runs_for_demand_for_price_or_to_recover() -> None:
    def why(its: Json, price: list[float]) -> list[str]:
        problem = site([0.0] * len(price), price, heat_pumps=[its])
        return reasons_of("heat_pumps", problem)

    assert why(pump([3.0], 0.0), [0.3]) == ["HEAT_DEMAND"]
    assert why(pump([0.0, 4.5], 0.0), [0.1, 0.3]) == ["CHEAPEST", "DEARER"]
    roomy = pump([0.0, 9.0], 0.0)
    roomy["tank"]["max_energy_kwh"] = 9.0
    assert why(roomy, [0.1, 0.3]) == ["POWER_LIMIT", "HEAT_DEMAND"]
    assert why(pump([0.0], 6.0), [-0.3]) == ["HOLD_FULL"]
    cold = pump([0.0], 1.0)
    cold["tank"]["min_energy_kwh"] = 2.0
    assert why(cold, [0.3]) == ["RECOVER"]


def chp(**changed: Any) -> Json:
    segments = [{"up_to_power_kw": 2.0, "cost_per_kwh": 0.2}]
    return {"name": "CHP", "max_power_kw": 2.0, "cost_segments": segments} | changed


def test_generator_says_why_it_runs_or_rests() -> None:
    def why(its: Json, load: list[float], price: list[float]) -> list[str]:
        return reasons_of("generators", site(load, price, generators=[its]))

    assert why(chp(), [1.0], [0.3]) == ["CHEAPER_THAN_GRID"]
    assert why(chp(), [3.0], [0.3]) == ["POWER_LIMIT"]
    assert why(chp(), [1.0], [0.1]) == ["DEARER_THAN_GRID"]
    assert why(chp(start_cost=9.0), [1.0], [0.3]) == ["START_COST"]
    started = chp(min_power_kw=1.0, initially_running=True, start_cost=0.3)
    # Stopping for an hour would cost a start.
    assert why(started, [2.0, 2.0, 2.0], [0.3, 0.1, 0.3])[1] == "MIN_POWER"
    bound = chp(min_power_kw=1.0, initially_running=True)
    bound |= {"min_up_duration_s": 7200, "initial_duration_s": 3600}
    assert why(bound, [2.0, 2.0], [0.1, 0.1]) == ["MIN_UP", "DEARER_THAN_GRID"]
    resting = chp(min_power_kw=1.0, min_down_duration_s=7200, initial_duration_s=3600)
    assert why(resting, [2.0, 2.0], [0.3, 0.3])[0] == "MIN_DOWN"
    slow = chp(ramp_up_kw_per_h=0.5)
    assert why(slow, [3.0, 3.0], [0.3, 0.3]) == ["RAMP_LIMIT", "RAMP_LIMIT"]


def test_recovery_comes_before_any_other_reason() -> None:
    low = battery(0.2, min_energy_kwh=1.0)
    assert of_battery([1.0, 1.0], [0.1, 0.4], low)[0] == "RECOVER"
