"""The steady state of a network, slot by slot: starts, reactive limits, flows.

Formulas and rules: docs/compute/power-flow.md.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu

from gridpact.compute.model.network import Complex, Generators, Mask, Network, Real, Role
from gridpact.compute.solve.newton import Point, PowerBalance

LIMIT_TOLERANCE_PU = 1e-6
"""A voltage or a reactive power that is beyond its limit by no more keeps it."""

MOST_RETURNS = 3
"""So often a bus at its reactive limit may hold its voltage again."""

FACTOR_STEPS = 64
"""A convergent factor is a multiple of one of so many parts."""

Place = tuple[Real, Real]
"""Voltages in p.u. and angles in rad, where an iteration begins."""


class Start(StrEnum):
    """Where the first slot begins."""

    AUTO = "AUTO"
    FLAT = "FLAT"
    DC = "DC"
    GIVEN = "GIVEN"


@dataclass(frozen=True, slots=True)
class Options:
    """How the equations are solved."""

    tolerance_pu: float = 1e-8
    max_iterations: int = 30
    start: Start = Start.AUTO
    enforce_reactive_limits: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the iterations of a slot ended.

    ``at_limit`` is 1 at a bus whose PV generators are held at their highest reactive power, −1 at
    their lowest, else 0. ``iterations`` counts those of all starts.
    """

    point: Point
    at_limit: NDArray[np.int8]
    iterations: int

    @property
    def converged(self) -> bool:
        return self.point.converged


@dataclass(frozen=True, slots=True)
class State:
    """What flows in a slot that converged, in per unit: over branches and generators."""

    voltage_pu: Real
    angle_rad: Real
    from_power_pu: Complex
    to_power_pu: Complex
    loading_percent: Real
    generator_power_pu: Complex
    at_limit: NDArray[np.int8]

    @property
    def losses_pu(self) -> float:
        return float(np.sum(self.from_power_pu.real + self.to_power_pu.real))


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """What each of several changes of power does: a row for each bus or branch, a column each."""

    voltage_pu: Real
    loading_percent: Real


class PowerFlow:
    """The power flow of one network, to be solved in slot after slot.

    Each bus of the network is connected to a slack, or has nothing in service (`dead`): it stays
    at 0 p.u. ``network`` is as `Network.without` leaves it.
    """

    def __init__(self, network: Network, dead: Mask, options: Options) -> None:
        self.network = network
        self.options = options
        self._live = ~dead
        self._role = network.bus_roles()
        self._angle_free = self._live & (self._role != Role.SLACK)
        self._balance = PowerBalance(network.admittance_pu())
        self._branch_admittances = network.branches.admittances_pu()
        self._setpoint, self._slack_angle = _setpoints(network)
        self._limits = _reactive_limits(network)

    def solve(self, profile_values: Real, before: Outcome | None = None) -> Outcome:
        """The slot with these values of the profiles, beginning where the last one ended."""
        spent = 0
        if before:
            found = self._from_start(_end_of(before), profile_values, before.at_limit)
            if found.converged:
                return found
            spent = found.iterations
        first, *others = self._starts(profile_values)
        found = self._from_start(first, profile_values)
        for start in others:
            if not found.converged:
                spent += found.iterations
                found = self._from_start(start, profile_values)
        return replace(found, iterations=spent + found.iterations)

    def convergent_factor(self, profile_values: Real) -> float | None:
        """The largest part of all loads and generators that converges, below the whole.

        None where not even an idle network does.
        """

        def converges(steps: int) -> bool:
            scaled = profile_values * (steps / FACTOR_STEPS)
            return self.solve(scaled).converged

        highest, beyond = -1, FACTOR_STEPS
        while beyond - highest > 1:
            middle = (highest + beyond) // 2
            highest, beyond = (middle, beyond) if converges(middle) else (highest, middle)
        return None if highest < 0 else highest / FACTOR_STEPS

    def state(self, found: Outcome, profile_values: Real) -> State:
        """The flows at a point that has converged."""
        branches = self.network.branches
        phasor = found.point.phasor
        at_from, at_to = phasor[branches.from_bus], phasor[branches.to_bus]
        y_ff, y_ft, y_tf, y_tt = self._branch_admittances
        from_current = y_ff * at_from + y_ft * at_to
        to_current = y_tf * at_from + y_tt * at_to
        from_power = at_from * from_current.conj()
        to_power = at_to * to_current.conj()
        loading = 100 * np.maximum(
            np.maximum(np.abs(from_power), np.abs(to_power)) / branches.max_apparent_power_pu,
            np.maximum(np.abs(from_current), np.abs(to_current)) / branches.max_current_pu,
        )
        return State(
            found.point.voltage_pu,
            found.point.angle_rad,
            from_power,
            to_power,
            loading,
            self._generated(phasor, profile_values),
            found.at_limit,
        )

    def changes(self, found: Outcome, power_pu: Complex) -> PlannedChange | None:
        """What more power fed into the buses does to a point that has converged.

        ``power_pu`` has a row for each bus and a column for each change. None where the equations
        are singular there.
        """
        moved = self._balance.changes(
            found.point,
            power_pu,
            angle_free=self._angle_free,
            voltage_free=self._voltage_free(found.at_limit),
        )
        if moved is None:
            return None
        voltage, angle = moved
        branches, point = self.network.branches, found.point
        phasor, direction = point.phasor, np.exp(1j * point.angle_rad)
        # dV of the phasor, from those of its length and of its angle.
        turned = direction[:, None] * voltage + 1j * phasor[:, None] * angle
        y_ff, y_ft, y_tf, y_tt = self._branch_admittances
        ends = (branches.from_bus, branches.to_bus)
        percent: list[Real] = []
        slopes: list[Real] = []
        for bus, near, other, far in (
            (ends[0], y_ff, ends[1], y_ft),
            (ends[1], y_tt, ends[0], y_tf),
        ):
            current = near * phasor[bus] + far * phasor[other]
            change = near[:, None] * turned[bus] + far[:, None] * turned[other]
            size = np.abs(current)
            along = (current.conj()[:, None] * change).real / np.where(size > 0, size, 1.0)[:, None]
            at = point.voltage_pu[bus]
            power_limit, current_limit = branches.max_apparent_power_pu, branches.max_current_pu
            percent += [100 * at * size / power_limit, 100 * size / current_limit]
            grows = voltage[bus] * size[:, None] + at[:, None] * along
            slopes += [100 * grows / power_limit[:, None], 100 * along / current_limit[:, None]]
        deciding = np.argmax(percent, axis=0)
        loading = np.array(slopes)[deciding, np.arange(len(deciding))]
        return PlannedChange(voltage, loading)

    def _voltage_free(self, at_limit: NDArray[np.int8]) -> Mask:
        """Where reactive power is balanced and the voltage is to be found."""
        holds = (self._role == Role.SLACK) | ((self._role == Role.PV) & (at_limit == 0))
        return self._live & ~holds

    def _from_start(
        self, start: Place, profile_values: Real, at_limit: NDArray[np.int8] | None = None
    ) -> Outcome:
        """Newton-Raphson, and again after each change of a bus's role at its reactive limits."""
        given = self._given_power(profile_values)
        lowest, highest = self._limits
        if at_limit is None:
            at_limit = np.zeros(len(self._role), dtype=np.int8)
        returns = np.zeros(len(self._role), dtype=np.intp)
        spent = 0
        while True:
            held = np.where(at_limit > 0, highest, lowest)
            point = self._balance.solve(
                start,
                given + 1j * np.where(at_limit != 0, held, 0.0),
                angle_free=self._angle_free,
                voltage_free=self._voltage_free(at_limit),
                tolerance_pu=self.options.tolerance_pu,
                max_iterations=self.options.max_iterations,
            )
            spent += point.iterations
            outcome = Outcome(point, at_limit, spent)
            if not (point.converged and self.options.enforce_reactive_limits):
                return outcome
            needed = (self._balance.injected_pu(point.phasor) - given).imag
            holding = (self._role == Role.PV) & (at_limit == 0)
            above = holding & (needed > highest + LIMIT_TOLERANCE_PU)
            below = holding & (needed < lowest - LIMIT_TOLERANCE_PU)
            excess = point.voltage_pu - self._setpoint
            back = (at_limit * excess > LIMIT_TOLERANCE_PU) & (returns < MOST_RETURNS)
            if not (above | below | back).any():
                return outcome
            at_limit = np.select([above, below, back], [1, -1, 0], at_limit).astype(np.int8)
            returns += back
            start = (np.where(back, self._setpoint, point.voltage_pu), point.angle_rad)

    def _given_power(self, profile_values: Real) -> Complex:
        """What generators feed in and loads take at each bus, as far as it is given."""
        network, loads = self.network, self.network.loads
        consumed = loads.active_power_pu.at(profile_values) + 1j * loads.reactive_power_pu.at(
            profile_values
        )
        fed = network.at_buses(network.generators.bus, self._given_to_generators(profile_values))
        return fed - network.at_buses(loads.bus, np.where(loads.in_service, consumed, 0.0))

    def _given_to_generators(self, profile_values: Real) -> Complex:
        """What each generator is to feed in; reactive power is given to PQ generators only."""
        generators = self.network.generators
        active = np.where(generators.in_service, generators.active_power_pu.at(profile_values), 0.0)
        reactive = generators.reactive_power_pu.at(profile_values)
        return active + 1j * np.where(generators.having(Role.PQ), reactive, 0.0)

    def _generated(self, phasor: Complex, profile_values: Real) -> Complex:
        """What each generator feeds in: what it is given, and its share of what the bus needs."""
        generators = self.network.generators
        power = self._given_to_generators(profile_values)
        missing = self._balance.injected_pu(phasor) - self._given_power(profile_values)
        slacks = generators.having(Role.SLACK)
        slack_bus = generators.bus[slacks]
        power[slacks] += missing.real[slack_bus] / np.bincount(slack_bus)[slack_bus]
        sharing = generators.having(Role.SLACK, Role.PV)
        return power + 1j * shared(generators, sharing, missing.imag)

    def _starts(self, profile_values: Real) -> list[Place]:
        """Where the options let the first slot begin, one after the other."""
        match self.options.start:
            case Start.FLAT:
                return [self._flat()]
            case Start.DC:
                return [self._linear(profile_values)]
            case Start.GIVEN:
                return [self._given_place()]
            case Start.AUTO:
                return [self._flat(), self._linear(profile_values)]

    def _flat(self) -> Place:
        return np.where(self._live, self._setpoint, 0.0), self._flat_angle()

    def _given_place(self) -> Place:
        voltage, angle = self._flat()
        buses = self.network.buses
        voltage_given = self._live & (self._role == Role.PQ) & ~np.isnan(buses.initial_voltage_pu)
        angle_given = self._angle_free & ~np.isnan(buses.initial_angle_rad)
        return (
            np.where(voltage_given, buses.initial_voltage_pu, voltage),
            np.where(angle_given, buses.initial_angle_rad, angle),
        )

    def _flat_angle(self) -> Real:
        """The slack's angle less the phase shifts on a way to it with the fewest branches."""
        branches = self.network.branches
        angle = np.where(self._role == Role.SLACK, self._slack_angle, 0.0)
        neighbours: list[list[tuple[int, float]]] = [[] for _ in angle]
        for i in np.flatnonzero(branches.in_service):
            here, there = int(branches.from_bus[i]), int(branches.to_bus[i])
            shift = float(branches.phase_shift_rad[i])
            neighbours[here].append((there, -shift))
            neighbours[there].append((here, shift))
        waiting = deque(np.flatnonzero(self._role == Role.SLACK).tolist())
        seen = set(waiting)
        while waiting:
            here = waiting.popleft()
            for there, shift in neighbours[here]:
                if there not in seen:
                    seen.add(there)
                    angle[there] = angle[here] + shift
                    waiting.append(there)
        return angle

    def _linear(self, profile_values: Real) -> Place:
        """The flat start with the angles of the linear power flow; the flat ones if it has none."""
        voltage, angle = self._flat()
        branches, free = self.network.branches, np.flatnonzero(self._angle_free)
        impedance = branches.impedance_pu
        # Without a reactance the linear power flow takes the resistance for one.
        reactance = np.where(impedance.imag == 0, np.abs(impedance.real), impedance.imag)
        susceptance = branches.in_service / (reactance * branches.tap_ratio)
        ends = (branches.from_bus, branches.to_bus)
        rows = np.concatenate([ends[0], ends[1], ends[0], ends[1]])
        columns = np.concatenate([ends[0], ends[1], ends[1], ends[0]])
        values = np.concatenate([susceptance, susceptance, -susceptance, -susceptance])
        count = len(angle)
        matrix = csc_array(coo_array((values, (rows, columns)), shape=(count, count)))
        # From the flat angles, and whole turns around a loop count nothing, as in the AC equations.
        difference = angle[ends[0]] - angle[ends[1]] - branches.phase_shift_rad
        flows = susceptance * np.angle(np.exp(1j * difference))
        power = self._given_power(profile_values).real - self.network.shunt_pu.real
        power -= np.bincount(ends[0], flows, count) - np.bincount(ends[1], flows, count)
        if len(free):
            try:
                angle[free] += splu(matrix[free][:, free]).solve(power[free])
            except RuntimeError:  # "Factor is exactly singular"
                return voltage, angle
        return voltage, angle


def shared(generators: Generators, sharing: Mask, needed_pu: Real) -> Real:
    """What each generator supplies of the reactive power that is needed at its bus.

    Those that are ``sharing`` stand at the same part of their ranges. At a bus where one has no
    range, the ranges only bound an equal part, and those without one take the rest.
    """
    bus = generators.bus[sharing]
    lowest = generators.min_reactive_power_pu[sharing]
    highest = generators.max_reactive_power_pu[sharing]
    bounded = np.isfinite(lowest) & np.isfinite(highest)
    lowest, highest = np.where(bounded, lowest, 0.0), np.where(bounded, highest, 0.0)

    def at_bus(values: Real) -> Real:
        """The sum over all that share at the same bus."""
        sums = np.zeros(len(needed_pu))
        np.add.at(sums, bus, values)
        return sums[bus]

    count = at_bus(np.ones(len(bus)))
    free_count = at_bus((~bounded).astype(np.float64))
    needed = needed_pu[bus]
    span, all_span = highest - lowest, at_bus(highest - lowest)
    part = np.where(all_span > 0, span / np.where(all_span > 0, all_span, 1.0), 1 / count)
    in_range = lowest + part * (needed - at_bus(lowest))
    equal = np.where(bounded, np.clip(needed / count, lowest, highest), 0.0)
    rest = (needed - at_bus(equal)) / np.maximum(free_count, 1)
    supplied = np.zeros(len(sharing))
    supplied[sharing] = np.where(free_count == 0, in_range, np.where(bounded, equal, rest))
    return supplied


def _end_of(before: Outcome) -> Place:
    return before.point.voltage_pu, before.point.angle_rad


def _setpoints(network: Network) -> tuple[Real, Real]:
    """The voltage that each bus is to hold, 1 where none, and the angle of each slack."""
    generators, roles = network.generators, network.bus_roles()
    voltage, angle = np.ones(len(roles)), np.zeros(len(roles))
    for role in (Role.PV, Role.SLACK):
        holding = generators.having(role) & (roles[generators.bus] == role)
        voltage[generators.bus[holding]] = generators.voltage_setpoint_pu[holding]
        angle[generators.bus[holding]] = generators.voltage_angle_rad[holding]
    return voltage, np.where(roles == Role.SLACK, angle, 0.0)


def _reactive_limits(network: Network) -> tuple[Real, Real]:
    """What the PV generators of each bus can supply, least and most."""
    generators = network.generators
    holding = generators.having(Role.PV)
    bus = generators.bus[holding]
    lowest, highest = np.zeros((2, len(network.buses)))
    np.add.at(lowest, bus, generators.min_reactive_power_pu[holding])
    np.add.at(highest, bus, generators.max_reactive_power_pu[holding])
    return lowest, highest
