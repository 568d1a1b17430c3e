"""Commitments against an independent checker, an enumeration, and the published day."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from gridpact.cli.importing.pglib_uc import submission_of
from gridpact.compute.model.unit_commitment import first_plan
from gridpact.compute.model.unit_commitment.formulate import formulate
from gridpact.compute.solve.highs import Model, Outcome, Solution
from gridpact.compute.unit_commitment import fleet_of, unit_commitment
from gridpact.contracts.errors import Reason
from gridpact.contracts.messages import UnitCommitmentInput, UnitCommitmentResult
from gridpact.kit.errors import GridpactError
from gridpact.kit.wire import build
from tests.compute.commitment_checker import Verdict, check, schedule_of
from tests.compute.fleets import Json, as_pglib, fleets, random_fleet
from tests.compute.household import DATA
from tests.compute.test_dispatch_plan import silent


def solved(fleet: Json) -> UnitCommitmentResult:
    return unit_commitment(build(UnitCommitmentInput, fleet), silent)


def checked(fleet: Json, result: UnitCommitmentResult) -> Verdict:
    return check(as_pglib(fleet), schedule_of(result), period_h=fleet["slot_duration_s"] / 3600)


def one_unit(**changes: Any) -> Json:
    """A unit that has been off for five hours, and three hours of demand."""
    unit = {
        "name": "Gas",
        "min_power_mw": 20,
        "max_power_mw": 80,
        "min_up_time_h": 1,
        "min_down_time_h": 1,
        "initial_duration_h": 5,
        "startup_categories": [{"min_off_time_h": 1, "cost": 300}],
        "production_cost": [
            {"power_mw": 20, "cost_per_h": 900},
            {"power_mw": 80, "cost_per_h": 3900},
        ],
    }
    return {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 3600,
        "slots": 3,
        "currency": "EUR",
        "demand_mw": [30, 50, 30],
        "thermal_units": [unit | changes],
        "options": {"relative_gap": 0},
    }


@settings(max_examples=80)
@given(fleets(units=6, slots=12))
def test_plan_keeps_every_rule_and_costs_what_it_says(fleet: Json) -> None:
    try:
        result = solved(fleet)
    except GridpactError as error:
        if error.reason is Reason.INFEASIBLE and error.violations:
            return
        raise
    verdict = checked(fleet, result)
    assert verdict.broken == []
    assert verdict.cost == pytest.approx(result.cost, rel=1e-9, abs=1e-6)
    assert verdict.startup_cost == pytest.approx(result.startup_cost, abs=1e-6)
    parts = result.production_cost + result.no_load_cost + result.startup_cost
    assert parts == pytest.approx(result.cost, abs=1e-6)
    for unit in result.thermal_units:
        assert sum(start.cost for start in unit.starts) == pytest.approx(unit.startup_cost)
        assert len(unit.reasons) == fleet["slots"]


@settings(max_examples=40, deadline=None)
@given(fleets(units=6, slots=30), st.sampled_from([0.0, 0.02]))
def test_a_first_plan_neither_costs_nor_breaks_anything(fleet: Json, gap: float) -> None:
    """What is only done for large fleets, with all: alike, within the gap that was asked for."""
    fleet["options"] |= {"relative_gap": gap}
    plain = solved_or_refused(fleet)
    with large_fleets():
        result = solved_or_refused(fleet)
    if isinstance(plain, Reason) or isinstance(result, Reason):
        assert result == plain
        return
    verdict = checked(fleet, result)
    assert verdict.broken == []
    assert verdict.cost == pytest.approx(result.cost, rel=1e-9, abs=1e-6)
    room = 1e-6 * max(1.0, abs(plain.cost))
    assert result.status == "OPTIMAL"
    assert result.bound <= plain.cost + room
    assert result.cost <= plain.cost + gap * abs(result.cost) + room


def solved_or_refused(fleet: Json) -> UnitCommitmentResult | Reason:
    try:
        return solved(fleet)
    except GridpactError as error:
        return error.reason


@contextmanager
def large_fleets() -> Iterator[None]:
    """Every fleet counts as a large one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_plan, "FEW", 0)
        patch.setattr(first_plan, "WINDOW_SLOTS", 4)
        yield


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=2, deadline=None)
def test_a_large_fleet_is_planned_within_its_gap(seed: int) -> None:
    """Enough units and slots that a first plan is looked for."""
    fleet = random_fleet(seed, units=30, slots=40)
    fleet["options"] = {"relative_gap": 0.02, "time_limit_s": 60}
    told: list[Any] = []

    def tell(*_: object, **known: Any) -> None:
        told.append(known)

    result = unit_commitment(build(UnitCommitmentInput, fleet), tell)
    assert checked(fleet, result).broken == []
    assert result.status == "OPTIMAL"
    assert result.relative_gap <= 0.02
    complete = [each for each in told if None not in each.values() and each]
    assert complete
    for known in complete:
        assert known["bound"] <= known["objective"] + 1e-6


def cheapest_by_enumeration(fleet: Json) -> float | None:
    """The least cost over every commitment there is: each one's dispatch, then its cost."""
    instance, hours = as_pglib(fleet), fleet["slot_duration_s"] / 3600
    names, slots = list(instance["thermal_generators"]), fleet["slots"]
    patterns = list(itertools.product((0, 1), repeat=slots))
    possible = [list(_feasible(instance, name, patterns, hours)) for name in names]
    best: float | None = None
    for chosen in itertools.product(*possible):
        on = {name: pattern for name, (pattern, _) in zip(names, chosen, strict=True)}
        fixed = sum(cost for _, cost in chosen)
        produced = _dispatch_cost(instance, on, hours)
        if produced is not None and (best is None or fixed + produced < best):
            best = fixed + produced
    return best


def _feasible(
    instance: Json, name: str, patterns: list[tuple[int, ...]], hours: float
) -> Iterator[tuple[tuple[int, ...], float]]:
    """The patterns that keep up and down times, with their start-up cost."""
    unit = instance["thermal_generators"][name]
    for pattern in patterns:
        was_on = bool(unit["unit_on_t0"])
        for_h = unit["time_up_t0"] if was_on else unit["time_down_t0"]
        cost, sound = 0.0, True
        for is_on in map(bool, pattern):
            sound &= is_on or not unit["must_run"]
            if is_on != was_on:
                least_h = unit["time_up_minimum"] if was_on else unit["time_down_minimum"]
                sound &= for_h >= least_h - 1e-6
                if is_on:
                    passed = [s["cost"] for s in unit["startup"] if s["lag"] <= for_h + 1e-6]
                    cost += (passed or [unit["startup"][0]["cost"]])[-1]
                for_h = 0.0
            was_on, for_h = is_on, for_h + hours
        if sound:
            yield pattern, cost


def _dispatch_cost(instance: Json, on: dict[str, tuple[int, ...]], hours: float) -> float | None:
    """Production cost of a commitment by SciPy: power p, reserve r and cost c of each unit."""
    slots = instance["time_periods"]
    names = list(on)
    width = 3 * len(names) + 1  # and all renewable power

    def column(t: int, unit: int, part: int) -> int:
        return t * width + 3 * unit + part

    rows: list[dict[int, float]] = []
    limits: list[float] = []

    def at_most(limit: float, terms: dict[int, float]) -> None:
        rows.append(terms)
        limits.append(limit)

    bounds: list[tuple[float | None, float | None]] = [(0, None)] * (slots * width)
    cost = np.zeros(slots * width)
    for g, name in enumerate(names):
        unit = instance["thermal_generators"][name]
        least, most = unit["power_output_minimum"], unit["power_output_maximum"]
        points = unit["piecewise_production"]
        for t in range(slots):
            p, r, c = (column(t, g, part) for part in range(3))
            is_on = on[name][t]
            before = on[name][t - 1] if t else unit["unit_on_t0"]
            bounds[p] = (least * is_on, most * is_on)
            bounds[r] = (0, most * is_on)
            bounds[c] = (None, None) if is_on else (0, 0)
            cost[c] = hours
            at_most(most * is_on, {p: 1, r: 1})
            if is_on and not before:
                at_most(unit["ramp_startup_limit"], {p: 1, r: 1})
            if t + 1 < slots and is_on and not on[name][t + 1]:
                at_most(unit["ramp_shutdown_limit"], {p: 1, r: 1})
            initially = unit["power_output_t0"]
            if t == 0 and before and not is_on and initially > unit["ramp_shutdown_limit"]:
                return None
            # Ramps are of power above minimum.
            rise = unit["ramp_up_limit"] * hours + least * (is_on - before)
            fall = unit["ramp_down_limit"] * hours - least * (is_on - before)
            if t:
                q = column(t - 1, g, 0)
                at_most(rise, {p: 1, r: 1, q: -1})
                at_most(fall, {p: -1, q: 1})
            else:
                at_most(rise + (initially if before else 0), {p: 1, r: 1})
                at_most(fall - (initially if before else 0), {p: -1})
            if is_on and len(points) == 1:
                bounds[c] = (points[0]["cost"], None)
            for low, high in itertools.pairwise(points if is_on else []):
                slope = (high["cost"] - low["cost"]) / (high["mw"] - low["mw"])
                at_most(slope * low["mw"] - low["cost"], {p: slope, c: -1})
    balance = np.zeros((slots, slots * width))
    for t in range(slots):
        renewable = instance["renewable_generators"].values()
        last = t * width + width - 1
        bounds[last] = (
            sum(unit["power_output_minimum"][t] for unit in renewable),
            sum(unit["power_output_maximum"][t] for unit in renewable),
        )
        balance[t, last] = 1
        for g in range(len(names)):
            balance[t, column(t, g, 0)] = 1
        at_most(-instance["reserves"][t], {column(t, g, 1): -1 for g in range(len(names))})
    matrix = np.zeros((len(rows), slots * width))
    for row, terms in enumerate(rows):
        for at, coefficient in terms.items():
            matrix[row, at] += coefficient
    found = linprog(cost, matrix, limits, balance, instance["demand"], bounds)
    return float(found.fun) if found.status == 0 else None


@settings(max_examples=60, deadline=None)
@given(fleets(units=1, slots=9) | fleets(units=2, slots=5) | fleets(units=3, slots=3))
def test_no_commitment_is_cheaper(fleet: Json) -> None:
    """Against every commitment that there is."""
    best = cheapest_by_enumeration(fleet)
    try:
        found: float | None = solved(fleet).cost
    except GridpactError:
        found = None
    assert found == (None if best is None else pytest.approx(best, rel=1e-6, abs=1e-5))


def test_infeasible_says_where_and_by_how_much() -> None:
    fleet = one_unit() | {"demand_mw": [30, 92.5, 30], "reserve_requirement_mw": [0, 0, 60]}
    with pytest.raises(GridpactError) as refused:
        solved(fleet)
    assert refused.value.reason is Reason.INFEASIBLE
    assert [(found.field, found.rule) for found in refused.value.violations] == [
        ("demand_mw[1]", "feasible"),
        ("reserve_requirement_mw[2]", "feasible"),
    ]
    first, second = refused.value.violations
    assert first.message == (
        "must be at most 80; it is 92.5 (it exceeds what the units can produce by 12.5 MW)"
    )
    assert second.message.startswith("must be at most 50; it is 60 ")
    assert "by 12.5 MW in slot 1" in refused.value.message


def test_demand_below_what_must_be_produced_is_named() -> None:
    fleet = one_unit(must_run=True) | {"demand_mw": [30, 5, 30]}
    with pytest.raises(GridpactError) as refused:
        solved(fleet)
    (found,) = refused.value.violations
    assert (found.field, found.message[:20]) == ("demand_mw[1]", "must be at least 20;")


def test_what_is_said_to_be_missing_is_enough() -> None:
    """With the demand and reserve that the violations allow there is a plan."""
    fleet = one_unit(ramp_up_mw_per_h=10, initial_power_mw=30) | {"demand_mw": [30, 80, 80]}
    with pytest.raises(GridpactError) as refused:
        solved(fleet)
    for found in refused.value.violations:
        slot = int(found.field.partition("[")[2].rstrip("]"))
        fleet["demand_mw"][slot] = float(found.message.split(";")[0].rsplit(" ", 1)[1])
    assert checked(fleet | {"renewable_units": []}, solved(fleet)).broken == []


def test_wrong_infeasible_of_presolve_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    solve, calls = Model.solve, []

    def wrong_at_first(self: Model, **given: Any) -> Solution:
        found = solve(self, **given)
        calls.append(found)
        if len(calls) > 1:
            return found
        return Solution(
            Outcome.INFEASIBLE, True, False, np.nan, np.inf, np.inf, *[np.array([])] * 3
        )

    expected = solved(one_unit()).cost
    monkeypatch.setattr(Model, "solve", wrong_at_first)
    assert solved(one_unit()).cost == pytest.approx(expected)


def test_start_up_category_follows_the_time_off() -> None:
    categories = [{"min_off_time_h": h, "cost": cost} for h, cost in ((1, 10), (6, 100), (7, 1000))]
    for initially_h, category in ((1, 0), (5.9, 0), (6, 1), (7, 2), (99, 2)):
        fleet = one_unit(initial_duration_h=initially_h, startup_categories=categories)
        (unit,) = solved(fleet).thermal_units
        assert [start.category for start in unit.starts] == [category]
        assert unit.starts[0].off_time_h == initially_h


@pytest.mark.parametrize(("hours_off", "cost"), [(1, 100), (2, 100), (3, 1000), (4, 1000)])
def test_restart_is_hot_until_the_colder_category_begins(hours_off: int, cost: float) -> None:
    categories = [{"min_off_time_h": 1, "cost": 100}, {"min_off_time_h": 3, "cost": 1000}]
    demand = [30.0, *[0.0] * hours_off, 30.0]
    fleet = one_unit(initial_power_mw=30, startup_categories=categories)
    result = solved(fleet | {"slots": len(demand), "demand_mw": demand})
    assert result.startup_cost == cost
    fleet |= {"slots": len(demand), "demand_mw": demand}
    searched = formulate(fleet_of(build(UnitCommitmentInput, fleet))).program.solve(time_limit_s=9)
    assert searched.objective == pytest.approx(result.cost)


@pytest.mark.parametrize("limit", ["ramp_up_mw_per_h", "startup_limit_mw"])
def test_start_reaches_its_limit_and_no_more(limit: str) -> None:
    """30 MW above the minimum of 20."""
    value = 30 if limit == "ramp_up_mw_per_h" else 50
    fleet = one_unit(**{limit: value}, ramp_down_mw_per_h=30)
    assert solved(fleet | {"demand_mw": [50, 80, 80]}).status == "OPTIMAL"
    with pytest.raises(GridpactError) as refused:
        solved(fleet | {"demand_mw": [51, 80, 80]})
    assert [found.field for found in refused.value.violations] == ["demand_mw[0]"]


def test_prices_are_what_one_more_mw_costs() -> None:
    result = solved(one_unit())
    assert list(result.energy_price_per_mwh) == pytest.approx([50, 50, 50])
    more = one_unit() | {"demand_mw": [30, 51, 30]}
    assert solved(more).cost - result.cost == pytest.approx(50)


@pytest.mark.parametrize("why", ["must_run", "min_up"])
def test_reason_names_what_keeps_a_unit_on(why: str) -> None:
    cheap = one_unit()["thermal_units"][0] | {
        "name": "Cheap",
        "initial_power_mw": 50,
        "production_cost": [
            {"power_mw": 20, "cost_per_h": 100},
            {"power_mw": 80, "cost_per_h": 400},
        ],
    }
    held = {"must_run": True} if why == "must_run" else {"min_up_time_h": 9}
    fleet = one_unit(initial_power_mw=20, **held) | {"demand_mw": [60, 70, 60]}
    fleet["thermal_units"].append(cheap)
    expensive = solved(fleet).thermal_units[0]
    assert expensive.reasons == [{"must_run": "MUST_RUN", "min_up": "MIN_UP_TIME"}[why]] * 3


def rts_gmlc(day: str, *, time_limit_s: float, relative_gap: float) -> tuple[Json, Json]:
    """The published instance and its input; skips where the file is not."""
    file = DATA / "pglib-uc" / f"{day}.json"
    if not file.is_file():
        pytest.skip(f"PGLib-UC's {day} (../shared/data, GRIDPACT_DATA) is not here")
    text = file.read_bytes()
    given = submission_of(text, start_time=f"{day}T00:00:00Z", currency="USD")["input"]
    given["options"] = {"time_limit_s": time_limit_s, "relative_gap": relative_gap}
    return json.loads(text), given


@pytest.mark.full
@pytest.mark.timeout(400)
def test_rts_gmlc_day_within_half_a_percent_of_the_published_bound() -> None:
    instance, given = rts_gmlc("2020-01-27", time_limit_s=240, relative_gap=0.004)
    result = solved(given)
    verdict = check(instance, schedule_of(result))
    assert verdict.broken == []
    assert verdict.cost == pytest.approx(result.cost, rel=1e-9)
    assert result.cost <= 1.005 * 1_227_027
