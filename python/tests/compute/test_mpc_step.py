"""The kind `mpc-step`: what is kept changes the time, not the optimum; and a loop that closes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from gridpact.compute.mpc_step import mpc_step
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.contracts.errors import Reason
from gridpact.contracts.messages import (
    MpcStepInput,
    MpcStepResult,
)
from gridpact.kit.errors import GridpactError
from gridpact.kit.wire import build

Json = dict[str, Any]
SLOTS, HOURS = 96, 0.25
CELL = {
    "capacity_kwh": 10,
    "min_energy_kwh": 1,
    "max_charge_power_kw": 5,
    "max_discharge_power_kw": 5,
    "charge_efficiency": 0.95,
    "discharge_efficiency": 0.95,
    "wear_cost_per_kwh": 0.01,
}


def silent(*_: object, **__: object) -> None:
    """Takes reports of progress."""


def a_day(seed: int) -> Json:
    """Loads, sun and prices of two days of quarter-hours; the second is only looked ahead to."""
    dice, count = np.random.default_rng(seed), 2 * SLOTS
    hour = HOURS * np.arange(count)
    sun = np.maximum(0.0, 2 * np.sin((hour % 24 - 6) / 12 * np.pi)) * dice.uniform(0.4, 1, count)
    load = 0.5 + 1.5 * np.exp(-(((hour % 24 - 19) / 2) ** 2)) + dice.uniform(0, 0.4, count)
    price = 0.28 + 0.14 * np.cos((hour % 24 - 19) / 12 * np.pi) + dice.uniform(0, 0.03, count)
    return {"sun": sun, "load": load, "price": price}


def site(day: Json, first: int, count: int, energy_kwh: float, error: float = 0.0) -> Json:
    """The slots from ``first`` on; ``error`` is the forecast's, growing with the time ahead."""
    dice = np.random.default_rng(first + 1)
    wrong = 1 + error * dice.standard_normal(count) * np.minimum(1.0, np.arange(1, count + 1) / 8)
    window = slice(first, first + count)
    minute = 15 * (first % SLOTS)
    return {
        "start_time": f"2026-06-0{1 + first // SLOTS}T{minute // 60:02}:{minute % 60:02}:00Z",
        "slot_duration_s": 900,
        "slots": count,
        "currency": "EUR",
        "batteries": [{"name": "Battery", "battery": CELL, "initial_energy_kwh": energy_kwh}],
        "pv": [
            {
                "name": "Roof",
                "curtailable": True,
                "available_power_kw": np.maximum(0, day["sun"][window] * wrong).tolist(),
            }
        ],
        "loads": [
            {"name": "House", "power_kw": np.maximum(0, day["load"][window] * wrong).tolist()}
        ],
        "tariff": {
            "import_price_per_kwh": day["price"][window].tolist(),
            "export_price_per_kwh": [0.08] * count,
        },
        "grid": {"max_import_power_kw": 12, "max_export_power_kw": 4},
    }


def step(models: WarmModels, problem: Json, name: str = "Home") -> MpcStepResult:
    wanted = build(MpcStepInput, {"controller_id": name, "problem": problem})
    return mpc_step(models)(wanted, silent)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_kept_does_not_change_the_optimum(seed: int) -> None:
    models, dice, day = WarmModels(), random.Random(seed), a_day(seed)
    warm_count, first = 0, 0
    for _ in range(12):
        problem = site(day, first, dice.choice((24, 24, 24, 32)), dice.uniform(0.8, 10), 0.2)
        kept, cold = step(models, problem), step(WarmModels(), problem)
        assert not cold.warm
        assert kept.cost == pytest.approx(cold.cost, rel=1e-9, abs=1e-9)
        warm_count += kept.warm
        first += dice.randint(0, 3)
    assert warm_count >= 2


def test_a_worker_that_lost_its_models_starts_anew() -> None:
    models, problem = WarmModels(), site(a_day(1), 0, 8, 5.0)
    assert [step(models, problem).warm for _ in range(2)] == [False, True]
    assert not step(models, problem, "Another").warm
    models.clear()
    assert not step(models, problem).warm


def test_a_conflict_is_named_below_the_problem() -> None:
    problem = site(a_day(1), 0, 8, 1.0) | {"on_conflict": "FAIL"}
    problem["grid"] = {"max_import_power_kw": 0.0, "max_export_power_kw": 0.0}
    with pytest.raises(GridpactError) as caught:
        step(WarmModels(), problem)
    assert caught.value.reason is Reason.INFEASIBLE
    assert caught.value.violations
    assert all(each.field.startswith("problem.") for each in caught.value.violations)


def test_set_points_are_the_first_slots_of_the_plan() -> None:
    problem = site(a_day(1), 40, 8, 5.0)
    wanted = build(MpcStepInput, {"controller_id": "x", "problem": problem, "control_slots": 3})
    result = mpc_step(WarmModels())(wanted, silent)
    battery, roof = result.set_points
    assert list(battery.power_kw) == list(result.plan.batteries[0].power_kw)[:3]
    assert list(roof.limited) == [why != "FULL_OUTPUT" for why in result.plan.pv[0].reasons[:3]]
    assert [each.reason for each in result.reasons] == [
        result.plan.batteries[0].reasons[0],
        result.plan.pv[0].reasons[0],
    ]
