"""The controller in a closed loop at the demo's house: `mpc-step` decides, `replay` is the plant.

Tuesday 11 March 2025 in quarter-hours, from the series in demo/. Whatever controls the battery, the
day ends with the same stored energy, so that costs compare.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gridpact.cli.demo_site import read_demo_site
from gridpact.compute.dispatch import dispatch
from gridpact.compute.mpc_step import mpc_step
from gridpact.compute.replay import replay
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.contracts.messages import DispatchInput, DispatchResult, MpcStepInput, ReplayInput
from gridpact.kit.wire import build
from tests.compute.test_dispatch_plan import silent

Json = dict[str, Any]
Series = NDArray[np.float64]
Forecast = Callable[[int, int], tuple[Series, Series]]
"""Load and available PV of the slots from the first number until before the second, in kW."""

DEMO = Path(__file__).parents[3] / "demo"
SITE = read_demo_site(DEMO)
DAY = 96
FIRST, END = DAY, 2 * DAY
HOURS = SITE.slot_duration_s / 3600


def series(file: str) -> Series:
    lines = (DEMO / file).read_text(encoding="utf-8").splitlines()[1:]
    return np.array([float(line.partition(",")[2]) for line in lines])


LOAD, PV = series(SITE.load.power_series), 0.0 - series(SITE.pv.power_series)
PRICE = series(SITE.tariff.import_price_series)


def as_it_was(first: int, end: int) -> tuple[Series, Series]:
    return LOAD[first:end], PV[first:end]


def as_yesterday(first: int, end: int) -> tuple[Series, Series]:
    """What a house without a weather service can do: only the present slot is measured."""
    load, pv = LOAD[first - DAY : end - DAY].copy(), PV[first - DAY : end - DAY].copy()
    load[0], pv[0] = LOAD[first], PV[first]
    return load, pv


def site(
    first: int, end: int, energy_kwh: float, final_kwh: float | None, forecast: Forecast
) -> Json:
    """The house from slot ``first`` on, as the demo describes it."""
    load, pv = forecast(first, end)
    values = {
        SITE.load.power_series: load.tolist(),
        SITE.pv.power_series: (0.0 - pv).tolist(),
        SITE.tariff.import_price_series: PRICE[first:end].tolist(),
    }
    wanted = SITE.dispatch_input(end - first, values).model_dump(exclude_none=True)
    wanted["start_time"] = SITE.start_of(first)
    (battery,) = wanted["batteries"]
    del battery["final_energy_kwh"]
    battery["initial_energy_kwh"] = energy_kwh
    if final_kwh is not None:
        battery["final_energy_kwh"] = final_kwh
    return wanted


def by_rule() -> tuple[float, float]:
    """Cost and last energy of a battery that stores surplus and serves the load, by hand."""
    battery, energy, cost = SITE.battery.battery, SITE.battery.initial_energy_kwh, 0.0
    for slot in range(FIRST, END):
        net = LOAD[slot] - PV[slot]
        room = (battery.capacity_kwh - energy) / (HOURS * battery.charge_efficiency)
        left = (energy - battery.min_energy_kwh) * battery.discharge_efficiency / HOURS
        charge = max(0.0, min(-net, battery.max_charge_power_kw, room))
        discharge = max(0.0, min(net, battery.max_discharge_power_kw, left))
        energy += HOURS * battery.charge_efficiency * charge
        energy -= HOURS * discharge / battery.discharge_efficiency
        grid = net + charge - discharge
        price = PRICE[slot] if grid > 0 else SITE.tariff.export_price_per_kwh
        cost += HOURS * (price * grid + (battery.wear_cost_per_kwh or 0.0) * discharge)
    return float(cost), float(energy)


def controlled(final_kwh: float, forecast: Forecast) -> tuple[float, float]:
    """Cost and last energy of the day, each slot decided anew from what is expected then."""
    step = mpc_step(WarmModels())
    energy, cost = SITE.battery.initial_energy_kwh, 0.0
    for slot in range(FIRST, END):
        problem = site(slot, END, energy, final_kwh, forecast)
        decided = step(build(MpcStepInput, {"controller_id": "House", "problem": problem}), silent)
        battery, roof = decided.set_points
        limited = {"limited": list(roof.limited)}
        was = {
            "site": site(slot, slot + 1, energy, None, as_it_was),
            "schedule": [
                {"name": battery.name, "power_kw": list(battery.power_kw)},
                {"name": roof.name, "power_kw": list(roof.power_kw)} | limited,
            ],
        }
        really = replay(build(ReplayInput, was), silent)
        assert really.violations == []
        energy = float(really.assets[0].energy_kwh[0])
        cost += really.cost
    return cost, energy


@pytest.fixture(scope="module")
def rule() -> tuple[float, float]:
    return by_rule()


@pytest.fixture(scope="module")
def best(rule: tuple[float, float]) -> DispatchResult:
    """The day ahead with perfect foresight, ending as the rule does."""
    wanted = site(FIRST, END, SITE.battery.initial_energy_kwh, rule[1], as_it_was)
    return dispatch(build(DispatchInput, wanted), silent)


def test_the_rule_is_the_one_that_plans_are_compared_with(
    rule: tuple[float, float], best: DispatchResult
) -> None:
    assert best.rule_based_cost == pytest.approx(rule[0], abs=1e-9)
    assert best.cost < rule[0] < best.baseline_cost


def test_with_perfect_forecasts_the_loop_costs_what_the_day_ahead_plan_does(
    rule: tuple[float, float], best: DispatchResult
) -> None:
    cost, energy = controlled(rule[1], as_it_was)
    assert energy == pytest.approx(rule[1], abs=1e-6)
    assert cost == pytest.approx(best.cost, rel=1e-6)


def test_with_yesterday_as_forecast_the_loop_is_better_than_the_rule(
    rule: tuple[float, float], best: DispatchResult
) -> None:
    """Not by chance: it gets most of what foresight would have gained."""
    cost, energy = controlled(rule[1], as_yesterday)
    assert energy >= rule[1] - 1e-6
    assert best.cost - 1e-9 <= cost
    assert rule[0] - cost > 0.5 * (rule[0] - best.cost)
