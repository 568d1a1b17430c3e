"""Random networks, and a check of power-flow results by circuit theory that shares no code."""

from __future__ import annotations

import cmath
import math
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import strategies as st

from gridpact.compute.power_flow import power_flow
from gridpact.contracts.messages import NetworkState, PowerFlowInput, PowerFlowResult
from gridpact.kit.wire import build
from tests.compute.test_dispatch_plan import silent

Json = dict[str, Any]

TOLERANCE = 1e-6
"""By which a voltage (p.u.) or a reactive power (p.u.) may be beyond a limit."""


def solve(given: Json) -> PowerFlowResult:
    return power_flow(build(PowerFlowInput, given), silent)


@st.composite
def networks(draw: st.DrawFn, **wanted: Any) -> Json:
    """An input that converges: see `random_network`."""
    seed = draw(st.integers(0, 2**32 - 1))
    return random_network(seed, buses=draw(st.integers(2, 14)), **wanted)


def random_network(
    seed: int,
    *,
    buses: int = 10,
    slots: int = 1,
    islands: bool = False,
    meshed: bool = True,
    enforce: bool | None = None,
) -> Json:
    """A network with a bit of everything, loaded lightly enough to have a solution.

    ``slots`` > 1 gives it profiles; ``islands`` buses without a slack, and some with a second one.
    """
    any_of = random.Random(seed)
    base = any_of.choice([0.4, 10.0, 100.0])
    names = [f"Bus {i}" for i in range(buses)]
    profiles = _profiles(any_of, slots, base) if slots > 1 else []
    idle_deg = {names[0]: 0.0}  # the angles of the tree when nothing flows
    branches: list[Json] = []
    for name in names[1:]:
        other = any_of.choice(list(idle_deg))
        shift = any_of.choice([0, 0, 30, 150, -330])
        branches.append(_branch(any_of, name, other, name, base, shift))
        idle_deg[name] = idle_deg[other] - shift
    for i in range(any_of.randrange(buses) if meshed and buses > 2 else 0):
        ends = any_of.sample(names, 2)
        # What the tree shifts, a branch beside it must too, or a large current runs in the loop.
        shift = math.remainder(idle_deg[ends[0]] - idle_deg[ends[1]], 360)
        loop = _branch(any_of, f"loop {i}", *ends, base, shift + any_of.choice([0, 1.5]))
        branches.append(loop | {"in_service": any_of.random() < 0.9})
    if islands:
        for branch in any_of.sample(branches, any_of.randint(1, 2 if buses > 2 else 1)):
            branch["in_service"] = False
    network: Json = {
        "base_power_mva": base,
        "buses": [
            {
                "name": name,
                "nominal_voltage_kv": 20.0,
                "min_voltage_pu": any_of.choice([0.9, 0.995]),
                "max_voltage_pu": any_of.choice([1.005, 1.1]),
            }
            for name in names
        ],
        "branches": branches,
        "generators": _generators(any_of, idle_deg, base, profiles, islands=islands),
        "loads": [
            _load(any_of, i, any_of.choice(names), base / buses, profiles)
            for i in range(any_of.randint(1, 2 * buses))
        ],
        "shunts": [
            {
                "name": f"Shunt {i}",
                "bus": any_of.choice(names),
                "conductance_mw": any_of.uniform(0, 0.02) * base,
                "susceptance_mvar": any_of.uniform(-0.05, 0.05) * base,
                "in_service": any_of.random() < 0.8,
            }
            for i in range(any_of.randrange(3))
        ],
    }
    options: Json = {
        "tolerance_pu": 1e-11,
        "start": any_of.choice(["AUTO", "FLAT", "DC", "GIVEN"]),
        "enforce_reactive_limits": any_of.random() < 0.5 if enforce is None else enforce,
        "report": "ALL",
    }
    if islands:
        options["islands"] = "DE_ENERGISE"
    return {"network": network, "slots": slots, "profiles": profiles, "options": options}


def _branch(
    any_of: random.Random, name: str, from_bus: str, to_bus: str, base: float, shift_deg: float
) -> Json:
    branch: Json = {
        "name": f"To {name}",
        "kind": "TRANSFORMER" if shift_deg else any_of.choice(["LINE", "TRANSFORMER"]),
        "from_bus": from_bus,
        "to_bus": to_bus,
        "resistance_pu": any_of.uniform(0, 0.03),
        "reactance_pu": any_of.uniform(0.01, 0.08),
    }
    if branch["kind"] == "TRANSFORMER":
        branch |= {
            "tap_ratio": any_of.uniform(0.97, 1.03),
            "phase_shift_deg": shift_deg,
            "from_conductance_pu": any_of.uniform(0, 0.001),
            "from_susceptance_pu": any_of.uniform(-0.005, 0),
        }
    else:
        branch |= {
            "charging_susceptance_pu": any_of.uniform(0, 0.05),
            "charging_conductance_pu": any_of.choice([0.0, 0.0005]),
        }
    if any_of.random() < 0.5:
        branch["max_apparent_power_mva"] = any_of.uniform(0.1, 0.8) * base
    if any_of.random() < 0.5:
        branch["max_current_ka"] = any_of.uniform(0.1, 0.8) * base / (math.sqrt(3) * 20.0)
    return branch


def _generators(
    any_of: random.Random,
    idle_deg: Mapping[str, float],
    base: float,
    profiles: list[Json],
    *,
    islands: bool,
) -> list[Json]:
    names = list(idle_deg)
    slacks = [names[0]] + ([any_of.choice(names)] if islands else [])
    generators: list[Json] = []
    setpoints = {name: any_of.uniform(0.99, 1.03) for name in names}
    for bus in dict.fromkeys(slacks):
        generators += [
            {
                "name": f"Grid {bus}.{i}",
                "bus": bus,
                "role": "SLACK",
                "active_power_mw": any_of.uniform(0, 0.2) * base,
                "voltage_setpoint_pu": setpoints[bus],
                "voltage_angle_deg": math.remainder(idle_deg[bus] + 10, 360),
                **_reactive_limits(any_of, base),
            }
            for i in range(any_of.choice([1, 1, 2]))
        ]
    for i in range(any_of.randrange(len(names))):
        bus = any_of.choice(names)
        generator: Json = {
            "name": f"Plant {i}",
            "bus": bus,
            "role": any_of.choice(["PV", "PV", "PQ"]),
            "active_power_mw": any_of.uniform(-0.1, 0.4) * base / len(names),
            "reactive_power_mvar": any_of.uniform(-0.1, 0.1) * base / len(names),
            "in_service": any_of.random() < 0.9,
            "voltage_setpoint_pu": setpoints[bus],
            **_reactive_limits(any_of, base),
        }
        generators.append(generator | _with_profile(any_of, profiles))
    return generators


def _reactive_limits(any_of: random.Random, base: float) -> Json:
    limits: Json = {}
    if any_of.random() < 0.8:
        limits["min_reactive_power_mvar"] = any_of.uniform(-0.1, 0.0) * base
    if any_of.random() < 0.8:
        limits["max_reactive_power_mvar"] = any_of.uniform(0.0, 0.1) * base
    return limits


def _load(any_of: random.Random, number: int, bus: str, scale: float, profiles: list[Json]) -> Json:
    load: Json = {
        "name": f"Load {number}",
        "bus": bus,
        "active_power_mw": any_of.uniform(-0.1, 0.4) * scale,
        "reactive_power_mvar": any_of.uniform(-0.1, 0.2) * scale,
        "in_service": any_of.random() < 0.9,
    }
    return load | _with_profile(any_of, profiles)


def _profiles(any_of: random.Random, slots: int, base: float) -> list[Json]:
    def values(lowest: float, highest: float) -> list[float]:
        return [any_of.uniform(lowest, highest) for _ in range(slots)]

    return [
        {"name": "Factor", "unit": "FACTOR", "values": values(0.2, 1.5)},
        {"name": "Sun", "unit": "FACTOR", "values": values(0, 1)},
        {"name": "Power", "unit": "MW", "values": values(0, 0.03 * base)},
        {"name": "Reactive", "unit": "MVAR", "values": values(-0.01 * base, 0.01 * base)},
    ]


def _with_profile(any_of: random.Random, profiles: list[Json]) -> Json:
    chosen: Json = {}
    if profiles and any_of.random() < 0.7:
        chosen["profile"] = any_of.choice(["Factor", "Sun", "Power"])
    if profiles and any_of.random() < 0.3:
        chosen["reactive_profile"] = any_of.choice(["Factor", "Reactive"])
    return chosen


# ------------------------------------------------------------------------------ the check


def check(given: Json, result: PowerFlowResult, *, nominal_kv: float = 20.0) -> None:
    """Every state obeys Kirchhoff and Ohm, holds what it is to hold, and is reported as it is."""
    assert [state.slot for state in result.states] == list(range(given["slots"]))
    live = {bus for island in result.islands if island.energised for bus in island.buses}
    for state in result.states:
        _Slot(given, result, state, live, nominal_kv).check()
    _check_report(given, result, live)


class _Slot:
    """One state beside the input that it answers; powers in p.u."""

    def __init__(
        self,
        given: Json,
        result: PowerFlowResult,
        state: NetworkState,
        live: set[str],
        nominal_kv: float,
    ) -> None:
        self.nominal_kv = nominal_kv
        self.given, self.result, self.state, self.live = given, result, state, live
        self.network: Json = given["network"]
        self.base: float = self.network["base_power_mva"]
        self.voltage = {
            name: cmath.rect(size, math.radians(angle))
            for name, size, angle in zip(
                result.bus_names, state.voltage_pu, state.angle_deg, strict=True
            )
        }
        self.generated = {
            name: complex(active, reactive) / self.base
            for name, active, reactive in zip(
                result.generator_names,
                state.generator_active_power_mw,
                state.generator_reactive_power_mvar,
                strict=True,
            )
        }
        self.balance = dict.fromkeys(self.voltage, 0j)

    def check(self) -> None:
        for name, voltage in self.voltage.items():
            assert (abs(voltage) > 0) == (name in self.live)
        self.check_branches()
        self.check_balance()
        self.check_generators()

    def check_branches(self) -> None:
        state, losses, loaded = self.state, 0.0, 0.0
        for i, branch in enumerate(self.network["branches"]):
            reported = (
                complex(state.from_active_power_mw[i], state.from_reactive_power_mvar[i]),
                complex(state.to_active_power_mw[i], state.to_reactive_power_mvar[i]),
            )
            powers, currents = self.flow(branch)
            for power, found in zip(powers, reported, strict=True):
                assert found / self.base == pytest.approx(power, abs=1e-9)
            loading = 0.0
            if "max_apparent_power_mva" in branch:
                most = branch["max_apparent_power_mva"] / self.base
                loading = max(map(abs, powers)) / most
            if "max_current_ka" in branch:
                most = branch["max_current_ka"] * math.sqrt(3) * self.nominal_kv / self.base
                loading = max(loading, *(abs(current) / most for current in currents))
            assert state.loading_percent[i] == pytest.approx(100 * loading, abs=1e-6)
            self.balance[branch["from_bus"]] -= powers[0]
            self.balance[branch["to_bus"]] -= powers[1]
            losses += sum(powers).real
            loaded = max(loaded, 100 * loading)
        by_slot = self.result.by_slot
        assert by_slot.losses_mw[state.slot] / self.base == pytest.approx(losses, abs=1e-8)
        assert by_slot.highest_loading_percent[state.slot] == pytest.approx(loaded, abs=1e-6)

    def flow(self, branch: Json) -> tuple[tuple[complex, complex], tuple[complex, complex]]:
        """Powers and currents into both ends, element by element of the pi model."""
        if not branch.get("in_service", True):
            return (0j, 0j), (0j, 0j)
        turn = math.radians(branch.get("phase_shift_deg", 0.0))
        tap = cmath.rect(branch.get("tap_ratio", 1.0), turn)
        at_from, at_to = self.voltage[branch["from_bus"]], self.voltage[branch["to_bus"]]
        behind = at_from / tap
        series = (behind - at_to) / complex(branch["resistance_pu"], branch["reactance_pu"])
        charging = complex(
            branch.get("charging_conductance_pu", 0.0), branch.get("charging_susceptance_pu", 0.0)
        )
        magnetising = complex(
            branch.get("from_conductance_pu", 0.0), branch.get("from_susceptance_pu", 0.0)
        )
        into_behind = series + behind * (charging / 2 + magnetising)
        into_from = into_behind / tap.conjugate()  # an ideal transformer keeps the power
        into_to = at_to * charging / 2 - series
        powers = (at_from * into_from.conjugate(), at_to * into_to.conjugate())
        return powers, (into_from, into_to)

    def check_balance(self) -> None:
        for shunt in self.network["shunts"]:
            if shunt["in_service"]:
                square = abs(self.voltage[shunt["bus"]]) ** 2 / self.base
                taken = complex(shunt["conductance_mw"], -shunt["susceptance_mvar"]) * square
                self.balance[shunt["bus"]] -= taken
        for load in self.network["loads"]:
            if load["in_service"] and load["bus"] in self.live:
                self.balance[load["bus"]] -= self.wanted(load)
        for generator in self.network["generators"]:
            self.balance[generator["bus"]] += self.generated[generator["name"]]
        for name, left in self.balance.items():
            assert left == pytest.approx(0, abs=1e-9), name

    def wanted(self, item: Json) -> complex:
        """What a load or generator is given in this slot."""
        slot = self.state.slot
        profiles = {profile["name"]: profile for profile in self.given["profiles"]}
        active, reactive = item["active_power_mw"], item.get("reactive_power_mvar", 0.0)
        factor = 1.0
        if "profile" in item:
            profile = profiles[item["profile"]]
            value = profile["values"][slot]
            factor = value if profile["unit"] == "FACTOR" else 1.0
            active = active * value if profile["unit"] == "FACTOR" else value
        if "reactive_profile" in item:
            profile = profiles[item["reactive_profile"]]
            value = profile["values"][slot]
            reactive = reactive * value if profile["unit"] == "FACTOR" else value
        else:
            reactive *= factor
        return complex(active, reactive) / self.base

    def check_generators(self) -> None:
        at_buses: dict[str, list[Json]] = {}
        for generator in self.network["generators"]:
            found = self.generated[generator["name"]]
            if not generator.get("in_service", True) or generator["bus"] not in self.live:
                assert found == 0
                continue
            at_buses.setdefault(generator["bus"], []).append(generator)
            if generator["role"] == "PQ":
                assert found == pytest.approx(self.wanted(generator), abs=1e-9)
            if generator["role"] == "PV":
                assert found.real == pytest.approx(self.wanted(generator).real, abs=1e-9)
        for bus, generators in at_buses.items():
            slacks = [each for each in generators if each["role"] == "SLACK"]
            of_pv = [each for each in generators if each["role"] == "PV"]
            if slacks:
                self.check_slacks(bus, slacks)
            elif of_pv:
                self.check_held_voltage(bus, of_pv)
            if slacks or of_pv:
                self.check_shares(slacks + of_pv)

    def check_slacks(self, bus: str, slacks: list[Json]) -> None:
        angle = math.radians(slacks[0]["voltage_angle_deg"])
        wanted = cmath.rect(slacks[0]["voltage_setpoint_pu"], angle)
        assert self.voltage[bus] == pytest.approx(wanted, abs=1e-12)
        beyond_plan = [
            self.generated[each["name"]].real - each["active_power_mw"] / self.base
            for each in slacks
        ]
        assert beyond_plan == pytest.approx([beyond_plan[0]] * len(slacks), abs=1e-9)

    def check_held_voltage(self, bus: str, of_pv: list[Json]) -> None:
        above = abs(self.voltage[bus]) - of_pv[0]["voltage_setpoint_pu"]
        supplied = sum(self.generated[each["name"]].imag for each in of_pv)
        lowest, highest = (
            sum(each.get(member, none) for each in of_pv) / self.base
            for member, none in (
                ("min_reactive_power_mvar", -math.inf),
                ("max_reactive_power_mvar", math.inf),
            )
        )
        if not self.given["options"]["enforce_reactive_limits"]:
            assert abs(above) <= 1e-12
            return
        assert lowest - 2 * TOLERANCE <= supplied <= highest + 2 * TOLERANCE
        if supplied < highest - 2 * TOLERANCE:  # could supply more, and need not
            assert above >= -2 * TOLERANCE
        if supplied > lowest + 2 * TOLERANCE:
            assert above <= 2 * TOLERANCE

    def check_shares(self, sharing: list[Json]) -> None:
        """Those with a range stand at one part of it, if all have one; if none has, they match."""
        supplied = [self.generated[each["name"]].imag for each in sharing]
        limits = [
            (each.get("min_reactive_power_mvar"), each.get("max_reactive_power_mvar"))
            for each in sharing
        ]
        ranges = [
            (low / self.base, (high - low) / self.base)
            for low, high in limits
            if low is not None and high is not None
        ]
        if len(ranges) == len(sharing):
            parts = [
                (found - low) / size
                for found, (low, size) in zip(supplied, ranges, strict=True)
                if size > 1e-6
            ]
            assert parts == pytest.approx([parts[0]] * len(parts), abs=1e-4) if parts else True
        elif not ranges:
            assert supplied == pytest.approx([supplied[0]] * len(supplied), abs=1e-9)


def _check_report(given: Json, result: PowerFlowResult, live: set[str]) -> None:
    """Extremes and violations say of the states what a plain look at them says."""
    network: Json = given["network"]
    slots = range(given["slots"])
    below: Json = {}
    above: Json = {}
    for i, bus in enumerate(network["buses"]):
        if bus["name"] not in live:
            continue
        voltages = [state.voltage_pu[i] for state in result.states]
        assert result.extremes.lowest_voltage_pu[i] == min(voltages)
        assert result.extremes.highest_voltage_pu[i] == max(voltages)
        assert result.extremes.lowest_voltage_slot[i] == voltages.index(min(voltages))
        low, high = bus["min_voltage_pu"] - TOLERANCE, bus["max_voltage_pu"] + TOLERANCE
        below[bus["name"]] = [slot for slot in slots if voltages[slot] < low], min(voltages)
        above[bus["name"]] = [slot for slot in slots if voltages[slot] > high], max(voltages)
    told = {(found.bus, found.limit): found for found in result.voltage_violations}
    assert len(told) == len(result.voltage_violations)
    wanted: Mapping[tuple[str, str], Any] = {
        (bus, limit): found
        for limit, side in (("MIN", below), ("MAX", above))
        for bus, found in side.items()
        if found[0]
    }
    assert set(told) == set(wanted)
    for key, (violated, worst) in wanted.items():
        assert told[key].slot_count == len(violated)
        assert told[key].first_slot == violated[0]
        assert told[key].worst_voltage_pu == worst
    overloads = {found.branch: found for found in result.overloads}
    for i, branch in enumerate(network["branches"]):
        loadings = [state.loading_percent[i] for state in result.states]
        beyond = [slot for slot in slots if loadings[slot] > 100.0001]
        assert (branch["name"] in overloads) == bool(beyond)
        if beyond:
            assert overloads[branch["name"]].slot_count == len(beyond)
            assert overloads[branch["name"]].worst_loading_percent == max(loadings)
        assert result.extremes.highest_loading_percent[i] == max(loadings)
    for slot in slots:
        outside = sum(slot in violated for side in (below, above) for violated, _ in side.values())
        outside += sum(loading > 100.0001 for loading in result.states[slot].loading_percent)
        assert result.by_slot.violations[slot] == outside
