"""Dispatch plans: against a second formulation, a plain check of each plan, and known optima."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridpact.compute.dispatch import dispatch
from gridpact.contracts.channels import LIMITS
from gridpact.contracts.errors import Reason
from gridpact.contracts.messages import DispatchInput, DispatchResult
from gridpact.kit.errors import GridpactError
from gridpact.kit.wire import build, decode, encode
from tests.compute.cases import LINEAR, PLAIN, Json, Wish, problems
from tests.compute.inspector import inspect
from tests.compute.oracle import least_objective


def silent(*_: object, **__: object) -> None:
    """Hears no progress."""


def plan_of(problem: Json) -> DispatchResult:
    return dispatch(build(DispatchInput, problem), silent)


def same(one: float, other: float) -> bool:
    return abs(one - other) <= 2e-6 * max(1.0, abs(other))


def check_against_oracle(problem: Json) -> None:
    """Equal cost where the oracle finds a plan, RELAXED where it finds none; the plan is sound."""
    wanted = build(DispatchInput, problem)
    result = dispatch(wanted, silent)
    found = inspect(wanted, result)
    assert found.faults == []
    expected = least_objective(wanted)
    if expected is None:
        assert result.status == "RELAXED"
    else:
        assert (result.status, result.violations) == ("OPTIMAL", [])
        assert same(found.objective, expected), (found.objective, expected)


@given(problems(PLAIN))
@settings(max_examples=100, deadline=None)
def test_batteries_and_pv_cost_what_a_second_formulation_says(problem: Json) -> None:
    check_against_oracle(problem)


@given(problems(Wish(tight=False)))
@settings(max_examples=120, deadline=None)
def test_all_assets_cost_what_a_second_formulation_says(problem: Json) -> None:
    check_against_oracle(problem)


@given(problems(LINEAR))
@settings(max_examples=40, deadline=None)
def test_a_plan_without_binaries_has_no_gap(problem: Json) -> None:
    result = plan_of(problem)
    assert result.relative_gap == 0.0
    check_against_oracle(problem)


@pytest.mark.parametrize(
    "kind",
    ["vehicles", "flexible_loads", "cycles", "heat_pumps", "generators"],
)
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_two_of_a_kind_cost_what_a_second_formulation_says(kind: str, data: st.DataObject) -> None:
    """Each kind beside batteries, without the rest that might hide it."""
    wish = replace(PLAIN, **{kind: 2}, outside=1, batteries=1, most_slots=12)
    check_against_oracle(data.draw(problems(wish)))


@given(problems(Wish(reserve=1, tight=False, uncertainty=True, outside=0)))
@settings(max_examples=25, deadline=None)
def test_scenarios_cost_what_a_second_formulation_says(problem: Json) -> None:
    """The mean and the tail, of all scenarios together; what is shared leaves each its answer."""
    problem.pop("previous_plan", None)  # departing decides, and is not in the costs told
    wanted = build(DispatchInput, problem)
    expected = least_objective(wanted)
    assume(expected is not None)
    result = dispatch(wanted, silent)
    assert inspect(wanted, result).faults == []
    told = result.uncertainty
    assert told
    assert expected is not None
    weights = [scenario.probability for scenario in told.scenarios]
    costs = [scenario.cost for scenario in told.scenarios]
    assert sum(weights) == pytest.approx(1.0)
    assert told.expected_cost == pytest.approx(
        sum(weight * cost for weight, cost in zip(weights, costs, strict=True))
    )
    assert told.expected_cost - 1e-9 <= told.cvar <= max(costs) + 1e-9
    (shown,) = (one for one in told.scenarios if one.name == told.scenario)
    assert shown.cost == result.cost
    assert shown.grid_power_kw == result.grid_power_kw
    asked = problem["uncertainty"]
    risk = asked["risk_weight"]
    assert same((1 - risk) * told.expected_cost + risk * told.cvar, expected)


@given(problems(Wish(tight=False)))
@settings(max_examples=40, deadline=None)
def test_result_obeys_its_own_contract(problem: Json) -> None:
    """What a reader would refuse is not sent: encoding checks shapes and rules."""
    result = plan_of(problem)
    assert decode(DispatchResult, encode(result), LIMITS) == result


@given(problems(replace(PLAIN, odd_prices=True)), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_never_costs_more_than_either_baseline(problem: Json, final: int) -> None:
    """Idle batteries and batteries that follow the rule are plans, where no final energy forces."""
    for battery in problem["batteries"]:
        battery.pop("final_energy_kwh", None)
        if final == 0:
            battery["final_energy_kwh"] = battery["initial_energy_kwh"]
    result = plan_of(problem)
    assume(result.baseline_within_grid_limits)
    assert result.cost <= result.baseline_cost + 1e-6
    if final:
        # With every limit kept idle, following the rule keeps them, too: it only comes nearer 0.
        assert isinstance(result.rule_based_cost, float)
        assert result.cost <= result.rule_based_cost + 1e-6


@given(problems(replace(Wish(), batteries=0, generators=0, whole=False, tight=False)))
@settings(max_examples=60, deadline=None)
def test_baseline_is_the_least_cost_of_what_runs_at_once(problem: Json) -> None:
    """With every flexible asset written down as the fixed load that the page says it is."""
    result = plan_of(problem)
    for key in ("reserve", "previous_plan", "groups"):
        problem.pop(key, None)
    fixed = copy.deepcopy(problem)
    for kind in ("flexible_loads", "electric_vehicles", "heat_pumps", "cycles"):
        for asset in fixed.pop(kind, []):
            power = at_once(asset, kind, problem)
            fixed["loads"].append({"name": asset["name"], "power_kw": power})
    # Tiers and demand charges are charged on it; they do not decide it.
    charged = {
        key: fixed["tariff"].pop(key)
        for key in ("import_tiers", "demand_charges")
        if key in fixed["tariff"]
    }
    if not result.baseline_within_grid_limits:
        fixed["grid"] = {"max_import_power_kw": 999, "max_export_power_kw": 999}
    expected = least_objective(build(DispatchInput, fixed))
    assert expected is not None
    if not charged.get("import_tiers") and not charged.get("demand_charges"):
        assert result.baseline_cost == pytest.approx(expected, abs=2e-6)
        assert result.rule_based_cost == pytest.approx(expected, abs=2e-6)
    elif all(tier["surcharge_per_kwh"] >= 0 for tier in tiers_of(charged)):
        assert result.baseline_cost >= expected - 2e-6


def tiers_of(charged: Json) -> list[Json]:
    return charged.get("import_tiers", {}).get("tiers", [])


def at_once(asset: Json, kind: str, problem: Json) -> list[float]:
    """The power of an asset without a plan, slot by slot."""
    slots, hours = problem["slots"], problem["slot_duration_s"] / 3600
    power = [0.0] * slots
    if kind == "cycles":
        for k, value in enumerate(asset["power_kw"]):
            power[asset["start_slot"] + k] = value
    elif kind == "heat_pumps":
        for t in range(slots):
            needed = asset["heat_demand_kw"][t] / asset["cop"][t]
            power[t] = min(asset["max_power_kw"], needed)
    elif kind == "flexible_loads":
        left = asset["energy_kwh"]
        for t in range(asset["start_slot"], asset["end_slot"]):
            power[t] = min(asset["max_power_kw"], left / hours)
            left -= power[t] * hours
    else:
        cell = asset["battery"]
        for stay in asset["stays"]:
            energy = stay["initial_energy_kwh"]
            wanted = stay.get("required_energy_kwh", 0.0)
            for t in range(stay["start_slot"], stay["end_slot"]):
                full = cell["max_charge_power_kw"]
                missing = max(0.0, wanted - energy) / (cell["charge_efficiency"] * hours)
                power[t] = min(full, missing)
                energy += power[t] * hours * cell["charge_efficiency"]
    return power


BATTERY: Json = {
    "capacity_kwh": 4.0,
    "max_charge_power_kw": 2.0,
    "max_discharge_power_kw": 2.0,
    "charge_efficiency": 0.8,
    "discharge_efficiency": 0.8,
}


def site(
    load: list[float],
    import_price: list[float],
    export_price: list[float] | None = None,
    *,
    max_import: float = 30.0,
    max_export: float = 30.0,
    **more: Any,
) -> Json:
    """A problem of hours."""
    return {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 3600,
        "slots": len(load),
        "currency": "EUR",
        "batteries": [],
        "loads": [{"name": "load", "power_kw": load}],
        "tariff": {
            "import_price_per_kwh": import_price,
            "export_price_per_kwh": [0.05] * len(load) if export_price is None else export_price,
        },
        "grid": {"max_import_power_kw": max_import, "max_export_power_kw": max_export},
    } | more


def battery(initial: float, final: float | None = None, **changed: float) -> Json:
    found: Json = {
        "name": "battery",
        "battery": BATTERY | changed,
        "initial_energy_kwh": initial,
    }
    return found if final is None else found | {"final_energy_kwh": final}


def test_does_not_burn_energy_at_negative_prices() -> None:
    """Charging and discharging at once would be paid for; the plan does one of them."""
    check_against_oracle(
        site([0.0] * 4, [-0.5] * 4, [-0.6] * 4, batteries=[battery(4.0, 4.0)]),
    )


def test_does_not_trade_with_itself_through_the_meter() -> None:
    """Export that pays more than import costs is no money machine."""
    assert plan_of(site([1.0], [0.1], [0.3])).cost == pytest.approx(0.1)


def test_a_measured_energy_outside_the_window_is_brought_back_as_fast_as_power_allows() -> None:
    """Below the least energy it charges at once, however dear; the penalty is not in the cost."""
    low = battery(0.2, min_energy_kwh=3.0)
    result = plan_of(site([1.0] * 4, [0.9, 0.4, 0.4, 0.4], batteries=[low]))
    plan = result.batteries[0]
    assert plan.power_kw.tolist()[:2] == pytest.approx([2.0, 1.5])
    assert plan.energy_kwh.tolist() == pytest.approx([1.8, 3.0, 3.0, 3.0])
    assert plan.reasons[:2] == ["RECOVER", "RECOVER"]
    assert result.cost == pytest.approx(0.9 * 3 + 0.4 * 2.5 + 0.4 + 0.4)


def test_time_limit_gives_a_plan_or_says_so() -> None:
    """Out of time with a plan in hand, the plan is whole and its gap honest."""
    slots = 96
    prices = [((7 * t) % 13) / 20 - 0.3 for t in range(slots)]
    problem = site(
        [1.0 + (t % 5) / 2 for t in range(slots)],
        prices,
        [((5 * t) % 11) / 20 - 0.3 for t in range(slots)],
        batteries=[battery(2.0) | {"name": f"battery {i}"} for i in range(4)],
        options={"time_limit_s": 1.0, "relative_gap": 0.0},
    )
    wanted = build(DispatchInput, problem)
    try:
        result = dispatch(wanted, silent)
    except GridpactError as error:
        # A machine too busy to find any.
        if error.reason is Reason.TASK_TIMEOUT:
            return
        raise
    assert inspect(wanted, result).faults == []
    assert result.status in ("OPTIMAL", "TIME_LIMIT")
    assert (result.status == "TIME_LIMIT") == (result.relative_gap > 0.0)


def test_plants_share_what_is_curtailed() -> None:
    roofs = [
        {"name": name, "curtailable": True, "available_power_kw": [power]}
        for name, power in (("a", 3.0), ("b", 1.0))
    ]
    result = plan_of(site([2.0], [0.3], [-0.1], pv=roofs))
    assert [plant.power_kw.tolist() for plant in result.pv] == [[-1.5], [-0.5]]


def test_demand_charge_looks_at_the_clock_and_at_what_was_taken_before() -> None:
    """10:25 to 10:30 belongs to a half hour in which 0.5 kWh were taken already."""
    charge = {
        "name": "peak",
        "price_per_kw": 10.0,
        "billing_interval_s": 1800,
        "interval_energy_so_far_kwh": 0.5,
    }
    problem = site([2.0, 3.0], [0.0, 0.0], slot_duration_s=300, start_time="2026-06-01T10:25:00Z")
    problem["tariff"]["demand_charges"] = [charge]
    result = plan_of(problem)
    # (0.5 + 2 · 5/60) kWh / 0.5 h; the next half hour has seen 3 · 5/60 kWh only.
    (line,) = (line for line in result.bill if line.item == "DEMAND_CHARGE")
    assert line.quantity == pytest.approx((0.5 + 2 * 5 / 60) / 0.5)
    assert result.cost == pytest.approx(10 * (0.5 + 2 * 5 / 60) / 0.5)
