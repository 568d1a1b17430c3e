"""Random fleets, in the form of the contract and in that of PGLib-UC."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]


@st.composite
def fleets(draw: st.DrawFn, *, units: int = 3, slots: int = 5, **wanted: Any) -> Json:
    """An input with up to so many units and slots: see `random_fleet`."""
    seed = draw(st.integers(0, 2**32 - 1))
    return random_fleet(
        seed, units=draw(st.integers(1, units)), slots=draw(st.integers(1, slots)), **wanted
    )


def random_fleet(
    seed: int, *, units: int = 3, slots: int = 5, slot_duration_s: int | None = None
) -> Json:
    """An input with a bit of everything. It keeps the contract, and mostly has a plan.

    Numbers are round, so that limits are met exactly and many plans cost the same.
    """
    any_of = random.Random(seed)
    duration = slot_duration_s or any_of.choice([3600, 3600, 1800, 900])
    hours = duration / 3600
    thermal = [_thermal(any_of, f"Unit {i}", hours) for i in range(units)]
    if any_of.random() < 0.8:
        thermal[-1] |= _anything()
    renewable = [_renewable(any_of, f"Wind {i}", slots) for i in range(any_of.choice([0, 1, 1, 2]))]
    most = sum(unit["max_power_mw"] for unit in thermal)
    started = sum(unit.get("initial_power_mw", 0) for unit in thermal)
    demand: list[float] = []
    level = started
    for t in range(slots):
        wind = sum(unit["max_power_mw"][t] for unit in renewable)
        level = min(most, max(0.0, level + any_of.choice([-30, -10, 0, 0, 10, 20, 40])))
        demand.append(level + any_of.choice([0, 0.5, 1]) * wind)
    fleet: Json = {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": duration,
        "slots": slots,
        "currency": "EUR",
        "demand_mw": demand,
        "thermal_units": thermal,
        "renewable_units": renewable,
        "options": {"time_limit_s": 60, "relative_gap": 0},
    }
    if any_of.random() < 0.7:
        fleet["reserve_requirement_mw"] = [any_of.choice([0, 0, 5, 10]) for _ in range(slots)]
    return fleet


def _thermal(any_of: random.Random, name: str, hours: float) -> Json:
    least = float(any_of.choice([0, 10, 20, 20, 40]))
    width = any_of.choice([0, 20, 30, 60])
    most = least + width
    slope = any_of.choice([0, 5, 10, 20])
    count = any_of.choice([1, 2, 3]) if width else 0
    points = [{"power_mw": least, "cost_per_h": float(any_of.choice([0, 100, 300, 500]))}]
    for i in range(count):
        slope += any_of.choice([0, 5, 15])
        power = most if i == count - 1 else least + width * (i + 1) / count
        before = points[-1]
        cost = before["cost_per_h"] + slope * (power - before["power_mw"])
        points.append({"power_mw": power, "cost_per_h": cost})
    up, down = (any_of.choice([0, 1, 1, 2, 3, 2.5]) * hours for _ in range(2))
    lag, cost = down, float(any_of.choice([0, 50, 200]))
    categories: list[Json] = []
    for _ in range(any_of.choice([1, 1, 2, 3])):
        categories.append({"min_off_time_h": lag, "cost": cost})
        lag += any_of.choice([1, 2, 1.5]) * hours
        cost += any_of.choice([0, 50, 150])
    unit: Json = {
        "name": name,
        "min_power_mw": least,
        "max_power_mw": most,
        "min_up_time_h": up,
        "min_down_time_h": down,
        "initial_duration_h": any_of.choice([0, 0.5, 1, 2, 5, 3.3]) * hours,
        "startup_categories": categories,
        "production_cost": points,
    }
    if any_of.random() < 0.5:
        unit["initial_power_mw"] = least + width * any_of.choice([0, 0.5, 1])
    if any_of.random() < 0.6:
        unit["ramp_up_mw_per_h"] = any_of.choice([0, 10, 15, 30]) / hours
        unit["ramp_down_mw_per_h"] = any_of.choice([0, 10, 15, 30]) / hours
    if any_of.random() < 0.6:
        unit["startup_limit_mw"] = least + any_of.choice([0, 10, 25, 100])
        unit["shutdown_limit_mw"] = least + any_of.choice([0, 10, 25, 100])
    can_run = "initial_power_mw" in unit or unit["initial_duration_h"] >= down
    if can_run and any_of.random() < 0.15:
        unit["must_run"] = True
    return unit


def _anything() -> Json:
    """What makes a unit produce whatever the others do not, dearly; limits of its own remain."""
    return {
        "min_power_mw": 0.0,
        "max_power_mw": 150.0,
        "startup_limit_mw": 150.0,
        "shutdown_limit_mw": 150.0,
        "ramp_up_mw_per_h": 1000.0,
        "ramp_down_mw_per_h": 1000.0,
        "initial_power_mw": 50.0,
        "production_cost": [
            {"power_mw": 0.0, "cost_per_h": 200.0},
            {"power_mw": 100.0, "cost_per_h": 5200.0},
            {"power_mw": 150.0, "cost_per_h": 8700.0},
        ],
    }


def _renewable(any_of: random.Random, name: str, slots: int) -> Json:
    most = [float(any_of.choice([0, 5, 20, 50])) for _ in range(slots)]
    unit: Json = {"name": name, "max_power_mw": most}
    if any_of.random() < 0.5:
        unit["min_power_mw"] = [power * any_of.choice([0, 0, 0.5, 1]) for power in most]
    return unit


def as_pglib(fleet: Json) -> Json:
    """The same fleet in PGLib-UC's form; times stay hours and ramps MW per hour."""
    unlimited = 1e6

    def thermal(unit: Json) -> Json:
        power = unit.get("initial_power_mw")
        is_on = power is not None
        return {
            "must_run": int(unit.get("must_run", False)),
            "power_output_minimum": unit["min_power_mw"],
            "power_output_maximum": unit["max_power_mw"],
            "ramp_up_limit": unit.get("ramp_up_mw_per_h", unlimited),
            "ramp_down_limit": unit.get("ramp_down_mw_per_h", unlimited),
            "ramp_startup_limit": unit.get("startup_limit_mw", unlimited),
            "ramp_shutdown_limit": unit.get("shutdown_limit_mw", unlimited),
            "time_up_minimum": unit["min_up_time_h"],
            "time_down_minimum": unit["min_down_time_h"],
            "power_output_t0": power if is_on else 0.0,
            "unit_on_t0": int(is_on),
            "time_up_t0": unit["initial_duration_h"] if is_on else 0,
            "time_down_t0": 0 if is_on else unit["initial_duration_h"],
            "startup": [
                {"lag": category["min_off_time_h"], "cost": category["cost"]}
                for category in unit["startup_categories"]
            ],
            "piecewise_production": [
                {"mw": point["power_mw"], "cost": point["cost_per_h"]}
                for point in unit["production_cost"]
            ],
        }

    slots = fleet["slots"]
    return {
        "time_periods": slots,
        "demand": fleet["demand_mw"],
        "reserves": fleet.get("reserve_requirement_mw", [0.0] * slots),
        "thermal_generators": {unit["name"]: thermal(unit) for unit in fleet["thermal_units"]},
        "renewable_generators": {
            unit["name"]: {
                "power_output_minimum": unit.get("min_power_mw", [0.0] * slots),
                "power_output_maximum": unit["max_power_mw"],
            }
            for unit in fleet["renewable_units"]
        },
    }
