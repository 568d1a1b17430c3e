"""Each rule of x-rules, at its edge."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.contracts.messages import DispatchInput
from gridpact.kit.rules import (
    AtMost,
    Before,
    Contains,
    Convex,
    Disjoint,
    Fits,
    Increasing,
    LastEquals,
    LengthEquals,
    MustRunCanStart,
    NotAllZero,
    RefersTo,
    Rule,
    Spans,
)
from gridpact.kit.violation import ContractError, Violation
from gridpact.kit.wire import build

BATTERY = {
    "capacity_kwh": 100.0,
    "max_charge_power_kw": 5.0,
    "max_discharge_power_kw": 4.0,
    "charge_efficiency": 0.9,
    "discharge_efficiency": 0.8,
}
INPUT: dict[str, Any] = {
    "start_time": "2026-06-01T00:00:00Z",
    "slot_duration_s": 1800,
    "slots": 2,
    "currency": "EUR",
    "batteries": [{"name": "Home", "battery": BATTERY, "initial_energy_kwh": 50.0}],
    "loads": [{"name": "House", "power_kw": [1.0, 1.0]}],
    "tariff": {"import_price_per_kwh": [0.3, 0.3], "export_price_per_kwh": [0.1, 0.1]},
    "grid": {"max_import_power_kw": 30, "max_export_power_kw": 30},
}


def violations(change: dict[str, Any] | None = None, **battery: float) -> list[Violation]:
    plain = copy.deepcopy(INPUT) | (change or {})
    plain["batteries"][0].update(battery)
    try:
        build(DispatchInput, plain)
    except ContractError as error:
        return list(error.violations)
    return []


def rules(found: list[Violation]) -> list[tuple[str, str]]:
    return [(violation.field, violation.rule) for violation in found]


def test_sound_input_breaks_nothing() -> None:
    assert violations() == []


def test_series_of_another_length_is_named_with_both_numbers() -> None:
    (found,) = violations({"loads": [{"name": "House", "power_kw": [1.0]}]})
    assert found == Violation(
        "loads[0].power_kw", "length-equals", "must have 2 values (slots); it has 1"
    )


def test_name_may_occur_once_among_all_lists() -> None:
    (found,) = violations({"loads": [{"name": "Home", "power_kw": [1.0, 1.0]}]})
    assert found == Violation(
        "loads[0].name", "unique", "must differ from batteries[0].name; both are 'Home'"
    )


def test_measured_energy_may_be_a_little_beyond_the_window() -> None:
    """A measurement is not an order: the plan brings the battery back."""
    assert violations(initial_energy_kwh=104.9) == []
    plain = copy.deepcopy(INPUT)
    plain["batteries"][0]["battery"]["min_energy_kwh"] = 60
    assert violations(plain) == []


def test_initial_energy_far_beyond_the_capacity_names_the_initial_energy() -> None:
    (found,) = violations(initial_energy_kwh=105.5)
    assert found == Violation(
        "batteries[0].initial_energy_kwh",
        "at-most",
        "must be at most 100 + 5% (battery.capacity_kwh); it is 105.5",
    )


def test_broken_rules_are_all_named() -> None:
    plain = copy.deepcopy(INPUT)
    plain["slots"] = 3
    plain["batteries"][0]["initial_energy_kwh"] = 106
    assert rules(violations(plain)) == [
        ("loads[0].power_kw", "length-equals"),
        ("tariff.import_price_per_kwh", "length-equals"),
        ("tariff.export_price_per_kwh", "length-equals"),
        ("batteries[0].initial_energy_kwh", "at-most"),
    ]


def blamed(rule: Rule, value: object) -> list[tuple[str, str]]:
    return rules(list(rule.check(value)))


def items(name: str, *values: object) -> list[SimpleNamespace]:
    return [SimpleNamespace(**{name: value}) for value in values]


def test_one_limit_holds_for_many_values() -> None:
    value = SimpleNamespace(slots=4, stays=items("end_slot", 4, 5))
    assert blamed(AtMost("stays[].end_slot", "slots"), value) == [("stays[1].end_slot", "at-most")]


@given(st.integers(), st.integers())
def test_before_is_strict(first: int, last: int) -> None:
    found = blamed(Before("first", "last"), SimpleNamespace(first=first, last=last))
    assert found == ([] if first < last else [("first", "before")])


@given(st.lists(st.integers(0, 5), max_size=6), st.booleans())
def test_increasing_holds_for_sorted_values_only(values: list[int], or_equal: bool) -> None:
    found = blamed(
        Increasing("points[].at", or_equal), SimpleNamespace(points=items("at", *values))
    )
    assert (not found) == (values == sorted(values if or_equal else set(values)))


@given(st.sets(st.text()), st.text())
def test_reference_must_lead_somewhere(names: set[str], name: str) -> None:
    value = SimpleNamespace(buses=items("name", *names), load=SimpleNamespace(bus=name))
    found = blamed(RefersTo("load.bus", ("buses[].name",)), value)
    assert found == ([] if name in names else [("load.bus", "refers-to")])


def test_tolerance_is_a_part_of_the_limit() -> None:
    rule = AtMost("measured", "capacity", tolerance=0.05)
    assert blamed(rule, SimpleNamespace(measured=105.0, capacity=100.0)) == []
    assert blamed(rule, SimpleNamespace(measured=105.1, capacity=100.0)) == [
        ("measured", "at-most")
    ]


@given(st.integers(0, 9))
def test_windows_are_in_order(second: int) -> None:
    value = SimpleNamespace(
        stays=[SimpleNamespace(start=0, end=4), SimpleNamespace(start=second, end=9)]
    )
    found = blamed(Disjoint("stays[]", "start", "end"), value)
    assert found == ([] if second >= 4 else [("stays[1].start", "disjoint")])


@given(st.integers(0, 9))
def test_profile_fits_its_window(count: int) -> None:
    value = SimpleNamespace(power=[1.0] * count, start=2, end=6)
    found = blamed(Fits("power", "start", "end"), value)
    assert found == ([] if count <= 4 else [("power", "fits")])


@given(st.integers(0, 9))
def test_a_list_may_be_shorter_where_that_is_said(count: int) -> None:
    value = SimpleNamespace(plan=[1.0] * count, slots=4)
    found = blamed(LengthEquals("plan", "slots", or_less=True), value)
    assert found == ([] if count <= 4 else [("plan", "length-equals")])


@given(st.lists(st.floats(0, 9), min_size=1), st.floats(0, 9))
def test_last_value_is_what_it_must_be(values: list[float], most: float) -> None:
    found = blamed(
        LastEquals("steps[].to", "most"), SimpleNamespace(most=most, steps=items("to", *values))
    )
    assert bool(found) == (abs(values[-1] - most) > 1e-9 * max(1.0, most))


def curve(*places: tuple[float, float]) -> SimpleNamespace:
    points = [SimpleNamespace(power_mw=x, cost_per_h=y) for x, y in places]
    return SimpleNamespace(curve=points, least=10.0, most=20.0)


CONVEX = Convex("curve", "power_mw", "cost_per_h")


@given(st.lists(st.integers(-9, 9), max_size=6))
def test_convex_means_that_no_slope_falls(slopes: list[int]) -> None:
    places = [(0.0, 0.0)]
    for slope in slopes:
        places.append((places[-1][0] + 2.0, places[-1][1] + 2.0 * slope))
    falls = [i for i in range(1, len(slopes)) if slopes[i] < slopes[i - 1]]
    assert blamed(CONVEX, curve(*places)) == [
        (f"curve[{i + 1}].cost_per_h", "convex") for i in falls
    ]


def test_convex_says_what_the_cost_must_be_at_least() -> None:
    (found,) = CONVEX.check(curve((1, 10), (2, 20), (4, 39)))
    assert found.message == (
        "must be at least 40, so that the slope does not fall (convex); it is 39"
    )


@given(st.lists(st.tuples(st.just(5.0), st.integers(-9, 9)), max_size=4))
def test_convex_leaves_points_at_one_place_to_increasing(places: list[tuple[float, float]]) -> None:
    assert blamed(CONVEX, curve(*places)) == []


@pytest.mark.parametrize(
    ("powers", "wrong"),
    [((10, 20), []), ((10, 15, 20), []), ((11, 20), [0]), ((10, 19), [1]), ((5,), [0, 0])],
)
def test_curve_spans_from_first_to_last(powers: tuple[float, ...], wrong: list[int]) -> None:
    found = blamed(
        Spans("curve[].power_mw", "least", "most"), curve(*((power, 0) for power in powers))
    )
    assert found == [(f"curve[{i}].power_mw", "spans") for i in wrong]


@pytest.mark.parametrize(
    ("must_run", "power", "off_h", "refused"),
    [(True, None, 7.9, True), (True, None, 8, False), (True, 5, 1, False), (False, None, 1, False)],
)
def test_unit_that_must_run_can_start_at_once(
    must_run: bool, power: float | None, off_h: float, refused: bool
) -> None:
    unit = SimpleNamespace(
        must_run=must_run, initial_power_mw=power, initial_duration_h=off_h, min_down_time_h=8
    )
    found = blamed(MustRunCanStart("must_run"), unit)
    assert found == ([("must_run", "must-run-can-start")] if refused else [])


@given(st.lists(st.sampled_from(["SLACK", "PV"]), max_size=3))
def test_one_of_the_values_must_be_there(roles: list[str]) -> None:
    found = blamed(
        Contains("sources[].role", "SLACK"), SimpleNamespace(sources=items("role", *roles))
    )
    assert found == ([] if "SLACK" in roles else [("sources", "contains")])


@given(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from([0.0, 0.5]))
def test_numbers_must_not_all_be_zero(one: float, other: float, tolerance: float) -> None:
    found = blamed(NotAllZero(("r", "x"), tolerance), SimpleNamespace(r=one, x=other))
    assert bool(found) == (max(abs(one), abs(other)) <= tolerance)
    assert found in ([], [("r", "not-all-zero")])


@given(st.lists(st.text(), max_size=3), st.lists(st.integers(), max_size=3))
def test_column_is_as_long_as_the_list_of_names(names: list[str], column: list[int]) -> None:
    found = blamed(LengthEquals("column", "names"), SimpleNamespace(names=names, column=column))
    assert found == ([] if len(names) == len(column) else [("column", "length-equals")])
