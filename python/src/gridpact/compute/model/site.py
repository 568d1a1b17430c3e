"""What a schedule is made for: a site, its batteries, its PV, its prices. Pure values.

Units and signs are in the names: power in kW, energy in kWh, prices in the site's currency per kWh.
Every series is a float64 array with one value a slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery's limits, and what it holds before the first and, if given, after the last slot."""

    name: str
    min_energy_kwh: float
    max_energy_kwh: float
    max_charge_power_kw: float
    max_discharge_power_kw: float
    charge_efficiency: float
    discharge_efficiency: float
    wear_cost_per_kwh: float
    initial_energy_kwh: float
    final_energy_kwh: float | None


@dataclass(frozen=True, slots=True)
class Pv:
    """A PV plant: what it could deliver, and whether less may be ordered."""

    name: str
    available_power_kw: Series
    curtailable: bool


@dataclass(frozen=True, slots=True)
class Site:
    """One grid connection with all that stands behind it."""

    slot_hours: float
    load_power_kw: Series
    import_price_per_kwh: Series
    export_price_per_kwh: Series
    max_import_power_kw: float
    max_export_power_kw: float
    batteries: tuple[Battery, ...]
    pv: tuple[Pv, ...]

    @property
    def slots(self) -> int:
        return len(self.load_power_kw)

    @property
    def net_load_power_kw(self) -> Series:
        """Load less the PV that nobody can curtail; negative is a surplus."""
        fixed = (pv.available_power_kw for pv in self.pv if not pv.curtailable)
        return self.load_power_kw - sum(fixed, start=np.zeros(self.slots))

    @property
    def curtailable_power_kw(self) -> Series:
        """PV power that may be used or not."""
        free = (pv.available_power_kw for pv in self.pv if pv.curtailable)
        return sum(free, start=np.zeros(self.slots))
