"""A schedule carried out slot by slot: docs/compute/replay.md, "One slot", line by line.

Powers are kW as slot means, consumption and charging positive; energies are kWh. All of it steps
through the slots in order: ``follow`` says what an asset makes of a set-point, ``give_up`` what it
can do less, ``advance`` ends the slot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, Protocol

import numpy as np

from gridpact.compute.model.dispatch.site import (
    Battery,
    Cell,
    Cycle,
    FlexibleLoad,
    Generator,
    HeatPump,
    Pv,
    Series,
    Vehicle,
)
from gridpact.kit.shapes import number

TOLERANCE = 1e-6
"""Of powers and energies: a solver's plan keeps its limits no better."""
SNAP_KWH = 1e-9
"""What is this near to a limit of energy is at it."""

Reason = Literal[
    "FULL",
    "EMPTY",
    "POWER_LIMIT",
    "MIN_POWER",
    "NOT_PLUGGED_IN",
    "OUTSIDE",
    "PROFILE",
    "RAMP_LIMIT",
    "MIN_UP",
    "MIN_DOWN",
    "GRID_LIMIT",
    "GROUP_LIMIT",
]
Unit = Literal["kW", "kWh", "slots"]
Followed = tuple[float, Reason | None]
"""The power that came of a set-point, and why it is another one."""


class AtLimits(Enum):
    """What happens at a limit of the grid connection or of a group."""

    VIOLATE = "VIOLATE"
    CURTAIL = "CURTAIL"
    REDUCE = "REDUCE"


@dataclass(slots=True)
class Deviation:
    """How much an asset departed from its set-points for one reason."""

    reason: Reason
    first_slot: int
    last_slot: int
    slot_count: int = 1
    energy_kwh: float = 0.0


@dataclass(slots=True)
class Violation:
    """What was not kept: a limit by its greatest excess, or a wish by what is missing."""

    field: str
    name: str | None
    unit: Unit
    first_slot: int
    amount: float
    message: str
    slot_count: int = 1


class Asset(Protocol):
    """Something with a name and a power."""

    name: str

    def follow(self, slot: int, wanted: float) -> Followed:
        """What it makes of a set-point, by its own limits."""
        ...

    def give_up(self, power: float, excess: float) -> float:
        """Its power after doing less, towards 0, by ``excess`` kW or as far as it can."""
        ...

    def advance(self, slot: int, power: float) -> None:
        """Ends the slot with the power that was."""
        ...

    def violations(self) -> Iterator[Violation]:
        """What it did not keep, after the last slot."""
        ...


def cut(
    wanted: float,
    limit_kw: float,
    energy_kwh: float,
    kwh_per_kw: float,
    when_short: Reason,
    tolerance_kwh: float = TOLERANCE,
) -> Followed:
    """The part of a power that its limit and the energy there is (or room for it) leave."""
    if wanted <= min(limit_kw + TOLERANCE, (energy_kwh + tolerance_kwh) / kwh_per_kw):
        return wanted, None
    most_kw = energy_kwh / kwh_per_kw
    if most_kw < limit_kw:
        return max(0.0, most_kw), when_short
    return limit_kw, "POWER_LIMIT"


def less(power: float, excess: float, least_kw: float = 0.0) -> float:
    """A power reduced by ``excess`` kW; 0 where that is more than it, or less than ``least_kw``."""
    left = abs(power) - excess
    if left <= 0 or (power > 0 and left < least_kw - TOLERANCE):
        return 0.0
    return left if power > 0 else -left


def is_too_low(wanted: float, least_kw: float) -> bool:
    """Whether a set-point asks for less than the least power."""
    return 0 < wanted < least_kw - TOLERANCE


def snapped(energy_kwh: float, lowest: float, highest: float) -> float:
    """An energy that is on a limit or clear of it."""
    for limit in (lowest, highest):
        if abs(energy_kwh - limit) <= SNAP_KWH:
            return limit
    return energy_kwh


def missing_energy(
    place: str, name: str, slot: int, wanted: float, energy_kwh: float
) -> Iterator[Violation]:
    """The violation of less energy than was asked for, if it is."""
    if wanted - energy_kwh > TOLERANCE:
        words = f"ended with {spoken(energy_kwh)} kWh; {spoken(wanted)} were required"
        yield Violation(place, name, "kWh", slot, wanted - energy_kwh, words)


def spoken(value: float) -> str:
    """A number in a message, to the millionth."""
    return number(round(value, 6) + 0.0)


class Store:
    """Stored energy that never leaves its window further: a battery, or the stay of a vehicle."""

    def __init__(self, cell: Cell, slot_hours: float, energy_kwh: float) -> None:
        self._cell = cell
        self._hours = slot_hours
        self.energy_kwh = energy_kwh

    def follow(self, wanted: float) -> Followed:
        """The power nearest to the one wanted."""
        cell = self._cell
        if wanted >= 0:
            outside = self.energy_kwh > cell.max_energy_kwh + 2 * TOLERANCE
            room = 0.0 if outside else cell.max_energy_kwh - self.energy_kwh
            return cut(wanted, cell.max_charge_power_kw, room, self._stored_per_kw, "FULL")
        outside = self.energy_kwh < cell.min_energy_kwh - 2 * TOLERANCE
        left = 0.0 if outside else self.energy_kwh - cell.min_energy_kwh
        power, reason = cut(-wanted, cell.max_discharge_power_kw, left, self._drawn_per_kw, "EMPTY")
        return 0.0 - power, reason

    def advance(self, power: float) -> None:
        gained = (self._stored_per_kw if power > 0 else self._drawn_per_kw) * power
        self.energy_kwh = snapped(
            self.energy_kwh + gained, self._cell.min_energy_kwh, self._cell.max_energy_kwh
        )

    @property
    def _stored_per_kw(self) -> float:
        return self._hours * self._cell.charge_efficiency

    @property
    def _drawn_per_kw(self) -> float:
        return self._hours / self._cell.discharge_efficiency


class BatteryRun:
    """A battery; its energies as they come to be."""

    def __init__(self, battery: Battery, place: str, slot_hours: float, slots: int) -> None:
        self.name = battery.name
        self._place = place
        self._final = battery.final_energy_kwh
        self._store = Store(battery.cell, slot_hours, battery.initial_energy_kwh)
        self.energy_kwh = np.zeros(slots)

    def follow(self, slot: int, wanted: float) -> Followed:
        del slot
        return self._store.follow(wanted)

    def give_up(self, power: float, excess: float) -> float:
        return less(power, excess)

    def advance(self, slot: int, power: float) -> None:
        self._store.advance(power)
        self.energy_kwh[slot] = self._store.energy_kwh

    def violations(self) -> Iterator[Violation]:
        last = len(self.energy_kwh) - 1
        if self._final is not None:
            yield from missing_energy(
                f"{self._place}.final_energy_kwh",
                self.name,
                last,
                self._final,
                self._store.energy_kwh,
            )


class VehicleRun:
    """A vehicle, which is a battery while it stays."""

    def __init__(self, vehicle: Vehicle, place: str, slot_hours: float, slots: int) -> None:
        self.name = vehicle.name
        self._place = place
        self._min_charge = vehicle.min_charge_power_kw
        self._stays = [
            (stay, Store(vehicle.cell, slot_hours, stay.initial_energy_kwh))
            for stay in vehicle.stays
        ]
        self._plugged_in: list[Store | None] = [None] * slots
        for stay, store in self._stays:
            self._plugged_in[stay.start : stay.stop] = [store] * (stay.stop - stay.start)
        self.energy_kwh = np.zeros(slots)

    def follow(self, slot: int, wanted: float) -> Followed:
        store = self._plugged_in[slot]
        if store is None:
            return 0.0, "NOT_PLUGGED_IN"
        if is_too_low(wanted, self._min_charge):
            return 0.0, "MIN_POWER"
        return store.follow(wanted)

    def give_up(self, power: float, excess: float) -> float:
        return less(power, excess, self._min_charge)

    def advance(self, slot: int, power: float) -> None:
        store = self._plugged_in[slot]
        if store is not None:
            store.advance(power)
            self.energy_kwh[slot] = store.energy_kwh

    def violations(self) -> Iterator[Violation]:
        for index, (stay, store) in enumerate(self._stays):
            if stay.required_energy_kwh is not None:
                yield from missing_energy(
                    f"{self._place}.stays[{index}].required_energy_kwh",
                    self.name,
                    stay.stop - 1,
                    stay.required_energy_kwh,
                    store.energy_kwh,
                )


class FlexibleLoadRun:
    """A load that takes an amount of energy within its window, and no more."""

    def __init__(self, load: FlexibleLoad, place: str, slot_hours: float) -> None:
        self.name = load.name
        self._load = load
        self._place = place
        self._hours = slot_hours
        self._taken = 0.0
        self._runs_from: list[int] = []
        self._last_run = -1

    @property
    def _tolerance_kwh(self) -> float:
        return TOLERANCE * max(1.0, self._load.energy_kwh)

    def follow(self, slot: int, wanted: float) -> Followed:
        load = self._load
        if not load.start <= slot < load.stop:
            return 0.0, "OUTSIDE"
        if wanted < 0:
            return 0.0, "POWER_LIMIT"
        if is_too_low(wanted, load.min_power_kw):
            return 0.0, "MIN_POWER"
        left = load.energy_kwh - self._taken
        return cut(wanted, load.max_power_kw, left, self._hours, "FULL", self._tolerance_kwh)

    def give_up(self, power: float, excess: float) -> float:
        load = self._load
        return less(power, excess, load.min_power_kw) if load.interruptible else power

    def advance(self, slot: int, power: float) -> None:
        self._taken += self._hours * power
        if power > TOLERANCE:
            if self._last_run != slot - 1 or not self._runs_from:
                self._runs_from.append(slot)
            self._last_run = slot

    def violations(self) -> Iterator[Violation]:
        load = self._load
        missing = load.energy_kwh - self._taken
        if missing > self._tolerance_kwh:
            words = f"took {spoken(self._taken)} of {spoken(load.energy_kwh)} kWh in its window"
            place = f"{self._place}.energy_kwh"
            yield Violation(place, self.name, "kWh", load.stop - 1, missing, words)
        pauses = len(self._runs_from) - 1
        if pauses > 0 and not load.interruptible:
            words = f"paused {pauses} times and may not"
            at = self._runs_from[1]
            yield Violation(
                f"{self._place}.interruptible", self.name, "slots", at, float(pauses), words
            )


class CycleRun:
    """A machine that is started by the first set-point above 0 and then runs to the end."""

    def __init__(self, cycle: Cycle, place: str, slot_hours: float, wanted_kw: Series) -> None:
        self.name = cycle.name
        self._place = place
        self._last_slot = cycle.stop - 1
        self._energy_kwh = slot_hours * float(cycle.power_kw.sum())
        self._power = np.zeros(len(wanted_kw))
        self._runs = False
        asked, powered = (np.flatnonzero(kw > TOLERANCE) for kw in (wanted_kw, cycle.power_kw))
        if len(asked) and len(powered) and (first := int(asked[0] - powered[0])) in cycle.starts:
            self._runs = True
            self._power[first : first + len(cycle.power_kw)] = cycle.power_kw

    def follow(self, slot: int, wanted: float) -> Followed:
        power = float(self._power[slot])
        if power == wanted:
            return power, None
        return power, "PROFILE" if self._runs else "OUTSIDE"

    def give_up(self, power: float, excess: float) -> float:
        del excess
        return power

    def advance(self, slot: int, power: float) -> None:
        del slot, power

    def violations(self) -> Iterator[Violation]:
        if not self._runs and self._energy_kwh > TOLERANCE:
            words = "did not run in its window"
            place = f"{self._place}.power_kw"
            yield Violation(place, self.name, "kWh", self._last_slot, self._energy_kwh, words)


class HeatPumpRun:
    """A heat pump and its tank, from which heat is taken whether it is there or not."""

    def __init__(self, pump: HeatPump, place: str, slot_hours: float) -> None:
        self.name = pump.name
        self._pump = pump
        self._place = place
        self._hours = slot_hours
        self._kept = 1 - min(1.0, pump.tank.loss_per_h * slot_hours)
        self._energy = pump.tank.initial_energy_kwh
        # The minimum, or less where it was measured so and has not come back yet.
        self._recovered = min(self._energy, pump.tank.min_energy_kwh)
        self._too_low: Violation | None = None
        self._cold: Violation | None = None
        self.energy_kwh = np.zeros(len(pump.cop))

    def _without(self, slot: int) -> float:
        """The tank's energy at the end of the slot if the pump rests."""
        return self._kept * self._energy - self._hours * float(self._pump.heat_demand_kw[slot])

    def follow(self, slot: int, wanted: float) -> Followed:
        pump, highest = self._pump, self._pump.tank.max_energy_kwh
        if wanted < 0:
            return 0.0, "POWER_LIMIT"
        if is_too_low(wanted, pump.min_power_kw):
            return 0.0, "MIN_POWER"
        if self._energy > highest + 2 * TOLERANCE:
            highest = self._energy
        per_kw = self._hours * float(pump.cop[slot])
        return cut(wanted, pump.max_power_kw, highest - self._without(slot), per_kw, "FULL")

    def give_up(self, power: float, excess: float) -> float:
        return less(power, excess, self._pump.min_power_kw)

    def advance(self, slot: int, power: float) -> None:
        lowest, highest = self._pump.tank.min_energy_kwh, self._pump.tank.max_energy_kwh
        energy = self._without(slot) + self._hours * float(self._pump.cop[slot]) * power
        if energy < -TOLERANCE:
            if self._cold is None:
                place = f"{self._place}.heat_demand_kw"
                self._cold = Violation(place, self.name, "kWh", slot, 0.0, "", 0)
            self._cold.amount -= energy
            self._cold.slot_count += 1
        energy = snapped(max(0.0, energy), lowest, highest)
        if energy < self._recovered - TOLERANCE:
            if self._too_low is None:
                place = f"{self._place}.tank.min_energy_kwh"
                self._too_low = Violation(place, self.name, "kWh", slot, 0.0, "", 0)
            self._too_low.slot_count += 1
            if lowest - energy > self._too_low.amount:
                self._too_low.amount = lowest - energy
                self._too_low.message = (
                    f"fell to {spoken(energy)} kWh in slot {slot}; {spoken(lowest)} must remain"
                )
        self._recovered = min(lowest, max(self._recovered, energy))
        self._energy = self.energy_kwh[slot] = energy

    def violations(self) -> Iterator[Violation]:
        if self._too_low is not None:
            yield self._too_low
        if self._cold is not None:
            self._cold.message = f"{spoken(self._cold.amount)} kWh of heat were not delivered"
            yield self._cold
        if (final := self._pump.tank.final_energy_kwh) is not None:
            yield from missing_energy(
                f"{self._place}.tank.final_energy_kwh",
                self.name,
                len(self.energy_kwh) - 1,
                final,
                self._energy,
            )


class GeneratorRun:
    """A generator: least times, ramps, least power. Its own numbers are positive."""

    def __init__(self, generator: Generator, slot_hours: float, wanted_on: Sequence[bool]) -> None:
        self.name = generator.name
        self._generator = generator
        self._wanted_on = wanted_on
        self._slot_hours = slot_hours
        self._is_on = generator.initially_running
        self._power = generator.power_before_kw
        least_s = generator.min_up_s if self._is_on else generator.min_down_s
        self._held = self._slots(max(0, least_s - generator.initial_duration_s))
        self._lowest = 0.0
        self.running = np.zeros(len(wanted_on))

    def _slots(self, duration_s: int) -> int:
        """How many slots a duration takes, begun ones included."""
        return -(-duration_s // round(3600 * self._slot_hours))

    @property
    def _ramp_up(self) -> float:
        return self._generator.ramp_up_kw_per_h * self._slot_hours

    @property
    def _ramp_down(self) -> float:
        return self._generator.ramp_down_kw_per_h * self._slot_hours

    def follow(self, slot: int, wanted: float) -> Followed:
        on, held = self._state(wanted_on=self._wanted_on[slot])
        self.running[slot] = float(on)
        if not on:
            self._lowest = 0.0
            return 0.0, held or "POWER_LIMIT"
        least, most = self._generator.min_power_kw, self._generator.max_power_kw
        highest, self._lowest = most, least
        if self._is_on:
            highest = min(highest, self._power + self._ramp_up)
            self._lowest = max(self._lowest, self._power - self._ramp_down)
        else:
            highest = min(highest, max(least, self._ramp_up))
        output = max(0.0, -wanted)
        if output > highest + TOLERANCE:
            return -highest, "POWER_LIMIT" if highest == most else "RAMP_LIMIT"
        if output < self._lowest - TOLERANCE:
            low: Reason = "MIN_POWER" if self._lowest == least else "RAMP_LIMIT"
            return 0.0 - self._lowest, held or low
        return 0.0 - output, "POWER_LIMIT" if wanted > 0 else None

    def _state(self, *, wanted_on: bool) -> tuple[bool, Reason | None]:
        if wanted_on == self._is_on:
            return wanted_on, None
        if self._held > 0:
            return self._is_on, "MIN_UP" if self._is_on else "MIN_DOWN"
        stops_from = max(self._generator.min_power_kw, self._ramp_down)
        if self._is_on and self._power > stops_from + TOLERANCE:
            return True, "RAMP_LIMIT"
        return wanted_on, None

    def give_up(self, power: float, excess: float) -> float:
        return min(-self._lowest, power + excess)

    def advance(self, slot: int, power: float) -> None:
        on = bool(self.running[slot])
        if on != self._is_on:
            least_s = self._generator.min_up_s if on else self._generator.min_down_s
            self._held = self._slots(least_s)
        self._held = max(0, self._held - 1)
        self._is_on = on
        self._power = -power

    def violations(self) -> Iterator[Violation]:
        yield from ()


class PvRun:
    """A plant that delivers what is available, up to its ceiling where it has one."""

    def __init__(self, plant: Pv, limited: Sequence[bool]) -> None:
        """``limited`` says in which slots a set-point is a ceiling."""
        self.name = plant.name
        self.available_kw = plant.available_power_kw
        self._limited = limited

    def follow(self, slot: int, wanted: float) -> Followed:
        available = float(self.available_kw[slot])
        ceiling = max(0.0, -wanted) if self._limited[slot] else available
        return 0.0 - min(available, ceiling), None

    def give_up(self, power: float, excess: float) -> float:
        return less(power, excess)

    def advance(self, slot: int, power: float) -> None:
        del slot, power

    def violations(self) -> Iterator[Violation]:
        yield from ()


class Gives(Enum):
    """At which limits an asset does less, in this order."""

    CURTAILED_PV = "curtailed PV"
    BATTERY = "battery"
    VEHICLE = "vehicle"
    FLEXIBLE_LOAD = "flexible load"
    HEAT_PUMP = "heat pump"
    GENERATOR = "generator"
    NOTHING = "nothing"


GIVES_UP_IMPORT = (Gives.BATTERY, Gives.VEHICLE, Gives.FLEXIBLE_LOAD, Gives.HEAT_PUMP)
GIVES_UP_EXPORT = (Gives.BATTERY, Gives.VEHICLE, Gives.GENERATOR)


@dataclass(slots=True)
class Line:
    """An asset, what it was told, and what it did."""

    asset: Asset
    gives: Gives
    wanted_kw: Series
    power_kw: Series = field(init=False)
    deviations: dict[Reason, Deviation] = field(default_factory=dict[Reason, Deviation])

    def __post_init__(self) -> None:
        self.power_kw = np.zeros(len(self.wanted_kw))


@dataclass(slots=True)
class FixedLoad:
    """A load that nobody controls; ``power_kw`` becomes what it was given."""

    name: str
    power_kw: Series
    deviations: dict[Reason, Deviation] = field(default_factory=dict[Reason, Deviation])


@dataclass(frozen=True, slots=True)
class Limit:
    """The limits of a group, or of the grid connection; infinite where there is none."""

    place: str
    name: str | None
    reason: Reason
    members: frozenset[str] | None  # None: all
    import_kw: Series
    export_kw: Series

    def holds(self, name: str) -> bool:
        return self.members is None or name in self.members


class Replay:
    """Steps through the slots; afterwards the lines and loads say what was."""

    def __init__(
        self,
        slot_hours: float,
        lines: Sequence[Line],
        loads: Sequence[FixedLoad],
        limits: Sequence[Limit],
        at_limits: AtLimits,
    ) -> None:
        self._hours = slot_hours
        self.lines = lines
        self.loads = loads
        self._limits = [(limit, *_members(limit, lines, loads)) for limit in limits]
        self._at_limits = at_limits

    def run(self, slots: int) -> None:
        for slot in range(slots):
            for line in self.lines:
                wanted = float(line.wanted_kw[slot])
                power, reason = line.asset.follow(slot, wanted)
                if reason is not None:
                    self._note(line.deviations, reason, slot, wanted - power)
                line.power_kw[slot] = power
            if self._at_limits is not AtLimits.VIOLATE:
                for limit, lines, loads in self._limits:
                    self._keep(limit, lines, loads, slot)
            for line in self.lines:
                line.asset.advance(slot, float(line.power_kw[slot]))

    def violations(self) -> Iterator[Violation]:
        """Those of the grid, of groups, then of the assets in order."""
        for limit, lines, loads in (*self._limits[-1:], *self._limits[:-1]):
            power = sum((each.power_kw for each in (*loads, *lines)), start=0.0)
            yield from _excess(limit, "import", power - limit.import_kw, limit.import_kw)
            yield from _excess(limit, "export", -power - limit.export_kw, limit.export_kw)
        for line in self.lines:
            yield from line.asset.violations()

    def _keep(
        self, limit: Limit, lines: Sequence[Line], loads: Sequence[FixedLoad], slot: int
    ) -> None:
        power = sum(float(each.power_kw[slot]) for each in (*loads, *lines))
        excess = -power - float(limit.export_kw[slot])
        if excess > TOLERANCE:
            excess -= self._curtail(limit, lines, slot, excess)
            if self._at_limits is AtLimits.REDUCE:
                self._reduce(limit, lines, GIVES_UP_EXPORT, -1, slot, excess)
        excess = power - float(limit.import_kw[slot])
        if excess > TOLERANCE and self._at_limits is AtLimits.REDUCE:
            excess = self._reduce(limit, lines, GIVES_UP_IMPORT, 1, slot, excess)
            for load in loads:
                if excess <= 0:
                    break
                before = float(load.power_kw[slot])
                load.power_kw[slot] = less(before, excess)
                excess -= before - float(load.power_kw[slot])
                self._note(load.deviations, limit.reason, slot, before - load.power_kw[slot])

    def _curtail(self, limit: Limit, lines: Sequence[Line], slot: int, excess: float) -> float:
        """Takes an excess from curtailable PV, all in proportion; returns what came of it."""
        plants = [line for line in lines if line.gives is Gives.CURTAILED_PV]
        delivered = -sum(float(plant.power_kw[slot]) for plant in plants)
        if delivered <= 0:
            return 0.0
        taken = min(excess, delivered)
        for plant in plants:
            before = float(plant.power_kw[slot])
            plant.power_kw[slot] = 0.0 if taken == delivered else before * (1 - taken / delivered)
            self._note(plant.deviations, limit.reason, slot, before - plant.power_kw[slot])
        return taken

    def _reduce(
        self,
        limit: Limit,
        lines: Sequence[Line],
        order: Sequence[Gives],
        sign: int,
        slot: int,
        excess: float,
    ) -> float:
        """Lets assets do less in an order until nothing is too much; returns what still is."""
        for line in (line for gives in order for line in lines if line.gives is gives):
            before = float(line.power_kw[slot])
            if excess <= 0:
                break
            if sign * before <= 0:
                continue
            after = line.asset.give_up(before, excess)
            line.power_kw[slot] = after
            excess -= abs(before) - abs(after)
            self._note(line.deviations, limit.reason, slot, before - after)
        return excess

    def _note(
        self, found: dict[Reason, Deviation], reason: Reason, slot: int, difference_kw: float
    ) -> None:
        if abs(difference_kw) <= TOLERANCE:
            return
        deviation = found.setdefault(reason, Deviation(reason, slot, slot))
        if deviation.last_slot != slot:
            deviation.last_slot = slot
            deviation.slot_count += 1
        deviation.energy_kwh += self._hours * abs(float(difference_kw))


def _members(
    limit: Limit, lines: Sequence[Line], loads: Sequence[FixedLoad]
) -> tuple[list[Line], list[FixedLoad]]:
    return (
        [line for line in lines if limit.holds(line.asset.name)],
        [load for load in loads if limit.holds(load.name)],
    )


def _excess(limit: Limit, way: str, excess_kw: Series, limit_kw: Series) -> Iterator[Violation]:
    """The violation of one limit over all slots, if it is."""
    beyond = np.flatnonzero(excess_kw > TOLERANCE)
    if not len(beyond):
        return
    worst = int(np.argmax(excess_kw))
    allowed, amount = float(limit_kw[worst]), float(excess_kw[worst])
    words = f"reached {spoken(allowed + amount)} kW in slot {worst}; the limit is {spoken(allowed)}"
    place = f"{limit.place}.max_{way}_power_kw"
    yield Violation(place, limit.name, "kW", int(beyond[0]), amount, words, len(beyond))
