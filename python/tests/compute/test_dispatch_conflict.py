"""A problem without a plan: the smallest set that must give way, by the least, and its prices."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from msgspec import UNSET

from gridpact.compute.dispatch import dispatch
from gridpact.contracts.errors import Reason
from gridpact.contracts.messages import DispatchInput, DispatchResult
from gridpact.kit.errors import GridpactError
from gridpact.kit.wire import build
from tests.compute.cases import PLAIN, Json, Wish, problems
from tests.compute.inspector import inspect
from tests.compute.oracle import least_objective, least_relief
from tests.compute.test_dispatch_plan import BATTERY, battery, plan_of, silent, site


def fields_in_order(wanted: DispatchInput) -> list[str]:
    """Every limit that may give way, the hardest to change first, as the page's table has it."""

    def given_ones(at: str, owner: Any, *members: str) -> list[str]:
        return [f"{at}{member}" for member in members if getattr(owner, member) is not UNSET]

    flows = ("max_import_power_kw", "max_export_power_kw")
    found = given_ones("grid.", wanted.grid, *flows, "import_limits_kw", "export_limits_kw")
    for i, group in enumerate(wanted.groups):
        found += given_ones(f"groups[{i}].", group, *flows)
    if wanted.reserve is not UNSET:
        found += given_ones("reserve.", wanted.reserve, "upward_power_kw", "downward_power_kw")
    pumps = list(enumerate(wanted.heat_pumps))
    found += [f"heat_pumps[{i}].tank.min_energy_kwh" for i, _ in pumps]
    for i, vehicle in enumerate(wanted.electric_vehicles):
        for j, stay in enumerate(vehicle.stays):
            found += given_ones(f"electric_vehicles[{i}].stays[{j}].", stay, "required_energy_kwh")
    found += [f"flexible_loads[{i}].energy_kwh" for i, _ in enumerate(wanted.flexible_loads)]
    for i, pump in pumps:
        found += given_ones(f"heat_pumps[{i}].tank.", pump.tank, "final_energy_kwh")
    for i, its in enumerate(wanted.batteries):
        found += given_ones(f"batteries[{i}].", its, "final_energy_kwh")
    return found


def check_relaxed(problem: Json) -> None:
    """The set is what a deletion filter leaves, the amount the least, the cost the least then."""
    wanted = build(DispatchInput, problem)
    assume(least_objective(wanted) is None)
    result = dispatch(wanted, silent)
    assert result.status == "RELAXED"
    needed = fields_in_order(wanted)
    for field in list(needed):
        if least_relief(wanted, [other for other in needed if other != field]) is not None:
            needed.remove(field)
    assert [violation.field for violation in result.violations] == needed
    least = least_relief(wanted, needed)
    amounts = {violation.field: violation.amount for violation in result.violations}
    assert sum(amounts.values()) == pytest.approx(least, abs=3e-6)
    found = inspect(wanted, result)
    assert found.faults == []
    # A little more room than was taken, so that rounding does not decide; it costs its price.
    expected = least_objective(wanted, {field: more + 1e-5 for field, more in amounts.items()})
    room = 3e-5 * sum(abs(violation.price_per_unit) for violation in result.violations)
    assert expected is not None
    tolerance = 2e-6 * max(1.0, abs(expected))
    assert expected - tolerance <= found.objective <= expected + room + tolerance


@given(problems(replace(PLAIN, tight=True)))
@settings(max_examples=60, deadline=None)
def test_grid_limits_and_final_energies_give_way_as_little_as_they_can(problem: Json) -> None:
    check_relaxed(problem)


@given(problems(Wish(most_slots=5)))
@settings(max_examples=40, deadline=None)
def test_a_smallest_set_of_limits_gives_way_as_little_as_it_can(problem: Json) -> None:
    check_relaxed(problem)


WIDE: Json = {"max_import_power_kw": 9, "max_export_power_kw": 9}


def only(result: DispatchResult) -> Any:
    (violation,) = result.violations
    return violation


def test_names_the_slot_the_limit_and_the_price() -> None:
    result = plan_of(site([1.0, 4.0], [0.3, 0.2], max_import=3.0))
    violation = only(result)
    assert violation.field == "grid.max_import_power_kw"
    assert violation.message == "must be at least 4; it is 3 (slot 1)"
    assert (violation.slot, violation.unit) == (1, "kW")
    assert violation.amount == pytest.approx(1.0, abs=2e-6)
    # Without any plan the price is what the last kW costs, not what it would save.
    assert violation.price_per_unit == pytest.approx(0.0, abs=1e-9)


def test_a_wish_gives_way_before_a_fuse() -> None:
    """Either the limit or the final energy would do; the limit is harder to change."""
    result = plan_of(site([2.0], [0.3], batteries=[battery(0.0, 1.6)], max_import=3.0))
    violation = only(result)
    assert (violation.field, violation.name) == ("batteries[0].final_energy_kwh", "battery")
    assert violation.message == "must be at most 0.8; it is 1.6"
    # Storing less saves 0.3 / 0.8 a kWh.
    assert violation.price_per_unit == pytest.approx(0.3 / 0.8)
    assert result.cost == pytest.approx(0.9, abs=1e-5)


def test_the_price_is_what_one_unit_more_saves() -> None:
    """The battery must reach 3.2 kWh; each kWh less of it is one less to be bought at 0.3."""
    problem = site([0.0, 0.0], [0.3, 0.5], batteries=[battery(0.0, 3.9)], max_import=2.0)
    result = plan_of(problem)
    violation = only(result)
    mended = copy.deepcopy(problem)
    mended["batteries"][0]["final_energy_kwh"] = 3.9 - violation.amount
    relieved = copy.deepcopy(mended)
    relieved["batteries"][0]["final_energy_kwh"] -= 0.1
    saved = plan_of(mended).cost - plan_of(relieved).cost
    assert saved == pytest.approx(0.1 * violation.price_per_unit, abs=1e-6)
    assert violation.price_per_unit == pytest.approx(0.5 / 0.8)


@pytest.mark.parametrize("surplus_kw", [5.0, 8.0])
def test_names_the_export_limit(surplus_kw: float) -> None:
    roof = {"name": "roof", "available_power_kw": [surplus_kw]}
    violation = only(plan_of(site([1.0], [0.3], pv=[roof], max_export=2.0)))
    assert violation.field == "grid.max_export_power_kw"
    assert violation.amount == pytest.approx(surplus_kw - 3.0, abs=2e-6)


def test_each_kind_of_limit_is_named_in_the_user_s_words() -> None:
    hour: Json = {"start_slot": 0, "end_slot": 1}
    stay = hour | {"initial_energy_kwh": 0.0, "required_energy_kwh": 4.0}
    vehicle = {"name": "van", "battery": BATTERY, "stays": [stay]}
    pump = {
        "name": "pump",
        "max_power_kw": 1.0,
        "cop": [3.0],
        "heat_demand_kw": [5.0],
        "tank": {"max_energy_kwh": 4.0, "initial_energy_kwh": 1.0},
    }
    pool = hour | {"name": "pool", "energy_kwh": 3.0, "max_power_kw": 2.0}
    cases: list[tuple[Json, str, str]] = [
        (
            {"electric_vehicles": [vehicle]},
            "electric_vehicles[0].stays[0].required_energy_kwh",
            "must be at most 1.6; it is 4",
        ),
        (
            {"heat_pumps": [pump]},
            "heat_pumps[0].tank.min_energy_kwh",
            "1 kWh of heat are missing to keep at least 0 in the tank (slot 0)",
        ),
        (
            {"flexible_loads": [pool]},
            "flexible_loads[0].energy_kwh",
            "must be at most 2; it is 3",
        ),
        (
            {"reserve": {"upward_power_kw": [1.5]}},
            "reserve.upward_power_kw",
            "must be at most 0; it is 1.5 (slot 0)",
        ),
        (
            {"groups": [{"name": "house", "members": ["load"], "max_import_power_kw": 0.5}]},
            "groups[0].max_import_power_kw",
            "must be at least 1; it is 0.5 (slot 0)",
        ),
        (
            {"grid": {**WIDE, "import_limits_kw": [0.5]}},
            "grid.import_limits_kw",
            "must be at least 1; it is 0.5 (slot 0)",
        ),
    ]
    for more, field, words in cases:
        violation = only(plan_of(site([1.0], [0.3], **more)))
        assert (violation.field, violation.message) == (field, words)


def test_fails_with_the_same_violations_where_that_is_wanted() -> None:
    problem = site([1.0, 4.0], [0.3, 0.2], max_import=3.0)
    relaxed = plan_of(problem)
    with pytest.raises(GridpactError) as raised:
        plan_of(problem | {"on_conflict": "FAIL"})
    error = raised.value
    assert error.reason is Reason.INFEASIBLE
    assert [(found.field, found.rule, found.message) for found in error.violations] == [
        (violation.field, "feasible", violation.message) for violation in relaxed.violations
    ]
    assert "grid.max_import_power_kw must be at least" in error.message


def test_a_scenario_that_breaks_a_limit_widens_it_for_all() -> None:
    problem = site([1.0], [0.3], max_import=3.0)
    problem["uncertainty"] = {
        "scenarios": [
            {"name": "calm", "probability": 3},
            {"name": "cold", "probability": 1, "loads": [{"name": "load", "power_kw": [5.0]}]},
        ]
    }
    violation = only(plan_of(problem))
    assert violation.field == "grid.max_import_power_kw"
    assert violation.amount == pytest.approx(2.0, abs=2e-6)
