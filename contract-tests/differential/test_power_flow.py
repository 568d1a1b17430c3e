"""Python and Julia find the same voltages and flows, and refuse the same networks alike."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import Struct

from gridpact.compute.plan_check import plan_check
from gridpact.compute.power_flow import power_flow
from gridpact.contracts.channels import KINDS, LIMITS
from gridpact.contracts.messages import PlanOverload, PlanVoltageViolation
from gridpact.kit.errors import GridpactError
from gridpact.kit.series import Float64Series
from gridpact.kit.wire import Message, build, decode, encode
from tests.compute.networks import Json, random_network
from tests.compute.test_dispatch_plan import silent
from tests.compute.test_plan_check import planned, village
from tests.compute.test_power_flow import REFUSED, overloaded, two_buses

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

SAME_PU = 1e-8
"""Voltages; other numbers are larger, and may differ by as much of themselves."""


def answers(
    julia: str, kind: str, compute: Callable[[Any, Any], Message], inputs: Sequence[Json]
) -> Iterator[tuple[Message | str, Message | str]]:
    """Python's and Julia's result of each input; a refusal in words."""
    wanted = KINDS[kind]
    messages = [build(wanted.input, given) for given in inputs]
    done = subprocess.run(
        [julia, "--startup-file=no", "--project=julia", HERE / "compute.jl"],
        cwd=ROOT,
        input="".join(f"{wanted.input.__name__} {encode(each).hex()}\n" for each in messages),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for message, line in zip(messages, done.stdout.splitlines(), strict=True):
        said, _, data = line.partition(" ")
        theirs = decode(wanted.result, bytes.fromhex(data), LIMITS) if said == "result" else line
        try:
            ours: Message | str = compute(message, silent)
        except GridpactError as error:
            found = sorted(f"{each.field}:{each.rule}" for each in error.violations)
            ours = f"{error.reason} {';'.join(found)}"
        yield ours, theirs


def assert_same(ours: Any, theirs: Any, at: str = "") -> None:
    """The same messages but for rounding; which of two equal extremes is told is open."""
    if at.endswith(("iterations", "_slot", "mismatch_pu")):
        return
    assert type(ours) is type(theirs), at
    if isinstance(ours, PlanVoltageViolation | PlanOverload):
        assert_same(blames(ours), blames(theirs), f"{at}.assets")
    if isinstance(ours, Struct):
        for name in ours.__struct_fields__:
            if name == "assets" or name.startswith(("voltage_changes", "loading_changes")):
                continue  # equal but for rounding, they may change places
            assert_same(getattr(ours, name), getattr(theirs, name), f"{at}.{name}")
    elif isinstance(ours, Float64Series):
        np.testing.assert_allclose(theirs, ours, rtol=1e-7, atol=100 * SAME_PU, err_msg=at)
        if at.endswith("voltage_pu"):
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=SAME_PU, err_msg=at)
    elif isinstance(ours, float):
        assert theirs == pytest.approx(ours, rel=1e-7, abs=100 * SAME_PU), at
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), at
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(one, other, f"{at}[{i}]")
    else:
        assert ours == theirs, at


def blames(found: PlanVoltageViolation | PlanOverload) -> list[tuple[str, float]]:
    """The assets by name, with what each changes."""
    changes = (
        found.voltage_changes_pu
        if isinstance(found, PlanVoltageViolation)
        else found.loading_changes_percent
    )
    return sorted(zip(found.assets, changes, strict=True))


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
    # Two slacks half a turn apart: on its way one voltage becomes negative.
    apart = random_network(83, buses=7)
    end = apart["network"]["buses"][-1]["name"]
    apart["network"]["generators"].append(
        {"name": "Opposite", "bus": end, "role": "SLACK", "voltage_angle_deg": 180}
    )
    yield "opposite slacks", apart
    for name, (network, _) in REFUSED.items():
        yield name, network


def plans() -> Iterator[tuple[str, Json]]:
    for seed in range(40):
        network = random_network(seed, buses=3 + seed % 9, slots=3, islands=seed % 4 == 0)
        yield f"plan {seed}", planned(network, seed)
    yield "village", village()


@pytest.mark.parametrize(
    ("kind", "compute", "played"),
    [("power-flow", power_flow, list(cases())), ("plan-check", plan_check, list(plans()))],
)
def test_both_engines_answer_alike(
    julia: str, kind: str, compute: Callable[[Any, Any], Message], played: list[tuple[str, Json]]
) -> None:
    different: list[str] = []
    found = answers(julia, kind, compute, [network for _, network in played])
    for (name, _), (ours, theirs) in zip(played, found, strict=True):
        try:
            assert_same(ours, theirs)
        except AssertionError as error:
            different.append(f"{name}: {error}")
    assert different == []
