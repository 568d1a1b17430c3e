"""Python and Julia take the same steps for the same controllers, whatever they keep."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from gridpact.compute.mpc_step import mpc_step
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.contracts.messages import DispatchInput, MpcStepResult
from gridpact.kit.wire import build
from tests.compute.cases import PLAIN, Json, SeededDice, Wish, problem
from tests.compute.engines import answers
from tests.compute.inspector import inspect

CONTROLLERS, STEPS = 20, 5
TOGETHER = 4  # controllers taken in turn: fewer than a worker keeps models of
WITH_WHOLE = Wish(tight=False, outside=0, reserve=0)


def steps() -> Iterator[Json]:
    """Some controllers in turn, then others; prices, loads and stored energy change."""
    dice = random.Random(7)
    for first in range(0, CONTROLLERS, TOGETHER):
        for step in range(STEPS):
            for seed in range(first, first + TOGETHER):
                # Once each controller gets another site: what was kept must not be used for it.
                site = 500 + seed if step == STEPS - 2 else seed
                wish = WITH_WHOLE if site % 4 == 3 else PLAIN
                known = problem(SeededDice(site), wish)
                yield {"controller_id": f"C{seed}", "problem": later(known, dice)}


def later(site: Json, dice: random.Random) -> Json:
    prices = site["tariff"]["import_price_per_kwh"]
    changed = site | {
        "tariff": site["tariff"]
        | {"import_price_per_kwh": [round(p + dice.uniform(-0.05, 0.05), 4) for p in prices]},
        "loads": [
            load | {"power_kw": [round(p * dice.uniform(0.9, 1), 3) for p in load["power_kw"]]}
            for load in site.get("loads", [])
        ],
        "batteries": [
            each | {"initial_energy_kwh": round(least + dice.random() * (most - least), 3)}
            for each in site.get("batteries", [])
            for least, most in [window(each["battery"])]
        ],
    }
    return {name: value for name, value in changed.items() if name in site}


def window(battery: Json) -> tuple[float, float]:
    least = battery.get("min_energy_kwh", 0)
    return least, battery.get("max_energy_kwh", battery["capacity_kwh"])


@pytest.mark.timeout(240)
def test_both_engines_take_the_same_steps(julia: str) -> None:
    played = list(steps())
    different: list[str] = []
    compared, warm = 0, [0, 0]
    for i, (wanted, (ours, theirs)) in enumerate(
        zip(played, answers(julia, "mpc-step", mpc_step(WarmModels()), played), strict=True)
    ):
        at = f"task {i}, {wanted['controller_id']}"
        if isinstance(ours, str) or isinstance(theirs, str):
            if str(ours) != str(theirs):
                different.append(f"{at}: {str(ours)[:200]} | {str(theirs)[:200]}")
            continue
        assert isinstance(ours, MpcStepResult)
        assert isinstance(theirs, MpcStepResult)
        compared += 1
        warm = [warm[0] + ours.warm, warm[1] + theirs.warm]
        message = build(DispatchInput, wanted["problem"])
        faults = [inspect(message, each.plan).faults[:2] for each in (ours, theirs)]
        room = 3e-6 * sum(abs(its.price_per_unit) for its in ours.plan.violations)
        said = [
            (
                each.plan.status,
                [(its.name, len(its.power_kw)) for its in each.set_points],
            )
            for each in (ours, theirs)
        ]
        if faults != [[], []]:
            different.append(f"{at}: python {faults[0]}, julia {faults[1]}")
        elif said[0] != said[1]:
            different.append(f"{at}: {said[0]} | {said[1]}")
        elif abs(ours.cost - theirs.cost) > 2e-6 * max(1.0, abs(ours.cost)) + room:
            different.append(f"{at}: cost {ours.cost} | {theirs.cost}")
    assert not different, "\n".join(different)
    assert compared > len(played) / 2
    assert min(warm) > compared / 8, "too few steps were warm for this to prove anything"
