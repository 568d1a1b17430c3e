"""Whether a network carries a plan, and which assets are to blame where it does not."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
from hypothesis import given, settings

from gridpact.compute.plan_check import plan_check
from gridpact.contracts.channels import LIMITS
from gridpact.contracts.messages import PlanCheckInput, PlanCheckResult
from gridpact.kit.wire import build, decode, encode
from tests.compute.networks import Json, networks, solve
from tests.compute.test_dispatch_plan import silent


def check(wanted: Json) -> PlanCheckResult:
    return plan_check(build(PlanCheckInput, wanted), silent)


def planned(network: Json, seed: int = 0, size: float = 0.3) -> Json:
    """The network with a schedule of three assets that may break its limits."""
    any_of = random.Random(seed)
    base_kw = 1000 * network["network"]["base_power_mva"]
    names = [bus["name"] for bus in network["network"]["buses"]]
    assets = ["Battery", "Solar park", "Depot"]
    schedule = [
        {
            "name": name,
            "power_kw": [any_of.uniform(-size, size) * base_kw for _ in range(network["slots"])],
        }
        for name in assets
    ]
    connections = [
        {
            "asset": name,
            "bus": any_of.choice(names),
            "power_factor": any_of.choice([1.0, 0.95, 0.9]),
            "reactive_power": any_of.choice(["CONSUMED", "SUPPLIED"]),
        }
        for name in assets
    ]
    return network | {"schedule": schedule, "connections": connections}


def as_loads(wanted: Json) -> Json:
    """The power flow of the same network with the assets among its loads."""
    network = copy.deepcopy({key: wanted[key] for key in wanted if key != "schedule"})
    connections = {each["asset"]: each for each in network.pop("connections")}
    for asset in wanted["schedule"]:
        at = connections[asset["name"]]
        power = np.array(asset["power_kw"]) / 1000
        tangent = np.tan(np.arccos(at["power_factor"]))
        sign = 1 if at["reactive_power"] == "CONSUMED" else -1
        for unit, values in (("MW", power), ("MVAR", sign * tangent * abs(power))):
            profile = {"name": f"{asset['name']} {unit}", "unit": unit, "values": values.tolist()}
            network["profiles"].append(profile)
        network["network"]["loads"].append(
            {
                "name": f"Asset {asset['name']}",
                "bus": at["bus"],
                "active_power_mw": 0,
                "profile": f"{asset['name']} MW",
                "reactive_profile": f"{asset['name']} MVAR",
            }
        )
    return network


@settings(max_examples=20, deadline=None)
@given(networks(slots=3))
def test_flows_are_those_of_the_same_powers_as_loads(network: Json) -> None:
    wanted = planned(network)
    result, plain = check(wanted), solve(as_loads(wanted))
    assert len(result.power_flow.states) == len(plain.states)
    for one, other in zip(result.power_flow.states, plain.states, strict=True):
        assert one.voltage_pu.tolist() == pytest.approx(other.voltage_pu.tolist(), abs=1e-9)
        assert one.loading_percent.tolist() == pytest.approx(other.loading_percent.tolist())
    violated = [slot for slot in range(3) if plain.by_slot.violations[slot]]
    assert result.violated_slot_count == len(violated)
    assert result.within_limits == (not violated and not plain.divergences)
    outside = len(result.voltage_violations) + len(result.overloads)
    assert outside == sum(plain.by_slot.violations)
    assert decode(PlanCheckResult, encode(result), LIMITS) == result


@settings(max_examples=20, deadline=None)
@given(networks(enforce=False))
def test_changes_are_what_a_little_less_of_an_asset_changes(network: Json) -> None:
    wanted = planned(network, size=0.2)
    result = check(wanted)
    for i, asset in enumerate(wanted["schedule"]):
        less = copy.deepcopy(wanted)
        step = 1e-5
        less["schedule"][i]["power_kw"][0] *= 1 - step
        state = check(less).power_flow.states[0]
        for found in result.voltage_violations:
            if asset["name"] in found.assets:
                told = found.voltage_changes_pu[found.assets.index(asset["name"])]
                bus = result.power_flow.bus_names.index(found.bus)
                slope = (found.voltage_pu - state.voltage_pu[bus]) / step
                assert told == pytest.approx(slope, rel=1e-2, abs=1e-4)
        for overload in result.overloads:
            if asset["name"] in overload.assets:
                told = overload.loading_changes_percent[overload.assets.index(asset["name"])]
                branch = result.power_flow.branch_names.index(overload.branch)
                slope = (overload.loading_percent - state.loading_percent[branch]) / step
                assert told == pytest.approx(slope, rel=1e-2, abs=1e-2)


def village(**changes: object) -> Json:
    return {
        "network": {
            "base_power_mva": 10,
            "buses": [
                {"name": "Substation", "nominal_voltage_kv": 20},
                {"name": "Village", "nominal_voltage_kv": 20, "min_voltage_pu": 0.98},
            ],
            "branches": [
                {
                    "name": "Line",
                    "kind": "LINE",
                    "from_bus": "Substation",
                    "to_bus": "Village",
                    "resistance_pu": 0.1,
                    "reactance_pu": 0.1,
                    "max_current_ka": 0.2,
                }
            ],
            "generators": [{"name": "Grid", "bus": "Substation", "role": "SLACK"}],
        },
        "slots": 2,
        "schedule": [
            {"name": "Solar park", "power_kw": [-1000, -1000]},
            {"name": "Battery", "power_kw": [9000, -2000]},
        ],
        "connections": [
            {"asset": "Battery", "bus": "Village", "power_factor": 0.95},
            {"asset": "Solar park", "bus": "Village"},
        ],
        **changes,
    }


def test_names_the_slot_the_bus_and_the_asset_that_pushes_most() -> None:
    result = check(village())
    assert not result.within_limits
    assert (result.violated_slot_count, result.violated_without_plan_slot_count) == (1, 0)
    (low,) = result.voltage_violations
    assert (low.slot, low.bus, low.limit, low.limit_pu) == (0, "Village", "MIN", 0.98)
    assert low.assets == ["Battery", "Solar park"]
    assert low.voltage_changes_pu[0] < 0 < low.voltage_changes_pu[1]
    assert low.voltage_without_plan_pu == pytest.approx(1.0)
    (overload,) = result.overloads
    assert overload.loading_without_plan_percent == pytest.approx(0.0, abs=1e-9)
    assert overload.assets[0] == "Battery"


def test_a_plan_that_harms_nothing_is_within_limits() -> None:
    result = check(
        village(
            schedule=[{"name": "Battery", "power_kw": [500, -500]}],
            connections=[{"asset": "Battery", "bus": "Village"}],
        )
    )
    assert result.within_limits
    assert result.voltage_violations == []
