"""Python and Julia find plans of the same cost, and both plans keep every limit."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from gridpact.compute.dispatch import dispatch
from gridpact.contracts.messages import DispatchInput, DispatchResult
from gridpact.kit.wire import Message, build
from tests.compute.cases import PLAIN, Json, SeededDice, Wish, problem
from tests.compute.engines import answers
from tests.compute.inspector import Inspection, inspect

CERTAIN = 132
RELAXED = 60
UNCERTAIN = 40

OUTSIDE = Wish(tight=False, outside=4, reserve=3)
"""Reserve is asked of batteries that were measured outside their windows."""
ONE_SLOT: Json = {
    "start_time": "2026-06-01T00:00:00Z",
    "slot_duration_s": 900,
    "slots": 1,
    "currency": "EUR",
    "batteries": [],
    "loads": [{"name": "load", "power_kw": [1.0]}],
    "tariff": {"import_price_per_kwh": [0.2], "export_price_per_kwh": [0.1]},
    "grid": {"max_import_power_kw": 10.0, "max_export_power_kw": 10.0},
}
MICROSECOND_BEFORE: Json = ONE_SLOT | {
    "start_time": "2026-03-29T00:59:59.999999Z",
    "tariff": ONE_SLOT["tariff"]
    | {
        "demand_charges": [
            {
                "name": "peak",
                "price_per_kw": 1.0,
                "billing_interval_s": 1800,
                "interval_energy_so_far_kwh": 3.0,
            }
        ]
    },
}
"""Before a billing interval ends: what has been taken in it counts."""
MILLIWATTS: Json = ONE_SLOT | {
    "slot_duration_s": 3600,
    "pv": [
        {"name": f"pv {kw}", "curtailable": True, "available_power_kw": [kw]} for kw in (5e-6, 2e-6)
    ],
    "loads": [{"name": "load", "power_kw": [1e-6]}],
    "flexible_loads": [
        {"name": "pump", "start_slot": 0, "end_slot": 1, "energy_kwh": 0.0, "max_power_kw": 4e-6}
    ],
    "generators": [
        {
            "name": "generator",
            "max_power_kw": 1e-6,
            "cost_segments": [{"up_to_power_kw": 1e-6, "cost_per_kwh": 0.15}],
        }
    ],
    "tariff": {
        "import_price_per_kwh": [-0.1],
        "export_price_per_kwh": [-0.3],
        "import_tiers": {
            "tiers": [
                {"from_energy_kwh": 0.0, "surcharge_per_kwh": -0.05},
                {"from_energy_kwh": 2e-6, "surcharge_per_kwh": -0.1},
            ]
        },
    },
    "grid": {"max_import_power_kw": 3e-6, "max_export_power_kw": 1e-6},
}
"""Less than what counts as power, and costs whose relative gap is infinite for HiGHS."""

PROBLEMS: list[Json] = [
    *(problem(SeededDice(seed), PLAIN) for seed in range(CERTAIN // 4)),
    *(problem(SeededDice(seed), Wish(tight=False)) for seed in range(CERTAIN)),
    *(problem(SeededDice(seed), Wish()) for seed in range(RELAXED)),
    *(problem(SeededDice(seed), OUTSIDE) for seed in range(25)),
    *(
        problem(SeededDice(seed), Wish(tight=False, previous_plan=0, outside=0, uncertainty=True))
        for seed in (*range(UNCERTAIN), 1033, 1055, 50008, 50110, 70078)
    ),
    MICROSECOND_BEFORE,
    MILLIWATTS,
]


def objective(wanted: Json, result: DispatchResult, found: Inspection) -> float:
    """What both engines minimise: of scenarios the mean and the tail, else with penalties."""
    told = result.uncertainty
    if told is UNSET:
        return found.objective
    risk = wanted["uncertainty"]["risk_weight"]
    return (1 - risk) * told.expected_cost + risk * told.cvar


@pytest.mark.timeout(600)
def test_both_engines_answer_alike(julia: str) -> None:
    different: dict[int, str] = {}
    for i, (wanted, (ours, theirs)) in enumerate(
        zip(PROBLEMS, answers(julia, "dispatch", dispatch, PROBLEMS), strict=True)
    ):
        if found := difference(wanted, ours, theirs):
            different[i] = found
    assert different == {}


def difference(wanted: Json, ours: Message | str, theirs: Message | str) -> str | None:
    """What is not alike or not right in two answers."""
    if isinstance(ours, str) or isinstance(theirs, str):
        return None if str(ours) == str(theirs) else f"{str(ours)[:200]} | {str(theirs)[:200]}"
    assert isinstance(ours, DispatchResult)
    assert isinstance(theirs, DispatchResult)
    message = build(DispatchInput, wanted)
    one, other = inspect(message, ours), inspect(message, theirs)
    if one.faults or other.faults:
        return f"python: {one.faults[:3]}, julia: {other.faults[:3]}"
    kept = [(result.status, [its.field for its in result.violations]) for result in (ours, theirs)]
    if kept[0] != kept[1]:
        return f"{kept[0]} | {kept[1]}"
    # Of a relaxed plan the last millionth of relief is the solver's, and has its price.
    room = 3e-6 * sum(abs(its.price_per_unit) for its in ours.violations)
    costs = objective(wanted, ours, one), objective(wanted, theirs, other)
    if abs(costs[0] - costs[1]) > 2e-6 * max(1.0, abs(costs[0])) + room:
        return f"{costs[0]} | {costs[1]}"
    bills = [[(line.item, line.name) for line in result.bill] for result in (ours, theirs)]
    if bills[0] != bills[1]:
        return f"{bills[0]} | {bills[1]}"
    for member in ("baseline_cost", "rule_based_cost", "baseline_within_grid_limits"):
        values = getattr(ours, member), getattr(theirs, member)
        if values[0] != pytest.approx(values[1], rel=1e-6, abs=1e-6):
            return f"{member}: {values[0]} | {values[1]}"
    return None
