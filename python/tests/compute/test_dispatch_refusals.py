"""Bad input for dispatch is refused by field and rule before any solver sees it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.compute.dispatch import dispatch
from gridpact.compute.solve.highs import LinearProgram
from gridpact.contracts.errors import Reason
from gridpact.contracts.messages import DispatchInput
from gridpact.kit.errors import GridpactError
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import build
from tests.compute.cases import Json
from tests.compute.test_dispatch_plan import battery, silent, site


@pytest.fixture(autouse=True)
def no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: object, **__: object) -> None:
        pytest.fail("a solver was reached")

    monkeypatch.setattr(LinearProgram, "solve", reached)


def refusals(problem: Json) -> dict[str, str]:
    """Each refused field with its rule."""
    with pytest.raises((ContractError, GridpactError)) as raised:
        dispatch(build(DispatchInput, problem), silent)
    error = raised.value
    assert isinstance(error, ContractError | GridpactError)
    assert error.reason == Reason.INVALID_ARGUMENT
    assert all(found.message for found in error.violations)
    return {found.field: found.rule for found in error.violations}


STAY: Json = {"start_slot": 0, "end_slot": 1, "initial_energy_kwh": 1.0}


def everything() -> Json:
    """A problem of two hours with one of everything."""
    cell = battery(0.0)["battery"]
    problem = site(
        [1.0, 1.0],
        [0.3, 0.2],
        batteries=[battery(1.0, 1.0)],
        pv=[{"name": "roof", "available_power_kw": [0.0, 1.0], "curtailable": True}],
        flexible_loads=[
            {"name": "pool", "start_slot": 0, "end_slot": 2, "energy_kwh": 1, "max_power_kw": 2}
        ],
        cycles=[{"name": "wash", "start_slot": 0, "end_slot": 2, "power_kw": [1.0]}],
        electric_vehicles=[{"name": "van", "battery": cell, "stays": [dict(STAY)]}],
        heat_pumps=[
            {
                "name": "pump",
                "max_power_kw": 2.0,
                "cop": [3.0, 3.0],
                "heat_demand_kw": [1.0, 1.0],
                "tank": {"max_energy_kwh": 6.0, "initial_energy_kwh": 3.0},
            }
        ],
        generators=[
            {
                "name": "CHP",
                "max_power_kw": 2.0,
                "cost_segments": [
                    {"up_to_power_kw": 1.0, "cost_per_kwh": 0.2},
                    {"up_to_power_kw": 2.0, "cost_per_kwh": 0.3},
                ],
            }
        ],
        groups=[{"name": "fuse", "members": ["van", "pool"], "max_import_power_kw": 9.0}],
        reserve={"upward_power_kw": [0.1, 0.1]},
        emissions={"import_kg_per_kwh": [0.3, 0.3]},
        previous_plan={
            "deviation_cost_per_kwh": 0.01,
            "assets": [{"name": "battery", "power_kw": [0.0, 0.0]}],
        },
        uncertainty={
            "scenarios": [
                {"name": "calm", "probability": 1, "loads": [{"name": "load", "power_kw": [1, 1]}]},
                {"name": "windy", "probability": 1},
            ]
        },
    )
    problem["tariff"] |= {
        "grid_fees": [{"name": "fee", "price_per_kwh": [0.1, 0.1]}],
        "import_tiers": {"tiers": [{"from_energy_kwh": 1.0, "surcharge_per_kwh": 0.1}]},
        "demand_charges": [{"name": "peak", "price_per_kw": 1.0, "billing_interval_s": 900}],
    }
    problem["grid"] |= {"import_limits_kw": [9.0, 9.0], "export_limits_kw": [9.0, 9.0]}
    return problem


def numbers(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every number and every series."""
    if isinstance(value, bool | str):
        return []
    if isinstance(value, int | float):
        return [way]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    own = [way] if isinstance(value, list) and value and isinstance(value[0], float) else []
    return own + [found for key, item in inner for found in numbers(item, (*way, key))]


def dotted(way: tuple[Any, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)[1:]


def changed(problem: Json, way: tuple[Any, ...], change: Callable[[Any], Any]) -> Json:
    whole = copy.deepcopy(problem)
    at: Any = whole
    for step in way[:-1]:
        at = at[step]
    at[way[-1]] = change(at[way[-1]])
    return whole


WAYS = numbers(everything())
BAD_NUMBERS = [math.nan, math.inf, -math.inf, None, "1", 1e300, -1e300, [], {}]
BAD_SERIES: list[Any] = [[], [1.0], [1.0, 1.0, 1.0], [math.nan, 1.0], [1.0, math.inf], None, 1.0]


@given(st.sampled_from(WAYS), st.data())
@settings(max_examples=300, deadline=None)
def test_each_number_and_series_is_refused_by_its_own_name(
    way: tuple[Any, ...], data: st.DataObject
) -> None:
    """NaN, infinity, nothing, text, absurd sizes, wrong lengths: each names field and rule."""
    problem = everything()
    at: Any = problem
    for step in way:
        at = at[step]
    if isinstance(at, list):
        bad = data.draw(st.sampled_from(BAD_SERIES))
        if way[0] == "previous_plan" and bad == [1.0]:
            return  # an earlier plan may end before the horizon does
        if way == ("cycles", 0, "power_kw") and bad == [1.0]:
            return  # that is a run, too
    else:
        bad = data.draw(st.sampled_from(BAD_NUMBERS))
    named = refusals(changed(problem, way, lambda _: bad))
    assert any(dotted(way).startswith(field) or field.startswith(dotted(way)) for field in named), (
        named
    )


@pytest.mark.parametrize(
    ("way", "value", "field", "rule"),
    [
        (("electric_vehicles", 0, "stays"), [STAY, STAY], "stays[1].start_slot", "disjoint"),
        (("electric_vehicles", 0, "stays", 0, "end_slot"), 3, "stays[0].end_slot", "at-most"),
        (("electric_vehicles", 0, "stays", 0, "start_slot"), 1, "stays[0].start_slot", "before"),
        (("generators", 0, "cost_segments", 1, "cost_per_kwh"), 0.1, "cost_per_kwh", "increasing"),
        (
            ("generators", 0, "cost_segments", 1, "up_to_power_kw"),
            1.5,
            "up_to_power_kw",
            "last-equals",
        ),
        (("generators", 0, "initial_power_kw"), 1.0, "initial_power_kw", "initially-running"),
        (("flexible_loads", 0, "interruptible"), False, "min_power_kw", "interruptible"),
        (("groups", 0, "members", 1), "nobody", "members[1]", "refers-to"),
        (("previous_plan", "assets", 0, "name"), "load", "assets[0].name", "refers-to"),
        (("cycles", 0, "power_kw"), [1.0, 1.0, 1.0], "cycles[0].power_kw", "fits"),
        (("loads", 0, "name"), "roof", "loads[0].name", "unique"),
        (("uncertainty", "shared_slots"), 3, "uncertainty.shared_slots", "at-most"),
        (("batteries", 0, "final_energy_kwh"), 4.1, "final_energy_kwh", "at-most"),
        (("batteries", 0, "initial_energy_kwh"), 4.3, "initial_energy_kwh", "at-most"),
        (
            ("tariff", "import_tiers", "tiers"),
            [{"from_energy_kwh": 2.0, "surcharge_per_kwh": 0.1}] * 2,
            "tiers[1].from_energy_kwh",
            "increasing",
        ),
    ],
)
def test_each_rule_names_field_and_way_out(
    way: tuple[Any, ...], value: Any, field: str, rule: str
) -> None:
    problem = everything()
    at: Any = problem
    for step in way[:-1]:
        at = at[step]
    at[way[-1]] = value
    named = refusals(problem)
    assert [found for found in named if found.endswith(field)], named
    assert rule in named.values()


def test_everything_would_reach_the_solver() -> None:
    """What the other tests spoil is sound."""
    with pytest.raises(pytest.fail.Exception):
        dispatch(build(DispatchInput, everything()), silent)
