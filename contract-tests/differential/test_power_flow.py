"""Python and Julia find the same voltages and flows, and refuse the same networks alike."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from msgspec import Struct

from gridpact.compute.power_flow import power_flow
from gridpact.kit.series import Float64Series
from tests.compute.engines import answers
from tests.compute.networks import Json, random_network
from tests.compute.test_power_flow import REFUSED, overloaded, two_buses

SAME_PU = 1e-8
"""Voltages; other numbers are larger, and may differ by as much of themselves."""


def assert_same(ours: Any, theirs: Any, at: str = "") -> None:
    """The same messages but for rounding; which of two equal extremes is told is open."""
    if at.endswith(("iterations", "_slot", "mismatch_pu")):
        return
    assert type(ours) is type(theirs), at
    if isinstance(ours, Struct):
        for name in ours.__struct_fields__:
            assert_same(getattr(ours, name), getattr(theirs, name), f"{at}.{name}")
    elif isinstance(ours, Float64Series):
        np.testing.assert_allclose(theirs, ours, rtol=1e-7, atol=100 * SAME_PU, err_msg=at)
        if at.endswith("voltage_pu"):
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=SAME_PU, err_msg=at)
    elif isinstance(ours, float):
        assert theirs == pytest.approx(ours, rel=1e-7, abs=100 * SAME_PU), at
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), at
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(one, other, f"{at}[{i}]")
    else:
        assert ours == theirs, at


def cases() -> Iterator[tuple[str, Json]]:
    for seed in range(60):
        yield f"snapshot {seed}", random_network(seed, buses=2 + seed % 20)
    for seed in range(30):
        yield f"series {seed}", random_network(seed, buses=2 + seed % 9, slots=8)
    for seed in range(30):
        yield f"islands {seed}", random_network(seed, buses=3 + seed % 9, slots=2, islands=True)
    for seed in range(30):
        yield f"limits {seed}", random_network(seed, buses=3 + seed % 9, slots=20, enforce=True)
    for i, part in enumerate((0.3, 0.9, 1.1, 2.5)):
        yield f"overloaded {i}", overloaded(part)
    growing = overloaded(1.0, slots=4)
    growing["network"]["loads"][0]["profile"] = "Growth"
    growing["profiles"] = [{"name": "Growth", "unit": "FACTOR", "values": [0.5, 3.0, 4.0, 0.6]}]
    yield "some slots overloaded", growing
    collapsed = two_buses()
    collapsed["network"]["loads"] = []
    collapsed["network"]["shunts"] = [{"name": "S", "bus": "Village", "conductance_mw": 1e5}]
    yield "collapsed", collapsed
    night = two_buses(slots=12)
    night["network"]["generators"].append(
        {"name": "Plant", "bus": "Village", "role": "PV", "max_reactive_power_mvar": 0.1}
    )
    night["network"]["loads"][0]["profile"] = "Day"
    night["profiles"] = [{"name": "Day", "unit": "FACTOR", "values": [1.0, 0.01] * 6}]
    night["options"] |= {"enforce_reactive_limits": True}
    yield "day and night", night
    whole_turn = copy.deepcopy(random_network(3, buses=4, meshed=False))
    line = whole_turn["network"]["branches"][-1]
    shifted = line | {
        "kind": "TRANSFORMER",
        "phase_shift_deg": line.get("phase_shift_deg", 0) - 360,
    }
    if abs(shifted["phase_shift_deg"]) <= 360:
        whole_turn["network"]["branches"].append(shifted | {"name": "Beside"})
    whole_turn["options"]["start"] = "DC"
    yield "whole turn", whole_turn
    for name, (network, _) in REFUSED.items():
        yield name, network


def test_both_engines_answer_alike(julia: str) -> None:
    played = list(cases())
    different: list[str] = []
    for (name, _), (ours, theirs) in zip(
        played,
        answers(julia, "power-flow", power_flow, [network for _, network in played]),
        strict=True,
    ):
        try:
            assert_same(ours, theirs)
        except AssertionError as error:
            different.append(f"{name}: {error}")
    assert different == []
