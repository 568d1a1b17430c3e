"""The power flow of a network: laws that any result obeys, and what is said of it."""

from __future__ import annotations

import cmath
import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.contracts.channels import LIMITS
from gridpact.contracts.errors import Reason
from gridpact.contracts.messages import NetworkState, PowerFlowInput, PowerFlowResult
from gridpact.kit.errors import GridpactError
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import build, decode, encode
from tests.compute.networks import Json, check, networks, random_network, solve


@settings(max_examples=60, deadline=None)
@given(networks(meshed=True))
def test_snapshot_obeys_the_laws_of_circuits(network: Json) -> None:
    check(network, solve(network))


@settings(max_examples=25, deadline=None)
@given(networks(slots=6))
def test_every_slot_of_a_series_obeys_them(network: Json) -> None:
    check(network, solve(network))


@settings(max_examples=40, deadline=None)
@given(networks(islands=True, slots=2))
def test_what_no_slack_reaches_is_dead_and_the_rest_lives(network: Json) -> None:
    check(network, solve(network))


@settings(max_examples=40, deadline=None)
@given(networks(enforce=True))
def test_reactive_limits_hold_and_voltages_give_way_to_the_right_side(network: Json) -> None:
    check(network, solve(network))


@settings(max_examples=20, deadline=None)
@given(networks(slots=4, enforce=True))
def test_a_slot_of_a_series_is_what_it_is_alone(network: Json) -> None:
    together = solve(network)
    for slot in range(network["slots"]):
        alone = copy.deepcopy(network) | {"slots": 1}
        for profile in alone["profiles"]:
            profile["values"] = [profile["values"][slot]]
        assert_same_state(solve(alone).states[0], together.states[slot], abs_pu=1e-8)


@settings(max_examples=30, deadline=None)
@given(networks(), st.sampled_from([0.01, 0.5, 7.0, 1000.0]))
def test_base_power_is_only_a_unit(network: Json, factor: float) -> None:
    scaled = copy.deepcopy(network)
    grid = scaled["network"]
    grid["base_power_mva"] *= factor
    scaled["options"]["tolerance_pu"] = max(1e-12, scaled["options"]["tolerance_pu"] / factor)
    for branch in grid["branches"]:
        for member in branch:
            if member in ("resistance_pu", "reactance_pu"):
                branch[member] *= factor
            elif member.endswith(("conductance_pu", "susceptance_pu")):
                branch[member] /= factor
    without_limits(network), without_limits(scaled)
    assert_same_state(solve(network).states[0], solve(scaled).states[0], abs_pu=1e-8)


@settings(max_examples=30, deadline=None)
@given(networks(meshed=False), st.floats(-180, 180))
def test_a_phase_shift_in_a_tree_turns_angles_and_changes_nothing_else(
    network: Json, shift_deg: float
) -> None:
    turned = copy.deepcopy(network)
    branch = turned["network"]["branches"][-1]  # to the last bus, which is a leaf or not
    branch["phase_shift_deg"] = branch.get("phase_shift_deg", 0.0) + shift_deg
    if abs(branch["phase_shift_deg"]) > 360:
        branch["phase_shift_deg"] -= math.copysign(360, branch["phase_shift_deg"])
    before, after = solve(network).states[0], solve(turned).states[0]
    assert_same_state(before, after, abs_pu=1e-9, angles=False)
    change = np.asarray(after.angle_deg) - np.asarray(before.angle_deg)
    for found in change:
        assert min(abs(remainder(found)), abs(remainder(found + shift_deg))) < 1e-6
    assert abs(remainder(change[-1] + shift_deg)) < 1e-6


@settings(max_examples=30, deadline=None)
@given(networks(islands=True), st.randoms(use_true_random=False))
def test_order_of_the_items_does_not_matter(network: Json, order: Any) -> None:
    shuffled = copy.deepcopy(network)
    for part in ("buses", "branches", "loads", "shunts"):
        order.shuffle(shuffled["network"][part])
    one, other = solve(network), solve(shuffled)
    its_place = {name: i for i, name in enumerate(other.bus_names)}
    for i, name in enumerate(one.bus_names):
        for state, its_state in zip(one.states, other.states, strict=True):
            assert its_state.voltage_pu[its_place[name]] == pytest.approx(
                state.voltage_pu[i], abs=1e-8
            )


def without_limits(network: Json) -> None:
    """Leaves out what the tolerance of limits, in p.u., would blur."""
    network["options"]["enforce_reactive_limits"] = False


def remainder(degree: float) -> float:
    return math.remainder(degree, 360)


def assert_same_state(
    one: NetworkState, other: NetworkState, *, abs_pu: float, angles: bool = True
) -> None:
    for member in one.__struct_fields__:
        if member == "slot" or (member == "angle_deg" and not angles):
            continue
        # Degrees, percent and megawatt are larger numbers than p.u.
        tolerance = abs_pu if member == "voltage_pu" else 1e4 * abs_pu
        values, others = getattr(one, member), getattr(other, member)
        assert others.tolist() == pytest.approx(values.tolist(), abs=tolerance), member


# ------------------------------------------------------------------------------ by hand


def two_buses(**changes: Any) -> Json:
    """A slack at 1 p.u. and a load behind one branch; 1 MVA is 1 p.u."""
    return {
        "network": {
            "base_power_mva": 1,
            "buses": [
                {"name": "Grid", "nominal_voltage_kv": 20},
                {"name": "Village", "nominal_voltage_kv": 20},
            ],
            "branches": [
                {
                    "name": "Line",
                    "kind": "LINE",
                    "from_bus": "Grid",
                    "to_bus": "Village",
                    "resistance_pu": 0.02,
                    "reactance_pu": 0.1,
                }
            ],
            "generators": [{"name": "Slack", "bus": "Grid", "role": "SLACK"}],
            "loads": [
                {
                    "name": "Load",
                    "bus": "Village",
                    "active_power_mw": 0.6,
                    "reactive_power_mvar": 0.2,
                }
            ],
        },
        "options": {"tolerance_pu": 1e-12},
        **changes,
    }


def changed(path: str, value: Any) -> Json:
    """Two buses with another value at a dotted path."""
    network = two_buses()
    place: Any = network
    *steps, last = path.split(".")
    for step in steps:
        place = place[int(step)] if step.isdigit() else place[step]
    place[int(last) if last.isdigit() else last] = value
    return network


def test_voltage_drop_of_one_branch_is_that_of_the_closed_formula() -> None:
    """V⁴ + V²(2(RP + XQ) − 1) + |Z|²|S|² = 0, the larger root."""
    half = (1 - 2 * (0.02 * 0.6 + 0.1 * 0.2)) / 2
    square = half + math.sqrt(half**2 - (0.02**2 + 0.1**2) * (0.6**2 + 0.2**2))
    result = solve(two_buses())
    assert result.states[0].voltage_pu[1] == pytest.approx(math.sqrt(square), abs=1e-12)
    losses = 0.02 * (0.6**2 + 0.2**2) / square
    assert result.by_slot.losses_mw[0] == pytest.approx(losses, abs=1e-10)
    assert result.by_slot.slack_power_mw[0] == pytest.approx(0.6 + losses, abs=1e-10)


def test_an_idle_transformer_divides_by_its_tap_and_turns_back_by_its_shift() -> None:
    network = changed("network.loads", [])
    network["network"]["branches"][0] |= {"tap_ratio": 1.05, "phase_shift_deg": 150}
    state = solve(network).states[0]
    assert state.voltage_pu[1] == pytest.approx(1 / 1.05, abs=1e-12)
    assert state.angle_deg[1] == pytest.approx(-150, abs=1e-9)


def test_magnetising_branch_stands_behind_the_ideal_transformer() -> None:
    network = changed("network.loads", [])
    network["network"]["branches"][0] |= {
        "tap_ratio": 1.1,
        "from_conductance_pu": 0.01,
        "from_susceptance_pu": -0.05,
    }
    state = solve(network).states[0]
    assert state.from_active_power_mw[0] == pytest.approx(0.01 / 1.1**2, abs=1e-10)
    assert state.from_reactive_power_mvar[0] == pytest.approx(0.05 / 1.1**2, abs=1e-10)


def test_loading_is_the_larger_of_power_and_current() -> None:
    by_power = changed("network.branches.0.max_apparent_power_mva", 0.5)
    by_current = changed("network.branches.0.max_current_ka", 0.5 / (math.sqrt(3) * 20))
    both = copy.deepcopy(by_power)
    both["network"]["branches"][0]["max_current_ka"] = 0.5 / (math.sqrt(3) * 20)
    power, current, most = (solve(each).states[0] for each in (by_power, by_current, both))
    voltage = power.voltage_pu[1]
    into = abs(complex(power.from_active_power_mw[0], power.from_reactive_power_mvar[0]))
    assert power.loading_percent[0] == pytest.approx(100 * into / 0.5)
    assert current.loading_percent[0] == pytest.approx(100 * math.hypot(0.6, 0.2) / voltage / 0.5)
    assert most.loading_percent[0] == max(power.loading_percent[0], current.loading_percent[0])


def test_a_generator_at_its_limit_gives_up_its_voltage_and_is_named() -> None:
    network = two_buses()
    plant = {"name": "Plant", "bus": "Village", "role": "PV", "max_reactive_power_mvar": 0.1}
    network["network"]["generators"].append(plant | {"voltage_setpoint_pu": 1.02})
    free = solve(network)
    assert free.states[0].voltage_pu[1] == pytest.approx(1.02)
    assert [found.generator for found in free.reactive_limits] == ["Plant"]  # it is beyond it
    network["options"]["enforce_reactive_limits"] = True
    held = solve(network)
    assert held.states[0].voltage_pu[1] < 1.0
    assert held.states[0].generator_reactive_power_mvar[1] == pytest.approx(0.1, abs=1e-9)
    found = held.reactive_limits[0]
    assert (found.generator, found.limit, found.limit_mvar) == ("Plant", "MAX", 0.1)
    assert found.worst_reactive_power_mvar == pytest.approx(0.1, abs=1e-9)


def test_a_generator_comes_back_from_its_limit_in_the_night() -> None:
    """Its limit by day does not hold it by night, however often."""
    network = two_buses(slots=12)
    network["network"]["generators"].append(
        {"name": "Plant", "bus": "Village", "role": "PV", "max_reactive_power_mvar": 0.1}
    )
    network["network"]["loads"][0]["profile"] = "Day and night"
    network["profiles"] = [{"name": "Day and night", "unit": "FACTOR", "values": [1.0, 0.01] * 6}]
    network["options"] |= {"enforce_reactive_limits": True, "report": "ALL"}
    result = solve(network)
    voltages = [state.voltage_pu[1] for state in result.states]
    assert max(voltages[::2]) < 0.999
    assert voltages[1::2] == pytest.approx([1.0] * 6, abs=1e-9)
    assert result.reactive_limits[0].slot_count == 6


def generators_at_one_bus(*ranges: tuple[float | None, float | None]) -> list[float]:
    """What generators with these reactive ranges supply of a need of 0.6 Mvar."""
    network = changed("network.branches.0.reactance_pu", 0.0)
    network["network"]["loads"] = [
        {"name": "Load", "bus": "Grid", "active_power_mw": 0, "reactive_power_mvar": 0.6}
    ]
    network["network"]["generators"] = [
        {
            "name": f"{i}",
            "bus": "Grid",
            "role": "PV" if i else "SLACK",
            **({} if low is None else {"min_reactive_power_mvar": low}),
            **({} if high is None else {"max_reactive_power_mvar": high}),
        }
        for i, (low, high) in enumerate(ranges)
    ]
    return solve(network).states[0].generator_reactive_power_mvar.tolist()


@pytest.mark.parametrize(
    ("ranges", "supplied"),
    [
        ([(None, None), (None, None)], [0.3, 0.3]),
        ([(0, 1), (0, 2)], [0.2, 0.4]),
        ([(-1, 1), (0, 1)], [1 / 15, 8 / 15]),
        ([(0.1, 0.1), (0.2, 0.2)], [0.25, 0.35]),
        ([(None, None), (0, 0.1)], [0.5, 0.1]),
        ([(None, None), (None, 0.1), (0, 0.5)], [0.2, 0.2, 0.2]),
    ],
)
def test_generators_at_one_bus_share_by_their_ranges(
    ranges: list[tuple[float | None, float | None]], supplied: list[float]
) -> None:
    assert generators_at_one_bus(*ranges) == pytest.approx(supplied, abs=1e-9)


# ------------------------------------------------------------------------------ divergence


def overloaded(part_of_most: float, **changes: Any) -> Json:
    """A load behind a pure reactance, by how much of V²/2X, the most that it can carry."""
    network = two_buses(**changes)
    network["network"]["branches"][0] |= {"resistance_pu": 0.0}
    network["network"]["loads"][0] |= {
        "active_power_mw": part_of_most * 5.0,
        "reactive_power_mvar": 0,
    }
    network["options"] = {}
    return network


def test_what_cannot_be_carried_is_refused_with_what_can() -> None:
    with pytest.raises(GridpactError) as raised:
        solve(overloaded(2.5))
    error = raised.value
    assert error.reason is Reason.POWER_FLOW_DIVERGED
    assert [(each.field, each.rule) for each in error.violations] == [
        ("network.buses[1]", "converges"),
        ("network.loads", "loadability"),
    ]
    assert "Village" in error.violations[0].message
    # 1/2.5 of it is 25.6/64, and 25/64 is
    assert "multiplied by 0.390625" in error.violations[1].message


def test_a_network_that_fails_without_any_load_is_said_to_be_wrong() -> None:
    network = overloaded(1.0)
    network["network"]["branches"][0]["charging_susceptance_pu"] = 2.0
    network["options"] = {"max_iterations": 1, "tolerance_pu": 1e-12}
    with pytest.raises(GridpactError) as raised:
        solve(network)
    assert "without any load and generation" in raised.value.violations[1].message


def test_zero_volts_at_an_idle_bus_is_no_solution() -> None:
    """They would balance, as 0 V take no power, but whatever stands between carries a current."""
    network = changed("network.loads", [])
    network["network"]["shunts"] = [{"name": "S", "bus": "Village", "conductance_mw": 1e5}]
    with pytest.raises(GridpactError) as raised:
        solve(network)
    assert raised.value.reason is Reason.POWER_FLOW_DIVERGED
    assert raised.value.violations[0].field == "network.buses[1]"


def test_slots_that_diverge_are_named_and_take_no_part() -> None:
    network = overloaded(1.0, slots=4)
    network["network"]["loads"][0]["profile"] = "Growth"
    network["profiles"] = [{"name": "Growth", "unit": "FACTOR", "values": [0.5, 3.0, 4.0, 0.6]}]
    result = solve(network)
    assert [found.slot for found in result.divergences] == [1, 2]
    assert result.divergences[0].convergent_factor == 21 / 64  # of 3.0
    assert result.divergences[0].bus == "Village"
    assert result.by_slot.losses_mw[1] == 0
    assert result.by_slot.iterations[1] > 0
    assert result.by_slot.lowest_voltage_pu[3] == min(result.extremes.lowest_voltage_pu)
    assert [state.slot for state in result.states] == [0, 3]
    alone = copy.deepcopy(network) | {"slots": 1}
    alone["profiles"][0]["values"] = [0.6]
    assert result.states[-1].voltage_pu[1] == pytest.approx(
        solve(alone).states[0].voltage_pu[1], abs=1e-8
    )


def test_numbers_that_overflow_are_a_divergence_not_a_crash() -> None:
    with pytest.raises(GridpactError) as raised:
        solve(changed("network.loads.0.active_power_mw", 1e6))
    assert raised.value.reason is Reason.POWER_FLOW_DIVERGED


# ------------------------------------------------------------------------------ refusals


def island(**options: Any) -> Json:
    network = two_buses(options=options)
    network["network"]["buses"] += [
        {"name": name, "nominal_voltage_kv": 20} for name in ("Farm", "Mill")
    ]
    network["network"]["branches"].append(
        network["network"]["branches"][0] | {"name": "Far", "from_bus": "Farm", "to_bus": "Mill"}
    )
    return network


def with_second_generator(**generator: Any) -> Json:
    network = two_buses()
    second = {"name": "Second", "bus": "Grid", "role": "SLACK"}
    network["network"]["generators"].append(second | generator)
    return network


def with_profile(unit: str, member: str, part: str = "loads") -> Json:
    network = two_buses(profiles=[{"name": "P", "unit": unit, "values": [1.0]}])
    network["network"][part][0][member] = "P"
    return network


def large() -> Json:
    network = two_buses(slots=35136, options={"report": "ALL"})
    line = network["network"]["branches"][0]
    network["network"]["branches"] = [line | {"name": f"Line {i}"} for i in range(5)]
    return network


REFUSED: dict[str, tuple[Json, list[str]]] = {
    "an island": (island(), ["network.buses[2]:connected-to-slack"]),
    "no slack in service": (
        changed("network.generators.0.in_service", False),
        ["network.buses[0]:connected-to-slack", "network.generators:contains"],
    ),
    "a slack at another voltage": (
        with_second_generator(voltage_setpoint_pu=1.01),
        ["network.generators[1].voltage_setpoint_pu:same-setpoint"],
    ),
    "a slack at another angle": (
        with_second_generator(voltage_angle_deg=1),
        ["network.generators[1].voltage_angle_deg:same-setpoint"],
    ),
    "a load in Mvar": (with_profile("MVAR", "profile"), ["network.loads[0].profile:unit"]),
    "reactive power in MW": (
        with_profile("MW", "reactive_profile", "generators"),
        ["network.generators[0].reactive_profile:unit"],
    ),
    "too many numbers": (large(), ["options.report:most-values"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_by_field_and_rule(case: str) -> None:
    network, violations = REFUSED[case]
    with pytest.raises(GridpactError) as raised:
        solve(network)
    assert raised.value.reason is Reason.INVALID_ARGUMENT
    found = sorted(f"{each.field}:{each.rule}" for each in raised.value.violations)
    assert found == violations


@pytest.mark.parametrize(
    ("network", "violation"),
    [
        (changed("network.branches", []), "network.branches:min-items"),
        (changed("network.buses", []), "network.buses:min-items"),
        (changed("network.buses.1.name", "Grid"), "network.buses[1].name:unique"),
        (
            changed("network.branches.0.tap_ratio", 0),
            "network.branches[0].tap_ratio:exclusive-minimum",
        ),
        (
            changed("network.loads.0.active_power_mw", math.nan),
            "network.loads[0].active_power_mw:type",
        ),
        (changed("network.branches.0.to_bus", "Nowhere"), "network.branches[0].to_bus:refers-to"),
        (changed("network.branches.0.to_bus", "Grid"), "network.branches[0].to_bus:unique"),
        (
            changed(
                "network.branches.0",
                two_buses()["network"]["branches"][0] | {"resistance_pu": 0, "reactance_pu": 0},
            ),
            "network.branches[0].resistance_pu:not-all-zero",
        ),
        (changed("network.generators.0.role", "PV"), "network.generators:contains"),
        (changed("network.loads.0.profile", "P"), "network.loads[0].profile:refers-to"),
        (
            two_buses(slots=2, profiles=[{"name": "P", "unit": "MW", "values": [1.0]}]),
            "profiles[0].values:length-equals",
        ),
    ],
)
def test_the_contract_refuses_before_anything_is_computed(network: Json, violation: str) -> None:
    with pytest.raises(ContractError) as raised:
        build(PowerFlowInput, network)
    assert violation in [f"{each.field}:{each.rule}" for each in raised.value.violations]


def test_a_set_point_beside_a_slack_is_not_held() -> None:
    """The bus's role is the slack's, so that a PV generator there may want another voltage."""
    result = solve(with_second_generator(role="PV", voltage_setpoint_pu=1.05))
    assert result.states[0].voltage_pu[0] == 1.0


# ------------------------------------------------------------------------------ report


def test_islands_are_told_in_the_order_of_their_first_bus() -> None:
    result = solve(island(islands="DE_ENERGISE"))
    told = [(each.energised, each.slack_generators, each.buses) for each in result.islands]
    assert told == [(True, ["Slack"], ["Grid", "Village"]), (False, [], ["Farm", "Mill"])]
    assert result.states[0].voltage_pu.tolist()[2:] == [0.0, 0.0]
    assert result.by_slot.lowest_voltage_pu[0] > 0.9


def test_a_series_tells_the_states_of_its_worst_slots() -> None:
    network = two_buses(slots=5, options={})
    network["network"]["branches"][0]["max_current_ka"] = 1.0
    network["network"]["loads"][0]["profile"] = "Year"
    network["profiles"] = [{"name": "Year", "unit": "FACTOR", "values": [0.5, -1.0, 0.2, 1.1, 0.3]}]
    result = solve(network)
    assert [state.slot for state in result.states] == [1, 3]  # highest voltage; the other two
    network["options"] = {"report": "ALL"}
    assert [state.slot for state in solve(network).states] == [0, 1, 2, 3, 4]


def test_result_obeys_its_own_contract_and_repeats_the_time() -> None:
    network = random_network(7, buses=6, slots=3)
    network |= {"start_time": "2026-06-01T00:00:00Z", "slot_duration_s": 900}
    result = solve(network)
    assert decode(PowerFlowResult, encode(result), LIMITS) == result
    assert (result.start_time, result.slot_duration_s) == ("2026-06-01T00:00:00Z", 900)


def test_angles_are_above_minus_180_degrees() -> None:
    network = changed("network.loads", [])
    network["network"]["branches"][0]["phase_shift_deg"] = 180
    assert solve(network).states[0].angle_deg[1] == pytest.approx(180)


@pytest.mark.parametrize("start", ["AUTO", "FLAT", "DC", "GIVEN"])
def test_every_start_leads_to_the_same_voltages(start: str) -> None:
    network = two_buses(options={"start": start, "tolerance_pu": 1e-12})
    network["network"]["branches"][0]["phase_shift_deg"] = 150
    network["network"]["buses"][1] |= {"initial_voltage_pu": 0.9, "initial_angle_deg": -160}
    state = solve(network).states[0]
    found = cmath.rect(state.voltage_pu[1], math.radians(state.angle_deg[1] + 150))
    plain = solve(two_buses()).states[0]
    wanted = cmath.rect(plain.voltage_pu[1], math.radians(plain.angle_deg[1]))
    assert found == pytest.approx(wanted, abs=1e-10)
