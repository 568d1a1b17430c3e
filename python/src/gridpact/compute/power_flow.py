"""The kind `power-flow`: its input message in, its result message out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec import UNSET, UnsetType

from gridpact.compute.model.network import (
    Branches,
    Buses,
    Complex,
    Generators,
    Indices,
    Islands,
    Loads,
    Mask,
    Network,
    Powers,
    Real,
    Role,
    islands,
)
from gridpact.compute.model.power_flow import (
    LIMIT_TOLERANCE_PU,
    Options,
    Outcome,
    PowerFlow,
    Start,
    State,
)
from gridpact.compute.model.progress import Progress
from gridpact.compute.model.worst import Worst
from gridpact.contracts import messages
from gridpact.contracts.errors import Reason
from gridpact.contracts.messages import (
    BranchOverload,
    NetworkExtremes,
    NetworkGenerator,
    NetworkIsland,
    NetworkLoad,
    NetworkProfile,
    NetworkSlots,
    NetworkState,
    PlanCheckInput,
    PowerFlowDivergence,
    PowerFlowInput,
    PowerFlowOptions,
    PowerFlowResult,
    ReactiveLimit,
    VoltageViolation,
)
from gridpact.kit.errors import GridpactError
from gridpact.kit.series import Float64Series
from gridpact.kit.shapes import number
from gridpact.kit.violation import Violation
from gridpact.kit.wire import build

OVERLOAD_PERCENT = 100.0001
"""A branch that is loaded with no more keeps its limit."""

SETPOINT_TOLERANCE = 1e-9
"""Set-points at one bus that differ by no more are one (p.u. and degrees)."""

MOST_VALUES = 1_000_000
"""So many numbers of states one result may hold."""

LARGEST = 1e300
"""A mismatch is stated as at most this."""

NAMES_SHOWN = 20

Limit = Literal["MIN", "MAX"]


def power_flow(wanted: PowerFlowInput, progress: Progress) -> PowerFlowResult:
    """Voltages and flows of a network in each slot.

    Raises GridpactError: INVALID_ARGUMENT for a network that cannot be computed, by its fields;
    POWER_FLOW_DIVERGED where no slot converges.
    """
    progress(0.0, "build")
    options = PowerFlowOptions() if wanted.options is UNSET else wanted.options
    refuse_large_report(wanted.network, wanted.slots, options)
    network = network_of(wanted.network, wanted.profiles)
    parts = islands(network)
    if refused := list(refusals(wanted, options, network, parts)):
        raise GridpactError.invalid(refused)
    flow = PowerFlow(network.without(parts.dead_buses), parts.dead_buses, options_of(options))
    values = profile_values_of(wanted.profiles, wanted.slots)
    every_state = options.report == "ALL"
    report = Report(flow.network, ~parts.dead_buses, wanted.slots, every_state=every_state)
    for _ in solved_slots(flow, values, report, progress):
        pass
    progress(0.95, "report")
    return result_of(wanted, network, parts, report)


def solved_slots(
    flow: PowerFlow, values: Real, report: Report, progress: Progress
) -> Iterator[tuple[int, Outcome]]:
    """Each slot that converges; the report takes all. Raises GridpactError where none does."""
    before, slots = None, len(values)
    for slot in range(slots):
        progress(0.95 * slot / slots, "solve")
        found = flow.solve(values[slot], before)
        report.iterations[slot] = found.iterations
        if found.converged:
            before = found
            report.see(slot, flow.state(found, values[slot]))
            yield slot, found
        else:
            factor = None if report.divergences else flow.convergent_factor(values[slot])
            report.divergences.append(Divergence(slot, found, factor))
    if len(report.divergences) == slots:
        raise _diverged(flow.network, slots, report.divergences[0])


def power_flow_rehearsals() -> Sequence[PowerFlowInput]:
    """One input that needs whatever any network needs."""
    buses = [{"name": name, "nominal_voltage_kv": 20} for name in "ABC"]
    line = {"kind": "LINE", "resistance_pu": 0.01, "reactance_pu": 0.02}
    branches = [
        {"name": f"{ends}", "from_bus": ends[0], "to_bus": ends[1], **line} for ends in ("AB", "BC")
    ]
    network = {
        "base_power_mva": 10,
        "buses": buses,
        "branches": branches,
        "generators": [
            {"name": "Grid", "bus": "A", "role": "SLACK"},
            {"name": "Plant", "bus": "C", "role": "PV", "max_reactive_power_mvar": 0.1},
        ],
        "loads": [{"name": "Load", "bus": "B", "active_power_mw": 5, "reactive_power_mvar": 2}],
    }
    options = {"start": "DC", "enforce_reactive_limits": True}
    return [build(PowerFlowInput, {"network": network, "slots": 2, "options": options})]


# ------------------------------------------------------------------------------ input to arrays


def network_of(given: messages.Network, profiles: Sequence[NetworkProfile]) -> Network:
    """The arrays of a network; profile k of the input is profile k + 1 of its powers."""
    base = given.base_power_mva
    number_of = {bus.name: i for i, bus in enumerate(given.buses)}
    nominal_kv = np.array([bus.nominal_voltage_kv for bus in given.buses])
    from_bus = _indices(number_of[branch.from_bus] for branch in given.branches)
    powers = _Powers(base, profiles)
    return Network(
        base_power_mva=base,
        buses=Buses(
            names=[bus.name for bus in given.buses],
            min_voltage_pu=np.array([bus.min_voltage_pu for bus in given.buses]),
            max_voltage_pu=np.array([bus.max_voltage_pu for bus in given.buses]),
            initial_voltage_pu=_or(math.nan, (bus.initial_voltage_pu for bus in given.buses)),
            initial_angle_rad=np.deg2rad(
                _or(math.nan, (bus.initial_angle_deg for bus in given.buses))
            ),
        ),
        branches=_branches_of(given, from_bus, number_of, math.sqrt(3) * nominal_kv[from_bus]),
        generators=_generators_of(given, number_of, powers),
        loads=Loads(
            in_service=_mask(load.in_service for load in given.loads),
            bus=_indices(number_of[load.bus] for load in given.loads),
            active_power_pu=powers.active(given.loads),
            reactive_power_pu=powers.reactive(given.loads),
        ),
        shunt_pu=_shunts_of(given, number_of),
    )


def profile_values_of(profiles: Sequence[NetworkProfile], slots: int) -> Real:
    """The values of all profiles, one row a slot; profile 0 is 1."""
    rows = [np.ones(slots), *(np.asarray(profile.values) for profile in profiles)]
    return np.ascontiguousarray(np.array(rows).T)


def _branches_of(
    given: messages.Network, from_bus: Indices, number_of: Mapping[str, int], kv_sqrt3: Real
) -> Branches:
    branches, base = given.branches, given.base_power_mva
    charging = _complex(
        (branch.charging_conductance_pu, branch.charging_susceptance_pu) for branch in branches
    )
    magnetising = _complex(
        (branch.from_conductance_pu, branch.from_susceptance_pu) for branch in branches
    )
    return Branches(
        names=[branch.name for branch in branches],
        in_service=_mask(branch.in_service for branch in branches),
        from_bus=from_bus,
        to_bus=_indices(number_of[branch.to_bus] for branch in branches),
        impedance_pu=_complex((branch.resistance_pu, branch.reactance_pu) for branch in branches),
        from_shunt_pu=magnetising + 0.5 * charging,
        to_shunt_pu=0.5 * charging,
        tap_ratio=np.array([branch.tap_ratio for branch in branches]),
        phase_shift_rad=np.deg2rad([branch.phase_shift_deg for branch in branches]),
        max_apparent_power_pu=_or(math.inf, (branch.max_apparent_power_mva for branch in branches))
        / base,
        max_current_pu=_or(math.inf, (branch.max_current_ka for branch in branches))
        * kv_sqrt3
        / base,
    )


def _generators_of(
    given: messages.Network, number_of: Mapping[str, int], powers: _Powers
) -> Generators:
    generators, base = given.generators, given.base_power_mva
    lowest = _or(-math.inf, (generator.min_reactive_power_mvar for generator in generators))
    highest = _or(math.inf, (generator.max_reactive_power_mvar for generator in generators))
    return Generators(
        names=[generator.name for generator in generators],
        in_service=_mask(generator.in_service for generator in generators),
        bus=_indices(number_of[generator.bus] for generator in generators),
        role=np.array([Role[generator.role] for generator in generators], dtype=np.int8),
        active_power_pu=powers.active(generators),
        reactive_power_pu=powers.reactive(generators),
        voltage_setpoint_pu=np.array([each.voltage_setpoint_pu for each in generators]),
        voltage_angle_rad=np.deg2rad([each.voltage_angle_deg for each in generators]),
        min_reactive_power_pu=lowest / base,
        max_reactive_power_pu=highest / base,
    )


def _shunts_of(given: messages.Network, number_of: Mapping[str, int]) -> Complex:
    admittance = np.zeros(len(number_of), dtype=np.complex128)
    for shunt in given.shunts:
        if shunt.in_service:
            at_nominal = complex(shunt.conductance_mw, shunt.susceptance_mvar)
            admittance[number_of[shunt.bus]] += at_nominal / given.base_power_mva
    return admittance


class _Powers:
    """Makes the powers of loads and generators from what they and their profiles say."""

    def __init__(self, base_power_mva: float, profiles: Sequence[NetworkProfile]) -> None:
        self._base = base_power_mva
        self._profiles = {profile.name: (i, profile) for i, profile in enumerate(profiles, 1)}

    def active(self, items: Sequence[NetworkLoad | NetworkGenerator]) -> Powers:
        return self._made((item.active_power_mw, item.profile) for item in items)

    def reactive(self, items: Sequence[NetworkLoad | NetworkGenerator]) -> Powers:
        return self._made(
            (
                item.reactive_power_mvar,
                item.reactive_profile
                if item.reactive_profile is not UNSET
                else self._factor(item.profile),
            )
            for item in items
        )

    def _factor(self, profile: str | UnsetType) -> str | UnsetType:
        """The profile, if it is one of factors: it scales the reactive power as well."""
        is_factor = profile is not UNSET and self._profiles[profile][1].unit == "FACTOR"
        return profile if is_factor else UNSET

    def _made(self, items: Iterable[tuple[float, str | UnsetType]]) -> Powers:
        coefficients: list[float] = []
        places: list[int] = []
        for power, name in items:
            place, profile = (0, None) if name is UNSET else self._profiles[name]
            replaces = profile is not None and profile.unit != "FACTOR"
            coefficients.append((1.0 if replaces else power) / self._base)
            places.append(place)
        return Powers(np.array(coefficients), _indices(places))


def options_of(options: PowerFlowOptions) -> Options:
    return Options(
        tolerance_pu=options.tolerance_pu,
        max_iterations=options.max_iterations,
        start=Start(options.start),
        enforce_reactive_limits=options.enforce_reactive_limits,
    )


def _or(default: float, values: Iterable[float | UnsetType]) -> Real:
    return np.array([default if value is UNSET else value for value in values])


def _complex(parts: Iterable[tuple[float, float]]) -> Complex:
    return np.array([complex(*pair) for pair in parts], dtype=np.complex128)


def _indices(values: Iterable[int]) -> Indices:
    return np.fromiter(values, dtype=np.intp)


def _mask(values: Iterable[bool]) -> Mask:
    return np.fromiter(values, dtype=np.bool_)


# ------------------------------------------------------------------------------ what is refused


def refusals(
    wanted: PowerFlowInput | PlanCheckInput,
    options: PowerFlowOptions,
    network: Network,
    parts: Islands,
) -> Iterator[Violation]:
    """What no schema can say: docs/compute/power-flow.md, "Refused"."""
    if not parts.energised.any():
        words = "must have one with role SLACK in service"
        yield Violation("network.generators", "contains", words)
    if options.islands == "REFUSE":
        yield from _unconnected(network, parts)
    yield from _contradicting_setpoints(wanted.network, network, ~parts.dead_buses)
    yield from _wrong_units(wanted)


def refuse_large_report(network: messages.Network, slots: int, options: PowerFlowOptions) -> None:
    """Raises GridpactError where the states of all slots would be too many numbers."""
    values = slots * (
        2 * len(network.buses) + 5 * len(network.branches) + 2 * len(network.generators)
    )
    if options.report == "ALL" and slots > 1 and values > MOST_VALUES:
        words = f"must be EXTREMES: ALL would be {values} numbers, at most {MOST_VALUES} are sent"
        raise GridpactError.invalid([Violation("options.report", "most-values", words)])


def _wrong_units(wanted: PowerFlowInput | PlanCheckInput) -> Iterator[Violation]:
    units = {profile.name: profile.unit for profile in wanted.profiles}
    groups = {"generators": wanted.network.generators, "loads": wanted.network.loads}
    for group, items in groups.items():
        for i, item in enumerate(items):
            for member, name, wrong, right in (
                ("profile", item.profile, "MVAR", "MW"),
                ("reactive_profile", item.reactive_profile, "MW", "MVAR"),
            ):
                if name is not UNSET and units[name] == wrong:
                    words = f"must name a profile in FACTOR or {right}; {name!r} is in {wrong}"
                    yield Violation(f"network.{group}[{i}].{member}", "unit", words)


def _contradicting_setpoints(
    given: messages.Network, network: Network, live: Mask
) -> Iterator[Violation]:
    roles = np.where(live, network.bus_roles(), -1)
    first_at: dict[int, int] = {}
    for i, generator in enumerate(given.generators):
        bus, role = int(network.generators.bus[i]), Role[generator.role]
        if not generator.in_service or role == Role.PQ or role != roles[bus]:
            continue
        first = first_at.setdefault(bus, i)
        other = given.generators[first]
        members = ["voltage_setpoint_pu"] + ["voltage_angle_deg"] * (role == Role.SLACK)
        for member in members:
            its, theirs = getattr(generator, member), getattr(other, member)
            if abs(its - theirs) > SETPOINT_TOLERANCE:
                words = (
                    f"must be {number(theirs)}, as of {other.name!r} at the same bus "
                    f"{generator.bus!r}; it is {number(its)}"
                )
                yield Violation(f"network.generators[{i}].{member}", "same-setpoint", words)


def _unconnected(network: Network, parts: Islands) -> Iterator[Violation]:
    for island in np.flatnonzero(~parts.energised):
        buses: list[int] = np.flatnonzero(parts.of_bus == island).tolist()
        words = (
            f"no slack in service reaches {_listed([network.buses.names[i] for i in buses])}; "
            "connect what is apart, give it a slack, or set options.islands to DE_ENERGISE"
        )
        yield Violation(f"network.buses[{buses[0]}]", "connected-to-slack", words)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


# ------------------------------------------------------------------------------ slots to result


@dataclass(frozen=True, slots=True)
class Divergence:
    """A slot that did not converge; the factor with which it would, for the first one only."""

    slot: int
    found: Outcome
    convergent_factor: float | None

    @property
    def worst_bus(self) -> int:
        return self.found.point.worst_bus

    @property
    def mismatch_pu(self) -> complex:
        """At the worst bus, limited to what a message may carry."""
        mismatch = self.found.point.mismatch_pu[self.worst_bus]
        real, imag = (
            float(np.clip(np.nan_to_num(part, nan=LARGEST), -LARGEST, LARGEST))
            for part in (mismatch.real, mismatch.imag)
        )
        return complex(real, imag)


class Report:
    """What is told of all slots, gathered slot by slot."""

    def __init__(self, network: Network, live: Mask, slots: int, *, every_state: bool) -> None:
        buses, branches, generators = network.buses, network.branches, network.generators
        self._network, self._live = network, live
        self._every_state = every_state or slots == 1
        self._slack = generators.having(Role.SLACK)
        self._holding = generators.having(Role.SLACK, Role.PV)
        self.iterations = np.zeros(slots)
        self.losses_mw = np.zeros(slots)
        self.slack_power_mva = np.zeros(slots, dtype=np.complex128)
        self.lowest_voltage_pu = np.zeros(slots)
        self.highest_voltage_pu = np.zeros(slots)
        self.highest_loading_percent = np.zeros(slots)
        self.violations = np.zeros(slots)
        self.lowest, self.highest = Worst(len(buses), -1), Worst(len(buses), 1)
        self.loading = Worst(len(branches), 1)
        self.below, self.above = Worst(len(buses), -1), Worst(len(buses), 1)
        self.overload = Worst(len(branches), 1)
        self.at_least, self.at_most = Worst(len(generators), -1), Worst(len(generators), 1)
        self.divergences: list[Divergence] = []
        self._states: dict[int, State] = {}
        self._told: list[tuple[float, int] | None] = [None, None, None]

    def see(self, slot: int, state: State) -> None:
        """Takes a slot that converged."""
        base, buses = self._network.base_power_mva, self._network.buses
        voltage, loading = state.voltage_pu, state.loading_percent
        self.lowest.see(slot, voltage, self._live)
        self.highest.see(slot, voltage, self._live)
        self.loading.see(slot, loading, self._network.branches.in_service)
        below = self._live & (voltage < buses.min_voltage_pu - LIMIT_TOLERANCE_PU)
        above = self._live & (voltage > buses.max_voltage_pu + LIMIT_TOLERANCE_PU)
        overloaded = loading > OVERLOAD_PERCENT
        self.below.see(slot, voltage, below)
        self.above.see(slot, voltage, above)
        self.overload.see(slot, loading, overloaded)
        self._see_reactive_power(slot, state)
        self.losses_mw[slot] = state.losses_pu * base
        self.slack_power_mva[slot] = np.sum(state.generator_power_pu[self._slack]) * base
        self.lowest_voltage_pu[slot] = np.min(voltage[self._live])
        self.highest_voltage_pu[slot] = np.max(voltage[self._live])
        self.highest_loading_percent[slot] = np.max(loading)
        self.violations[slot] = np.count_nonzero(below | above) + np.count_nonzero(overloaded)
        self._keep(slot, state)

    def states(self) -> list[tuple[int, State]]:
        """The states to be told, by slot."""
        if self._every_state:
            return sorted(self._states.items())
        return [
            (slot, self._states[slot]) for slot in sorted({told[1] for told in self._told if told})
        ]

    def _see_reactive_power(self, slot: int, state: State) -> None:
        generators = self._network.generators
        reactive = state.generator_power_pu.imag
        standing = state.at_limit[generators.bus]
        of_pv = generators.having(Role.PV)
        lowest, highest = generators.min_reactive_power_pu, generators.max_reactive_power_pu
        too_low = self._holding & (reactive < lowest - LIMIT_TOLERANCE_PU)
        too_high = self._holding & (reactive > highest + LIMIT_TOLERANCE_PU)
        self.at_least.see(slot, reactive, too_low | (of_pv & (standing < 0)))
        self.at_most.see(slot, reactive, too_high | (of_pv & (standing > 0)))

    def _keep(self, slot: int, state: State) -> None:
        """Keeps the state if it is to be told: every one, or that of the worst slots."""
        if self._every_state:
            self._states[slot] = state
            return
        candidates = (
            -self.lowest_voltage_pu[slot],
            self.highest_voltage_pu[slot],
            self.highest_loading_percent[slot],
        )
        for i, badness in enumerate(candidates):
            told = self._told[i]
            if told is None or badness > told[0]:
                self._told[i] = (float(badness), slot)
                self._states[slot] = state
        kept = {told[1] for told in self._told if told}
        self._states = {slot: self._states[slot] for slot in kept}


def result_of(
    wanted: PowerFlowInput | PlanCheckInput, network: Network, parts: Islands, report: Report
) -> PowerFlowResult:
    return PowerFlowResult(
        slots=wanted.slots,
        start_time=wanted.start_time,
        slot_duration_s=wanted.slot_duration_s,
        bus_names=list(network.buses.names),
        branch_names=list(network.branches.names),
        generator_names=list(network.generators.names),
        islands=list(_islands_of(network, parts)),
        by_slot=NetworkSlots(
            iterations=Float64Series(report.iterations),
            losses_mw=Float64Series(report.losses_mw),
            slack_power_mw=Float64Series(report.slack_power_mva.real),
            slack_reactive_power_mvar=Float64Series(report.slack_power_mva.imag),
            lowest_voltage_pu=Float64Series(report.lowest_voltage_pu),
            highest_voltage_pu=Float64Series(report.highest_voltage_pu),
            highest_loading_percent=Float64Series(report.highest_loading_percent),
            violations=Float64Series(report.violations),
        ),
        extremes=NetworkExtremes(
            lowest_voltage_pu=Float64Series(report.lowest.value),
            lowest_voltage_slot=_slots_series(report.lowest.slot),
            highest_voltage_pu=Float64Series(report.highest.value),
            highest_voltage_slot=_slots_series(report.highest.slot),
            highest_loading_percent=Float64Series(report.loading.value),
            highest_loading_slot=_slots_series(report.loading.slot),
        ),
        states=[_state_of(slot, state, network.base_power_mva) for slot, state in report.states()],
        voltage_violations=list(_voltage_violations_of(network, report)),
        overloads=[
            BranchOverload(
                branch=network.branches.names[i],
                worst_loading_percent=float(report.overload.value[i]),
                worst_slot=int(report.overload.slot[i]),
                first_slot=int(report.overload.first_slot[i]),
                slot_count=int(report.overload.slots[i]),
            )
            for i in _named(report.overload)
        ],
        reactive_limits=list(_reactive_limits_of(network, report)),
        divergences=[_divergence_of(network, divergence) for divergence in report.divergences],
    )


def _islands_of(network: Network, parts: Islands) -> Iterator[NetworkIsland]:
    generators = network.generators
    slacks = np.flatnonzero(generators.having(Role.SLACK))
    slack_island = parts.of_bus[generators.bus[slacks]]
    order = np.argsort(parts.of_bus, kind="stable")
    ends = np.cumsum(np.bincount(parts.of_bus, minlength=len(parts)))
    for island, buses in enumerate(np.split(order, ends[:-1])):
        its_slacks: list[int] = slacks[slack_island == island].tolist()
        its_buses: list[int] = buses.tolist()
        yield NetworkIsland(
            energised=bool(parts.energised[island]),
            slack_generators=[generators.names[i] for i in its_slacks],
            buses=[network.buses.names[i] for i in its_buses],
        )


def _state_of(slot: int, state: State, base_power_mva: float) -> NetworkState:
    angle = np.rad2deg(state.angle_rad)
    into_from, into_to = state.from_power_pu * base_power_mva, state.to_power_pu * base_power_mva
    fed_in = state.generator_power_pu * base_power_mva
    return NetworkState(
        slot=slot,
        voltage_pu=Float64Series(state.voltage_pu),
        angle_deg=Float64Series(np.where(angle <= -180.0, angle + 360.0, angle)),
        from_active_power_mw=Float64Series(into_from.real),
        from_reactive_power_mvar=Float64Series(into_from.imag),
        to_active_power_mw=Float64Series(into_to.real),
        to_reactive_power_mvar=Float64Series(into_to.imag),
        loading_percent=Float64Series(state.loading_percent),
        generator_active_power_mw=Float64Series(fed_in.real),
        generator_reactive_power_mvar=Float64Series(fed_in.imag),
    )


def _voltage_violations_of(network: Network, report: Report) -> Iterator[VoltageViolation]:
    buses = network.buses
    limits: tuple[tuple[Limit, Real, Worst], ...] = (
        ("MIN", buses.min_voltage_pu, report.below),
        ("MAX", buses.max_voltage_pu, report.above),
    )
    for i in _named(report.below, report.above):
        for limit, limit_pu, worst in limits:
            if worst.slots[i]:
                yield VoltageViolation(
                    bus=buses.names[i],
                    limit=limit,
                    limit_pu=float(limit_pu[i]),
                    worst_voltage_pu=float(worst.value[i]),
                    worst_slot=int(worst.slot[i]),
                    first_slot=int(worst.first_slot[i]),
                    slot_count=int(worst.slots[i]),
                )


def _reactive_limits_of(network: Network, report: Report) -> Iterator[ReactiveLimit]:
    generators, base = network.generators, network.base_power_mva
    limits: tuple[tuple[Limit, Real, Worst], ...] = (
        ("MIN", generators.min_reactive_power_pu, report.at_least),
        ("MAX", generators.max_reactive_power_pu, report.at_most),
    )
    for i in _named(report.at_least, report.at_most):
        for limit, limit_pu, worst in limits:
            if worst.slots[i]:
                yield ReactiveLimit(
                    generator=generators.names[i],
                    limit=limit,
                    limit_mvar=float(limit_pu[i] * base),
                    worst_reactive_power_mvar=float(worst.value[i] * base),
                    worst_slot=int(worst.slot[i]),
                    first_slot=int(worst.first_slot[i]),
                    slot_count=int(worst.slots[i]),
                )


def _divergence_of(network: Network, divergence: Divergence) -> PowerFlowDivergence:
    mismatch, factor = divergence.mismatch_pu, divergence.convergent_factor
    return PowerFlowDivergence(
        slot=divergence.slot,
        iterations=divergence.found.iterations,
        bus=network.buses.names[divergence.worst_bus],
        largest_mismatch_pu=max(abs(mismatch.real), abs(mismatch.imag)),
        convergent_factor=UNSET if factor is None else factor,
    )


def _diverged(network: Network, slots: int, divergence: Divergence) -> GridpactError:
    """POWER_FLOW_DIVERGED: where the equations fail, and with how much less they would hold."""
    name = network.buses.names[divergence.worst_bus]
    mismatch, factor = divergence.mismatch_pu, divergence.convergent_factor
    active = abs(mismatch.real) >= abs(mismatch.imag)
    size = abs(mismatch.real) if active else abs(mismatch.imag)
    which = f" in slot {divergence.slot}" if slots > 1 else ""
    where = Violation(
        f"network.buses[{divergence.worst_bus}]",
        "converges",
        f"no solution found{which}: after {divergence.found.iterations} iterations bus {name} "
        f"lacks {size:.3g} p.u. of {'active' if active else 'reactive'} power",
    )
    if factor is None:
        words = (
            "does not converge without any load and generation either: check the impedances, tap "
            f"ratios and set-points near bus {name}"
        )
    else:
        words = (
            f"converges when every load and generator is multiplied by {number(factor)}: beyond "
            "that the network cannot carry them; reduce them, or support the voltage near bus "
            f"{name}"
        )
    how_much = Violation("network.loads", "loadability", words)
    message = f"{where.message}; it {how_much.message}"
    return GridpactError(Reason.POWER_FLOW_DIVERGED, message, violations=[where, how_much])


def _named(*worst: Worst) -> list[int]:
    """Those of which at least one slot counts, in order."""
    return np.flatnonzero(np.sum([each.slots for each in worst], axis=0)).tolist()


def _slots_series(slots: Indices) -> Float64Series:
    return Float64Series(slots.astype(np.float64))
