"""Prices behind a plan, checked by disturbing the problem: what one more of anything saves."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridpact.compute.dispatch import dispatch
from gridpact.contracts.messages import DispatchInput, DispatchResult
from gridpact.kit.wire import build
from tests.compute.cases import LINEAR, PLAIN, Json, problems
from tests.compute.oracle import least_objective
from tests.compute.test_dispatch_plan import battery, plan_of, silent, site

STEP = 0.02
PRICED = replace(LINEAR, outside=0)
"""No binaries, no penalties: the least cost is a convex function of every number."""


def solved(problem: Json) -> tuple[DispatchInput, DispatchResult, float]:
    """The problem's message, its result, and its least cost with deviation."""
    wanted = build(DispatchInput, problem)
    result = dispatch(wanted, silent)
    assume(result.status == "OPTIMAL")
    assume(result.relative_gap == 0.0)
    cost = least_objective(wanted)
    assert cost is not None
    return wanted, result, cost


def disturbed(problem: Json, way: tuple[Any, ...], by: float) -> float:
    """The least cost with the number at ``way`` changed; infinite where no plan is left."""
    changed = copy.deepcopy(problem)
    *steps, last = way
    at: Any = changed
    for step in steps:
        at = at[step]
    at[last] += by
    cost = least_objective(build(DispatchInput, changed))
    return float("inf") if cost is None else cost


def supports(
    problem: Json, cost: float, way: tuple[Any, ...], saved_by_one: float, *, least: float = 0.0
) -> None:
    """``saved_by_one`` more of the number saves at most that, one less costs at least that.

    This is what a dual value promises of a convex cost. Below ``least`` the number may not go.
    """
    at: Any = problem
    for step in way:
        at = at[step]
    for by in (STEP, -STEP):
        if at + by >= least:
            assert disturbed(problem, way, by) >= cost - saved_by_one * by - 2e-6, (way, by)


@given(problems(PRICED), st.data())
@settings(max_examples=20, deadline=None)
def test_grid_price_is_what_load_costs(problem: Json, data: st.DataObject) -> None:
    wanted, result, cost = solved(problem)
    t = data.draw(st.integers(0, wanted.slots - 1))
    hours = wanted.slot_duration_s / 3600
    price = float(result.grid_price_per_kwh[t])
    members = {name for group in problem.get("groups", []) for name in group["members"]}
    loose = [i for i, load in enumerate(problem["loads"]) if load["name"] not in members]
    assume(loose)
    supports(problem, cost, ("loads", loose[0], "power_kw", t), -price * hours)


@given(problems(replace(PRICED, batteries=1, most_slots=5)))
@settings(max_examples=20, deadline=None)
def test_battery_limits_are_worth_what_more_of_them_saves(problem: Json) -> None:
    check_battery(problem)


@given(problems(replace(PLAIN, batteries=1, odd_prices=False, reserve=4)))
@settings(max_examples=25, deadline=None)
def test_battery_limits_are_worth_what_more_saves_beside_a_reserve(problem: Json) -> None:
    check_battery(problem)


def check_battery(problem: Json) -> None:
    assume(problem["batteries"])
    cell = problem["batteries"][0]["battery"]
    cell.setdefault("max_energy_kwh", cell["capacity_kwh"])
    cell["capacity_kwh"] = 99.0  # so that the window can be widened
    _, result, cost = solved(problem)
    plan = result.batteries[0]
    at = ("batteries", 0, "battery")
    supports(problem, cost, (*at, "max_charge_power_kw"), plan.charge_power_value_per_kw)
    supports(problem, cost, (*at, "max_discharge_power_kw"), plan.discharge_power_value_per_kw)
    least = max(
        problem["batteries"][0]["initial_energy_kwh"],
        problem["batteries"][0].get("final_energy_kwh", 0.0),
        cell["min_energy_kwh"],
    )
    supports(problem, cost, (*at, "max_energy_kwh"), plan.capacity_value_per_kwh, least=least)


@given(problems(replace(PRICED, tight=True, most_slots=5)), st.data())
@settings(max_examples=20, deadline=None)
def test_limits_are_worth_what_more_of_them_saves(problem: Json, data: st.DataObject) -> None:
    check_limits(problem, data)


@given(problems(replace(PRICED, tight=True, reserve=4, most_slots=4)), st.data())
@settings(max_examples=20, deadline=None)
def test_limits_are_worth_what_more_saves_beside_a_reserve(
    problem: Json, data: st.DataObject
) -> None:
    check_limits(problem, data)


def check_limits(problem: Json, data: st.DataObject) -> None:
    """The limits of grid and groups, the reserve, and what PV, generators and loads are worth."""
    grid = problem["grid"]
    slots, hours = problem["slots"], problem["slot_duration_s"] / 3600
    for direction in ("import", "export"):
        limit = grid[f"max_{direction}_power_kw"]
        series = grid.get(f"{direction}_limits_kw", [limit] * slots)
        grid[f"{direction}_limits_kw"] = [min(limit, value) for value in series]
        grid[f"max_{direction}_power_kw"] = 99.0
    _, result, cost = solved(problem)
    t = data.draw(st.integers(0, slots - 1))
    for direction, values in (
        ("import", result.import_limit_value_per_kwh),
        ("export", result.export_limit_value_per_kwh),
    ):
        supports(problem, cost, ("grid", f"{direction}_limits_kw", t), values[t] * hours)
    for i, group in enumerate(result.groups):
        for member, values in (
            ("max_import_power_kw", group.import_limit_value_per_kwh),
            ("max_export_power_kw", group.export_limit_value_per_kwh),
        ):
            if member in problem["groups"][i]:
                whole = sum(values) * hours  # it holds in every slot
                supports(problem, cost, ("groups", i, member), whole)
    for member, prices in (
        ("upward_power_kw", result.upward_reserve_price_per_kw),
        ("downward_power_kw", result.downward_reserve_price_per_kw),
    ):
        if member in problem.get("reserve", {}):
            supports(problem, cost, ("reserve", member, t), -prices[t])
    for i, plant in enumerate(result.pv):
        value = plant.marginal_value_per_kwh[t] * hours
        supports(problem, cost, ("pv", i, "available_power_kw", t), value)
    for i, load in enumerate(result.flexible_loads):
        price = -load.marginal_cost_per_kwh
        supports(problem, cost, ("flexible_loads", i, "energy_kwh"), price)
    for i, pump in enumerate(result.heat_pumps):
        value = -pump.marginal_value_per_kwh[t] * hours
        supports(problem, cost, ("heat_pumps", i, "heat_demand_kw", t), value)
    for i, generator in enumerate(result.generators):
        # Greatest output and the end of the last cost step are one number.
        more = [sum(generator.marginal_value_per_kwh) * hours * by for by in (STEP, -STEP)]
        for by, saved in zip((STEP, -STEP), more, strict=True):
            changed = copy.deepcopy(problem)
            changed["generators"][i]["max_power_kw"] += by
            changed["generators"][i]["cost_segments"][-1]["up_to_power_kw"] += by
            if by < 0 and changed["generators"][i].get("initial_power_kw", 0.0) > 0:
                continue
            found = least_objective(build(DispatchInput, changed))
            assert found is None or found >= cost - saved - 2e-6


@given(problems(replace(PRICED, batteries=1, reserve=0)), st.data())
@settings(max_examples=25, deadline=None)
def test_stored_energy_is_worth_what_more_of_it_saves(problem: Json, data: st.DataObject) -> None:
    """One more kWh at the end of a slot is one more from the first slot after it on.

    Stored energy from the start is the initial one: the value in slot 0 is what it saves.
    """
    assume(problem["batteries"])
    asset = problem["batteries"][0]
    _, result, cost = solved(problem)
    plan = result.batteries[0]
    window = asset["battery"].get("max_energy_kwh", asset["battery"]["capacity_kwh"])
    low = asset["battery"]["min_energy_kwh"]
    initial = asset["initial_energy_kwh"]
    value = float(plan.marginal_value_per_kwh[0])
    for by in (STEP, -STEP):
        if low <= initial + by <= window:
            changed = disturbed(problem, ("batteries", 0, "initial_energy_kwh"), by)
            assert changed >= cost - value * by - 2e-6


@given(problems(replace(PRICED, batteries=1, vehicles=2, most_slots=6)))
@settings(max_examples=12, deadline=None)
def test_energy_in_a_vehicle_is_worth_what_more_of_it_saves(problem: Json) -> None:
    assume(problem["electric_vehicles"])
    _, result, cost = solved(problem)
    for i, (asset, plan) in enumerate(
        zip(problem["electric_vehicles"], result.electric_vehicles, strict=True)
    ):
        high = asset["battery"].get("max_energy_kwh", asset["battery"]["capacity_kwh"])
        for j, stay in enumerate(asset["stays"]):
            value = float(plan.marginal_value_per_kwh[stay["start_slot"]])
            way = ("electric_vehicles", i, "stays", j, "initial_energy_kwh")
            for by in (STEP, -STEP):
                if asset["battery"]["min_energy_kwh"] <= stay["initial_energy_kwh"] + by <= high:
                    assert disturbed(problem, way, by) >= cost - value * by - 2e-6


@given(problems(replace(PLAIN, batteries=1, odd_prices=False)), st.data())
@settings(max_examples=20, deadline=None)
def test_value_is_the_saving_where_the_grid_sets_the_price(
    problem: Json, data: st.DataObject
) -> None:
    """Where the meter has power to spare, the value is exactly what a little more saves."""
    assume(problem["batteries"])
    for load in problem["loads"]:
        load["power_kw"] = [power + 20.0 for power in load["power_kw"]]
    problem["grid"] = {"max_import_power_kw": 99.0, "max_export_power_kw": 99.0}
    asset = problem["batteries"][0]
    high = asset["battery"].get("max_energy_kwh", asset["battery"]["capacity_kwh"])
    assume(asset["initial_energy_kwh"] + 0.01 <= high)
    _, result, cost = solved(problem)
    value = float(result.batteries[0].marginal_value_per_kwh[0])
    # More energy at the start is more at the end of slot 0 only where there is room for it then.
    assume(result.batteries[0].energy_kwh[0] < high - 0.02)
    after = disturbed(problem, ("batteries", 0, "initial_energy_kwh"), 0.001)
    if after < float("inf"):
        assert after == pytest.approx(cost - value * 0.001, abs=2e-6)


@pytest.mark.parametrize(("import_price", "export_price"), [(-1.0, 0.08), (0.3, 10.0)])
def test_a_way_that_was_not_chosen_is_no_limit_with_a_value(
    import_price: float, export_price: float
) -> None:
    """Both at once would pay, and one is set to 0; the limits themselves are far away."""
    problem: Json = {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 3600,
        "slots": 2,
        "currency": "EUR",
        "batteries": [],
        "loads": [{"name": "House", "power_kw": [1.0, 2.0]}],
        "tariff": {
            "import_price_per_kwh": [import_price] * 2,
            "export_price_per_kwh": [export_price] * 2,
        },
        "grid": {"max_import_power_kw": 30.0, "max_export_power_kw": 20.0},
    }
    result = dispatch(build(DispatchInput, problem), silent)
    assert list(result.import_limit_value_per_kwh) == [0.0, 0.0]
    assert list(result.export_limit_value_per_kwh) == [0.0, 0.0]


def test_a_cycle_costs_what_its_slots_cost() -> None:
    problem: Json = {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 3600,
        "slots": 3,
        "currency": "EUR",
        "batteries": [],
        "loads": [{"name": "load", "power_kw": [1, 1, 1]}],
        "cycles": [{"name": "wash", "start_slot": 0, "end_slot": 3, "power_kw": [2.0, 0.5]}],
        "tariff": {
            "import_price_per_kwh": [0.3, 0.1, 0.2],
            "export_price_per_kwh": [0, 0, 0],
        },
        "grid": {"max_import_power_kw": 9, "max_export_power_kw": 9},
    }
    (wash,) = plan_of(problem).cycles
    assert (wash.start_slot, wash.power_kw.tolist()) == (1, [0.0, 2.0, 0.5])
    assert wash.energy_cost == pytest.approx(2 * 0.1 + 0.5 * 0.2)


def test_a_plant_in_a_group_is_worth_what_its_limit_costs_too() -> None:
    """The battery stands in at 0.5 for each kWh above the fuse; a kWh of PV saves that one."""
    cell = {
        "capacity_kwh": 9,
        "max_charge_power_kw": 0,
        "max_discharge_power_kw": 5,
        "charge_efficiency": 1,
        "discharge_efficiency": 1,
        "wear_cost_per_kwh": 0.5,
    }
    result = plan_of(
        site(
            [4.0],
            [0.3],
            pv=[{"name": "roof", "available_power_kw": [1.0]}],
            batteries=[{"name": "battery", "battery": cell, "initial_energy_kwh": 9}],
            groups=[
                {
                    "name": "fuse",
                    "members": ["load", "roof", "battery"],
                    "max_import_power_kw": 2.0,
                }
            ],
        )
    )
    assert result.pv[0].marginal_value_per_kwh.tolist() == pytest.approx([0.5])
    assert result.groups[0].import_limit_value_per_kwh.tolist() == pytest.approx([0.2])
    assert result.grid_price_per_kwh.tolist() == pytest.approx([0.3])


def test_a_limit_that_reserve_needs_is_worth_what_it_keeps_out() -> None:
    """Of 3 kW, 1 kW stays free; the generator runs at 0.5 for what could be imported at 0.1."""
    generator = {
        "name": "CHP",
        "max_power_kw": 5,
        "cost_segments": [{"up_to_power_kw": 5, "cost_per_kwh": 0.5}],
    }
    result = plan_of(
        site(
            [5.0],
            [0.1],
            max_import=3.0,
            generators=[generator],
            reserve={"downward_power_kw": [1.0]},
        )
    )
    assert result.import_limit_value_per_kwh.tolist() == pytest.approx([0.4])
    assert result.downward_reserve_price_per_kw.tolist() == pytest.approx([0.4])
    assert result.generators[0].power_kw.tolist() == pytest.approx([-3.0])


def test_charging_power_that_reserve_needs_is_worth_what_it_would_earn() -> None:
    """All power is held back; one kW more would buy at 0.1 what is needed at 0.4."""
    its = battery(0.0, max_charge_power_kw=1.0, charge_efficiency=1.0, discharge_efficiency=1.0)
    reserve = {"downward_power_kw": [1.0, 1.0]}
    result = plan_of(site([0.0, 2.0], [0.1, 0.4], batteries=[its], reserve=reserve))
    assert result.batteries[0].power_kw.tolist() == [0.0, 0.0]
    assert result.batteries[0].charge_power_value_per_kw >= 0.3 - 1e-6
