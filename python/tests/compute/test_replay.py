"""The kind `replay`: what a schedule leads to, by an account that shares no code with it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridpact.compute.dispatch import dispatch
from gridpact.compute.replay import replay
from gridpact.contracts.messages import DispatchResult, ReplayInput, ReplayResult
from gridpact.kit.wire import build
from tests.compute.cases import LINEAR, SeededDice, Wish, problem, problems
from tests.compute.replay_check import check_replay

Json = dict[str, Any]
CONTROLLED = ("batteries", "pv", "flexible_loads", "cycles", "electric_vehicles", "heat_pumps")


def silent(*_: object, **__: object) -> None:
    """Takes reports of progress."""


def schedule_of(plan: DispatchResult) -> list[Json]:
    """A plan as set-points, copied out of its result."""
    points: list[Json] = [
        {"name": its.name, "power_kw": list(its.power_kw)}
        for kind in CONTROLLED
        for its in getattr(plan, kind)
    ]
    return points + [
        {"name": its.name, "power_kw": list(its.power_kw), "running": list(its.running)}
        for its in plan.generators
    ]


def any_schedule(site: Json, seed: int) -> list[Json]:
    """Set-points that nobody planned, for most assets."""
    dice, slots = random.Random(seed), site["slots"]

    def flags() -> list[int]:
        return [dice.randint(0, 1) for _ in range(slots)]

    found: list[Json] = []
    for kind in (*CONTROLLED, "generators"):
        for its in site.get(kind, []):
            if dice.random() < 0.85:
                power = [dice.choice((0.0, dice.uniform(-4, 6))) for _ in range(slots)]
                points: Json = {"name": its["name"], "power_kw": power}
                if dice.random() < 0.5:
                    points |= {"running": flags(), "limited": flags()}
                found.append(points)
    return found


def replayed(given: Json) -> tuple[ReplayInput, ReplayResult]:
    wanted = build(ReplayInput, given)
    return wanted, replay(wanted, silent)


def any_replay(seed: int) -> Json:
    site = problem(SeededDice(seed), Wish())
    at_limits = random.Random(seed).choice(("VIOLATE", "CURTAIL", "REDUCE"))
    return {
        "site": site,
        "schedule": any_schedule(site, seed),
        "at_limits": at_limits,
        "plan_cost": 1.5,
    }


@given(st.integers(0, 2**32))
def test_any_schedule_leads_to_what_physics_and_prices_say(seed: int) -> None:
    check_replay(*replayed(any_replay(seed)))


@given(st.data(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_plan_on_its_own_input_is_what_it_was(data: st.DataObject, whole: bool) -> None:
    site = data.draw(problems(replace(LINEAR, whole=whole)))
    wanted = build(ReplayInput, {"site": site, "schedule": []})
    plan = dispatch(wanted.site, silent)
    assume(plan.status == "OPTIMAL")
    _, result = replayed({"site": site, "schedule": schedule_of(plan), "plan_cost": plan.cost})
    assert result.cost == pytest.approx(plan.cost, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(result.grid_power_kw, plan.grid_power_kw, rtol=1e-9, atol=1e-9)
    energies = {its.name: its.energy_kwh for its in (*plan.batteries, *plan.electric_vehicles)}
    energies |= {its.name: its.tank_energy_kwh for its in plan.heat_pumps}
    for asset in result.assets:
        if asset.name in energies:
            np.testing.assert_allclose(asset.energy_kwh, energies[asset.name], rtol=1e-9, atol=1e-9)
    assert result.deviations == []
    assert result.violations == []
    assert result.rule_based_cost == plan.rule_based_cost
