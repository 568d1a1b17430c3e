"""What a person sees of a plan."""

from __future__ import annotations

import io
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gridpact.cli.chart import ASCII, BLOCKS, means, sparkline
from gridpact.cli.report import PlanView, plan_report, show_problem
from gridpact.contracts.rest import DispatchInput, DispatchResult, Problem
from tests.golden import Case


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.integers(1, 80))
def test_sparkline_is_as_wide_as_wanted_and_rises_with_the_values(
    values: list[float], width: int
) -> None:
    series = np.array(values)
    drawn = sparkline(series, width, lowest=0.0, highest=100.0, encoding="utf-8")
    assert len(drawn) == min(width, len(values))
    heights = [BLOCKS.index(character) for character in drawn]
    averages = means(series, width)
    order = np.argsort(averages)
    assert [heights[i] for i in order] == sorted(heights)


def test_sparkline_without_blocks_in_the_encoding_is_ascii() -> None:
    drawn = sparkline(np.arange(9.0), 9, lowest=0.0, highest=8.0, encoding="ascii")
    assert drawn == ASCII


def test_means_keep_the_mean() -> None:
    series = np.arange(96.0)
    assert means(series, 24).mean() == pytest.approx(series.mean())


def plan_view(
    slots: int, *, start_time: str, zone: str, slot_duration_s: int = 900, **more: Any
) -> PlanView:
    series = [1.0] * slots
    wanted: dict[str, Any] = {
        "start_time": start_time,
        "slot_duration_s": slot_duration_s,
        "slots": slots,
        "currency": "EUR",
        "batteries": [],
        "loads": [{"name": "House", "power_kw": series}],
        "tariff": {"import_price_per_kwh": series, "export_price_per_kwh": series},
        "grid": {"max_import_power_kw": 5.0, "max_export_power_kw": 5.0},
    }
    result: dict[str, Any] = {
        "status": "OPTIMAL",
        "start_time": start_time,
        "slot_duration_s": slot_duration_s,
        "slots": slots,
        "currency": "EUR",
        "cost": 1.0,
        "baseline_cost": 1.5,
        "baseline_within_grid_limits": True,
        "savings": 0.5,
        "energy_cost": 1.0,
        "wear_cost": 0.0,
        "relative_gap": 0.0,
        "batteries": [
            {
                "name": "Battery",
                "power_kw": series,
                "energy_kwh": series,
                "marginal_value_per_kwh": series,
                "reasons": ["CHARGE_FROM_GRID"] * slots,
            }
        ],
        "pv": [],
        "grid_power_kw": series,
        "grid_price_per_kwh": series,
    }
    return PlanView.of(
        DispatchInput.model_validate(wanted),
        DispatchResult.model_validate(result | more),
        ZoneInfo(zone),
    )


def shown(view: PlanView, *, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(plan_report(view, console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("slots", "rows"), [(1, 1), (32, 32), (96, 24), (672, 28), (2880, 30), (35136, 12)]
)
def test_long_plans_are_summarised(slots: int, rows: int) -> None:
    """A row of 96 slots is an hour, of 672 six hours; energy over all rows stays the same."""
    text = shown(plan_view(slots, start_time="2026-01-01T00:00:00Z", zone="UTC"))
    table = text.split("\n\n")[0].splitlines()[2:]
    assert len([line for line in table if "buys cheap" in line]) >= rows
    assert len(table) <= 33


def test_times_are_those_of_the_zone_across_a_change_of_clocks() -> None:
    view = plan_view(
        6, start_time="2026-03-28T23:00:00Z", zone="Europe/Berlin", slot_duration_s=3600
    )
    hours = [f"{view.start_of(slot):%H}" for slot in range(6)]
    assert hours == ["00", "01", "03", "04", "05", "06"]


def test_nothing_is_coloured_where_colour_is_not_wanted() -> None:
    assert "\x1b" not in shown(plan_view(4, start_time="2026-01-01T00:00:00Z", zone="UTC"))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_charts_fit_the_terminal(width: int) -> None:
    text = shown(plan_view(96, start_time="2026-01-01T00:00:00Z", zone="UTC"), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_relaxed_plan_says_first_what_it_breaks_and_what_that_costs() -> None:
    violation = {
        "field": "grid.max_import_power_kw",
        "message": "must be at least 12.5; it is 10 (slot 3)",
        "amount": 2.5,
        "unit": "kW",
        "price_per_unit": 0.4,
    }
    view = plan_view(
        4,
        start_time="2026-01-01T00:00:00Z",
        zone="UTC",
        status="RELAXED",
        violations=[violation],
    )
    first, second = shown(view, width=200).splitlines()[:2]
    assert first.startswith("RELAXED")
    assert "grid.max_import_power_kw must be at least 12.5; it is 10 (slot 3)" in second
    assert "0.4000 EUR/kW" in second


def test_costs_are_split_and_compared_with_both_baselines() -> None:
    components = ("energy_import", "energy_export", "grid_fees", "tiers", "demand_charges")
    costs = dict.fromkeys((*components, "generation", "starts", "wear", "co2"), 0.0)
    view = plan_view(
        4,
        start_time="2026-01-01T00:00:00Z",
        zone="UTC",
        costs=costs | {"energy_import": 1.25, "energy_export": -0.25},
        rule_based_cost=1.75,
        rule_based_savings=0.75,
    )
    lines = [line.split() for line in shown(view).splitlines()]
    for expected in (
        "imports 1.2500 EUR",
        "exports -0.2500 EUR",
        "without flexibility 1.5000 EUR",
        "savings 0.5000 EUR",
        "batteries by rule 1.7500 EUR",
        "savings 0.7500 EUR",
    ):
        assert expected.split() in lines
    assert not [line for line in lines if line[:2] == ["grid", "fees"]]


def test_assets_beside_batteries_and_pv_have_a_column_each() -> None:
    pump = {
        "name": "Heat pump",
        "power_kw": [2.5] * 4,
        "tank_energy_kwh": [1.0] * 4,
        "marginal_value_per_kwh": [0.1] * 4,
        "reasons": ["CHEAPEST"] * 4,
    }
    view = plan_view(4, start_time="2026-01-01T00:00:00Z", zone="UTC", heat_pumps=[pump])
    text = shown(view, width=120)
    assert "heat" in text.splitlines()[0]
    assert "2.50" in text
    assert "vehicles" not in text


def of_golden(name: str) -> PlanView:
    case = Case("dispatch", name)
    wanted = DispatchInput.model_validate(case.submission["input"])
    return PlanView.of(wanted, DispatchResult.model_validate(case.answer), ZoneInfo("UTC"))


@pytest.mark.parametrize("name", ["v2g-night", "everything", "cvar", "relaxed", "demand-charge"])
def test_no_time_and_no_number_is_cut_at_eighty_columns(name: str) -> None:
    text = shown(of_golden(name), width=80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_a_site_has_not_has_no_column() -> None:
    text = shown(of_golden("v2g-night"))
    head = text.splitlines()[0].split()
    assert head == ["load", "vehicles", "grid", "price"]
    assert "the vehicle" in text.splitlines()[1]
    assert "full power" in text
    assert "stored" not in text


def test_a_plan_for_several_futures_tells_their_mean_and_the_worst() -> None:
    lines = [line.split() for line in shown(of_golden("cvar")).splitlines()]
    assert ["mean", "of", "3", "scenarios", "-0.0742", "EUR"] in lines
    assert lines[-1] == ["of", "the", "worst", "cases", "(CVaR)", "2.0772", "EUR"]


def test_problem_shows_reason_violations_and_trace_but_says_nothing_twice() -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    problem = Problem.model_validate(
        {
            "type": "/problems/invalid-argument",
            "title": "Invalid argument",
            "status": 422,
            "reason": "INVALID_ARGUMENT",
            "detail": "input.slots must be at least 1 (and 1 more)",
            "violations": [
                {"field": "input.slots", "rule": "minimum", "message": "must be at least 1"},
                {"field": "input.pv[0]", "rule": "type", "message": "must be an [object]"},
            ],
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        }
    )
    show_problem(console, problem)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "Invalid argument INVALID_ARGUMENT",
        "  input.slots must be at least 1 (and 1 more)",
        "  input.pv[0] must be an [object] (type)",
        "  trace 4bf92f3577b34da6a3ce929d0e0e4736",
    ]
