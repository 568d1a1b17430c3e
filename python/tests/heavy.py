"""Inputs of `dispatch` that keep a worker busy."""

from __future__ import annotations

import random
from typing import Any


def long_search(slots: int = 2000, batteries: int = 4) -> dict[str, Any]:
    """A mixed-integer problem that takes minutes to prove the best plan of."""
    chance = random.Random(1)
    prices = [chance.uniform(-0.3, 0.4) for _ in range(slots)]
    return _problem(chance, prices, batteries)


def long_linear(slots: int = 8000, batteries: int = 10) -> dict[str, Any]:
    """A linear problem that takes half a minute; 440 MiB in the Python engine."""
    chance = random.Random(2)
    prices = [chance.uniform(0.05, 0.4) for _ in range(slots)]
    return _problem(chance, prices, batteries, wear_cost_per_kwh=0.01)


def _problem(
    chance: random.Random, prices: list[float], batteries: int, **more: float
) -> dict[str, Any]:
    slots = len(prices)
    battery = {
        "max_charge_power_kw": 5,
        "max_discharge_power_kw": 4,
        "charge_efficiency": 0.93,
        "discharge_efficiency": 0.91,
    } | more
    return {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 900,
        "slots": slots,
        "currency": "EUR",
        "batteries": [
            {
                "name": f"Battery {i}",
                "battery": battery | {"capacity_kwh": 10 + i},
                "initial_energy_kwh": 5,
            }
            for i in range(batteries)
        ],
        "pv": [
            {
                "name": "Roof",
                "curtailable": True,
                "available_power_kw": [chance.uniform(0, 8) for _ in range(slots)],
            }
        ],
        "loads": [{"name": "House", "power_kw": [chance.uniform(0, 6) for _ in range(slots)]}],
        "tariff": {
            "import_price_per_kwh": prices,
            "export_price_per_kwh": [price - 0.05 for price in prices],
        },
        "grid": {"max_import_power_kw": 9, "max_export_power_kw": 7},
        "options": {"time_limit_s": 600, "relative_gap": 0},
    }
