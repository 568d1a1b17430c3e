"""An electrical network as arrays: what a power flow is computed on. Pure values.

Everything is in per unit on the network's base power and the buses' nominal voltages, angles in
radians. Columns over buses, branches and generators keep the order of the input; what is not in
service keeps its place. Formulas: docs/compute/power-flow.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]


class Role(IntEnum):
    """What a generator, and so its bus, holds; the strongest last."""

    PQ = 0
    PV = 1
    SLACK = 2


@dataclass(frozen=True, slots=True)
class Powers:
    """One power each, from slot to slot: ``coefficient`` times the slot's value of ``profile``.

    Profile 0 is 1 in every slot.
    """

    coefficient: Real
    profile: Indices

    def at(self, profile_values: Real) -> Real:
        """The powers in the slot that has these values of all profiles."""
        return self.coefficient * profile_values[self.profile]


@dataclass(frozen=True, slots=True)
class Buses:
    """Voltage limits, and where the start GIVEN begins (NaN where it does not say)."""

    names: Sequence[str]
    min_voltage_pu: Real
    max_voltage_pu: Real
    initial_voltage_pu: Real
    initial_angle_rad: Real

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Branches:
    """Lines and transformers as pi models; limits are infinite where there are none."""

    names: Sequence[str]
    in_service: Mask
    from_bus: Indices
    to_bus: Indices
    impedance_pu: Complex
    from_shunt_pu: Complex  # admittance at the from end, behind the ideal transformer
    to_shunt_pu: Complex
    tap_ratio: Real
    phase_shift_rad: Real
    max_apparent_power_pu: Real
    max_current_pu: Real

    def __len__(self) -> int:
        return len(self.names)

    def admittances_pu(self) -> tuple[Complex, Complex, Complex, Complex]:
        """Y_ff, Y_ft, Y_tf, Y_tt of each branch: I_from = Y_ff V_from + Y_ft V_to, and so on."""
        on = self.in_service.astype(np.float64)
        series = on / self.impedance_pu
        tap = self.tap_ratio * np.exp(1j * self.phase_shift_rad)
        return (
            (series + on * self.from_shunt_pu) / self.tap_ratio**2,
            -series / tap.conj(),
            -series / tap,
            series + on * self.to_shunt_pu,
        )


@dataclass(frozen=True, slots=True)
class Generators:
    """What feeds in; reactive limits are infinite where there are none."""

    names: Sequence[str]
    in_service: Mask
    bus: Indices
    role: NDArray[np.int8]
    active_power_pu: Powers
    reactive_power_pu: Powers  # of PQ generators; the others find their own
    voltage_setpoint_pu: Real
    voltage_angle_rad: Real
    min_reactive_power_pu: Real
    max_reactive_power_pu: Real

    def __len__(self) -> int:
        return len(self.names)

    def having(self, *roles: Role) -> Mask:
        """Those in service with one of these roles."""
        return self.in_service & np.isin(self.role, roles)


@dataclass(frozen=True, slots=True)
class Loads:
    """What consumes, in service or not."""

    in_service: Mask
    bus: Indices
    active_power_pu: Powers
    reactive_power_pu: Powers


@dataclass(frozen=True, slots=True)
class Network:
    """Buses and all that is connected to them."""

    base_power_mva: float
    buses: Buses
    branches: Branches
    generators: Generators
    loads: Loads
    shunt_pu: Complex  # admittance of all shunts at each bus

    def admittance_pu(self) -> csr_array:
        """The bus admittance matrix, with every place on the diagonal stored."""
        count = len(self.buses)
        ends = (self.branches.from_bus, self.branches.to_bus)
        every = np.arange(count)
        rows = np.concatenate([ends[0], ends[0], ends[1], ends[1], every])
        columns = np.concatenate([ends[0], ends[1], ends[0], ends[1], every])
        values = np.concatenate([*self.branches.admittances_pu(), self.shunt_pu])
        return csr_array(coo_array((values, (rows, columns)), shape=(count, count)))

    def bus_roles(self) -> NDArray[np.int8]:
        """The strongest role of the generators in service at each bus."""
        roles = np.full(len(self.buses), Role.PQ, dtype=np.int8)
        on = self.generators.in_service
        np.maximum.at(roles, self.generators.bus[on], self.generators.role[on])
        return roles

    def at_buses(self, bus: Indices, power: Complex) -> Complex:
        """The sum of what is at each bus; ``bus`` says where each power is."""
        count = len(self.buses)
        active = np.bincount(bus, weights=power.real, minlength=count)
        return active + 1j * np.bincount(bus, weights=power.imag, minlength=count)

    def without(self, dead: Mask) -> Network:
        """The network with nothing in service at the ``dead`` buses."""
        branches, generators, loads = self.branches, self.generators, self.loads
        return replace(
            self,
            branches=replace(branches, in_service=branches.in_service & ~dead[branches.from_bus]),
            generators=replace(
                generators, in_service=generators.in_service & ~dead[generators.bus]
            ),
            loads=replace(loads, in_service=loads.in_service & ~dead[loads.bus]),
            shunt_pu=np.where(dead, 0.0, self.shunt_pu),
        )


@dataclass(frozen=True, slots=True)
class Islands:
    """Which buses hang together: ``of_bus`` numbers the islands in the order of their first bus."""

    of_bus: Indices
    energised: Mask  # one an island: whether a slack in service holds it

    @property
    def dead_buses(self) -> Mask:
        return ~self.energised[self.of_bus]

    def __len__(self) -> int:
        return len(self.energised)


def islands(network: Network) -> Islands:
    """What the branches in service connect."""
    branches, generators = network.branches, network.generators
    on = branches.in_service
    ends = (branches.from_bus[on], branches.to_bus[on])
    shape = (len(network.buses), len(network.buses))
    graph = coo_array((np.ones(len(ends[0])), ends), shape=shape)
    count, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    number = np.empty(count, dtype=np.intp)
    number[np.argsort(first)] = np.arange(count)
    of_bus = number[labels]
    energised = np.zeros(count, dtype=np.bool_)
    energised[of_bus[generators.bus[generators.having(Role.SLACK)]]] = True
    return Islands(of_bus, energised)
