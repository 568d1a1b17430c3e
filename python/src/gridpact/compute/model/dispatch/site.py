"""What a schedule is made for: a site, its assets, its prices. Pure values.

Units and signs are in the names: power in kW, energy in kWh, prices in the site's currency per kWh.
Every series is a float64 array with one value a slot; slots count from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Cell:
    """What a battery can do: its window of stored energy, its powers, its losses and its wear."""

    capacity_kwh: float
    min_energy_kwh: float
    max_energy_kwh: float
    max_charge_power_kw: float
    max_discharge_power_kw: float
    charge_efficiency: float
    discharge_efficiency: float
    wear_cost_per_kwh: float


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery, and what it holds before the first and, if given, after the last slot."""

    name: str
    cell: Cell
    initial_energy_kwh: float
    final_energy_kwh: float | None


@dataclass(frozen=True, slots=True)
class Stay:
    """A vehicle is plugged in from slot ``start`` until before ``stop``."""

    start: int
    stop: int
    initial_energy_kwh: float
    required_energy_kwh: float | None

    @property
    def slots(self) -> Indices:
        return np.arange(self.start, self.stop)


@dataclass(frozen=True, slots=True)
class Vehicle:
    """An electric vehicle with its stays, in order."""

    name: str
    cell: Cell
    min_charge_power_kw: float
    stays: tuple[Stay, ...]


@dataclass(frozen=True, slots=True)
class Pv:
    """A PV plant: what it could deliver, and whether less may be ordered."""

    name: str
    available_power_kw: Series
    curtailable: bool


@dataclass(frozen=True, slots=True)
class Load:
    """A load whose power is given."""

    name: str
    power_kw: Series


@dataclass(frozen=True, slots=True)
class FlexibleLoad:
    """Energy to be taken from slot ``start`` until before ``stop``."""

    name: str
    start: int
    stop: int
    energy_kwh: float
    min_power_kw: float
    max_power_kw: float
    interruptible: bool

    @property
    def slots(self) -> Indices:
        return np.arange(self.start, self.stop)


@dataclass(frozen=True, slots=True)
class Cycle:
    """A run with a given power profile, somewhere from slot ``start`` until before ``stop``."""

    name: str
    start: int
    stop: int
    power_kw: Series  # of each slot of the run

    @property
    def starts(self) -> Indices:
        """The slots in which it may begin."""
        return np.arange(self.start, self.stop - len(self.power_kw) + 1)


@dataclass(frozen=True, slots=True)
class Tank:
    """Stored heat."""

    min_energy_kwh: float
    max_energy_kwh: float
    initial_energy_kwh: float
    final_energy_kwh: float | None
    loss_per_h: float


@dataclass(frozen=True, slots=True)
class HeatPump:
    """A heat pump with its tank; the COP is heat delivered per electric energy."""

    name: str
    min_power_kw: float
    max_power_kw: float
    cop: Series
    heat_demand_kw: Series
    tank: Tank


@dataclass(frozen=True, slots=True)
class Generator:
    """A generator; ``segments`` are the upper end (kW) and the cost per kWh of each cost step."""

    name: str
    min_power_kw: float
    max_power_kw: float
    segments: tuple[tuple[float, float], ...]
    no_load_cost_per_h: float
    start_cost: float
    min_up_s: int
    min_down_s: int
    ramp_up_kw_per_h: float  # inf: no limit
    ramp_down_kw_per_h: float
    initially_running: bool
    initial_duration_s: int
    initial_power_kw: float
    co2_kg_per_kwh: float

    @property
    def must_be_committed(self) -> bool:
        """Whether running at 0 kW differs from resting."""
        return any(
            (
                self.min_power_kw,
                self.no_load_cost_per_h,
                self.start_cost,
                self.min_up_s,
                self.min_down_s,
            )
        )

    @property
    def power_before_kw(self) -> float:
        if not self.initially_running:
            return 0.0
        return max(self.initial_power_kw, self.min_power_kw)

    @property
    def widths_kw(self) -> Series:
        """How much power lies within each cost step."""
        return np.diff([0.0, *(up_to for up_to, _ in self.segments)])

    @property
    def costs_per_kwh(self) -> Series:
        return np.array([cost for _, cost in self.segments])


@dataclass(frozen=True, slots=True)
class GridFee:
    """A fee on imported energy."""

    name: str
    price_per_kwh: Series


@dataclass(frozen=True, slots=True)
class Tiers:
    """Surcharges per kWh by how much was imported in the billing period: (from, surcharge)."""

    imported_energy_kwh: float
    tiers: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class DemandCharge:
    """A price on the greatest mean import of a billing interval."""

    name: str
    price_per_kw: float
    interval_s: int
    peak_so_far_kw: float
    energy_so_far_kwh: float
    counts: Mask  # the slots whose import counts


@dataclass(frozen=True, slots=True)
class Group:
    """Assets and loads behind one limit, by name; None: no limit in that direction."""

    name: str
    members: tuple[str, ...]
    max_import_power_kw: float | None
    max_export_power_kw: float | None


@dataclass(frozen=True, slots=True)
class Reserve:
    """Power by which the site must be able to change; None: none is asked for."""

    upward_power_kw: Series | None
    downward_power_kw: Series | None
    duration_h: float


@dataclass(frozen=True, slots=True)
class PreviousPlan:
    """The powers of an earlier plan by asset, each as long as that plan still reaches."""

    deviation_cost_per_kwh: float
    power_kw: Mapping[str, Series]


@dataclass(frozen=True, slots=True)
class Held:
    """What is decided already for the first slots: powers and running generators, by asset."""

    power_kw: Mapping[str, Series]
    running: Mapping[str, Series]
    tolerance_kw: float  # how far a power may move, for rounding


@dataclass(frozen=True)
class Site:
    """One grid connection with all that stands behind it, in one future."""

    start_s: float  # UTC, seconds since 1970
    slot_hours: float
    slots: int
    batteries: tuple[Battery, ...]
    pv: tuple[Pv, ...]
    loads: tuple[Load, ...]
    flexible_loads: tuple[FlexibleLoad, ...]
    cycles: tuple[Cycle, ...]
    vehicles: tuple[Vehicle, ...]
    heat_pumps: tuple[HeatPump, ...]
    generators: tuple[Generator, ...]
    energy_price_per_kwh: Series  # of the tariff alone
    export_price_per_kwh: Series
    grid_fees: tuple[GridFee, ...]
    tiers: Tiers | None
    demand_charges: tuple[DemandCharge, ...]
    max_import_power_kw: float
    max_export_power_kw: float
    import_limits_kw: Series | None
    export_limits_kw: Series | None
    groups: tuple[Group, ...]
    reserve: Reserve
    import_kg_per_kwh: Series | None  # None: no emissions are given
    co2_price_per_kg: float
    previous_plan: PreviousPlan | None
    held: Held = field(default_factory=lambda: Held({}, {}, 0.0))

    @cached_property
    def import_price_per_kwh(self) -> Series:
        """π: what one imported kWh costs before tiers and demand charges."""
        fees = sum((fee.price_per_kwh for fee in self.grid_fees), start=np.zeros(self.slots))
        co2 = 0.0 if self.import_kg_per_kwh is None else self.import_kg_per_kwh
        return self.energy_price_per_kwh + fees + self.co2_price_per_kg * co2

    @cached_property
    def import_limit_kw(self) -> Series:
        return _smaller(self.slots, self.max_import_power_kw, self.import_limits_kw)

    @cached_property
    def export_limit_kw(self) -> Series:
        return _smaller(self.slots, self.max_export_power_kw, self.export_limits_kw)

    @property
    def least_surcharge_per_kwh(self) -> float:
        """σ: what a tier can take off the import price, at most 0."""
        if self.tiers is None:
            return 0.0
        return min(0.0, *(surcharge for _, surcharge in self.tiers.tiers))

    @property
    def outside_cost_per_kwh(self) -> float:
        """ρ: the penalty for each kWh and slot outside a window of stored energy."""
        prices = np.concatenate([self.import_price_per_kwh, self.export_price_per_kwh])
        return 10.0 * max(1.0, float(np.abs(prices).max()))

    def groups_of(self, name: str) -> tuple[Group, ...]:
        return tuple(group for group in self.groups if name in group.members)


def _smaller(slots: int, limit_kw: float, limits_kw: Series | None) -> Series:
    return np.full(slots, limit_kw) if limits_kw is None else np.minimum(limit_kw, limits_kw)
