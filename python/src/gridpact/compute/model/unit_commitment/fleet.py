"""What a commitment is made for: thermal units, renewable power, demand and reserve. Pure values.

Powers are in MW and generation is positive; every series is a float64 array with one value a slot.
Ramps and times count in slots here: what the contract gives in hours is rounded up once, on the
way in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
Commitment = NDArray[np.bool_]
"""Which unit (row) is on in which slot (column)."""

TIME_TOLERANCE_H = 1e-9


@dataclass(frozen=True, slots=True)
class StartupCategory:
    """What a start costs after at least so many hours off."""

    min_off_time_h: float
    cost: float


@dataclass(frozen=True, slots=True)
class CostPoint:
    """What an hour at this power costs."""

    power_mw: float
    cost_per_h: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A straight piece of the cost curve; its bounds are powers above the unit's minimum."""

    low_mw: float
    high_mw: float
    cost_per_mwh: float

    @property
    def width_mw(self) -> float:
        return self.high_mw - self.low_mw


@dataclass(frozen=True, slots=True)
class ThermalUnit:
    """A unit that is off, or on between its minimum and maximum power.

    What does not limit it is no greater than it must be: ramps at most its range, start-up and
    shutdown limits at most its maximum.
    """

    name: str
    must_run: bool
    min_power_mw: float
    max_power_mw: float
    ramp_up_mw: float  # from slot to slot
    ramp_down_mw: float
    startup_limit_mw: float
    shutdown_limit_mw: float
    min_up_slots: int  # at least 1
    min_down_slots: int
    initial_power_mw: float | None  # None: off
    initial_duration_h: float
    held_slots: int  # how many first slots it must stay on, or off, as it is
    categories: tuple[StartupCategory, ...]
    cost_curve: tuple[CostPoint, ...]

    @property
    def initially_on(self) -> bool:
        return self.initial_power_mw is not None

    @property
    def range_mw(self) -> float:
        """How much more than its minimum it can produce."""
        return self.max_power_mw - self.min_power_mw

    @property
    def initial_range_mw(self) -> float:
        """What it produced above its minimum before the first slot; 0 when off."""
        power = self.initial_power_mw
        return 0.0 if power is None else power - self.min_power_mw

    @property
    def first_slot_mw(self) -> float:
        """Power above minimum, and reserve, in the slot of a start: startup limit and ramp."""
        return min(self.startup_limit_mw - self.min_power_mw, self.ramp_up_mw, self.range_mw)

    @property
    def last_slot_mw(self) -> float:
        """Power above minimum, and reserve, in the slot before a stop."""
        return min(self.shutdown_limit_mw - self.min_power_mw, self.range_mw)

    @property
    def last_power_mw(self) -> float:
        """Power above minimum in the slot before a stop; the ramp binds power only."""
        return min(self.last_slot_mw, self.ramp_down_mw)

    @property
    def can_stop_at_once(self) -> bool:
        """Whether its initial power lets it be off in the first slot."""
        return self.initial_range_mw <= self.last_power_mw

    @property
    def no_load_cost_per_h(self) -> float:
        return self.cost_curve[0].cost_per_h

    @property
    def segments(self) -> tuple[Segment, ...]:
        lowest = self.min_power_mw
        return tuple(
            Segment(
                low.power_mw - lowest,
                high.power_mw - lowest,
                (high.cost_per_h - low.cost_per_h) / (high.power_mw - low.power_mw),
            )
            for low, high in zip(self.cost_curve, self.cost_curve[1:], strict=False)
        )

    def category_after(self, off_time_h: float) -> int:
        """Which start-up category counts after so many hours off."""
        passed = [
            index
            for index, category in enumerate(self.categories)
            if category.min_off_time_h <= off_time_h + TIME_TOLERANCE_H
        ]
        return passed[-1] if passed else 0

    def startup_cost_after(self, off_time_h: float) -> float:
        return self.categories[self.category_after(off_time_h)].cost


@dataclass(frozen=True, slots=True)
class Fleet:
    """The whole problem. Renewable units cost nothing, so that only their sum matters to it."""

    slot_hours: float
    demand_mw: Series
    reserve_requirement_mw: Series
    units: tuple[ThermalUnit, ...]
    min_renewable_mw: Series  # what cannot be curtailed
    max_renewable_mw: Series

    @property
    def slots(self) -> int:
        return len(self.demand_mw)


def whole_slots(hours: float, slot_hours: float) -> int:
    """Hours as slots, rounded up; none for no or negative hours."""
    return max(0, math.ceil((hours - TIME_TOLERANCE_H) / slot_hours))
