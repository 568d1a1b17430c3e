"""What the same slots cost with the batteries idle: a closed form, slot by slot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.plan import energy_cost
from gridpact.compute.model.site import Series, Site


@dataclass(frozen=True, slots=True)
class Baseline:
    """The cost without batteries; ``within_grid_limits`` is False where the limits forbid that."""

    cost: float
    within_grid_limits: bool


def baseline(site: Site) -> Baseline:
    """The cheapest use of curtailable PV in each slot, everything else being given.

    Where some slot cannot keep the grid's limits, all slots are computed without them.
    """
    highest = site.net_load_power_kw
    lowest = highest - site.curtailable_power_kw
    limited_lowest = np.maximum(lowest, -site.max_export_power_kw)
    limited_highest = np.minimum(highest, site.max_import_power_kw)
    possible = bool((limited_lowest <= limited_highest).all())
    if possible:
        lowest, highest = limited_lowest, limited_highest
    return Baseline(energy_cost(site, _cheapest_exchange(site, lowest, highest)), possible)


def _cheapest_exchange(site: Site, lowest: Series, highest: Series) -> Series:
    """The power at the grid connection within bounds that costs least: a bound, or 0 within."""
    # Least curtailment first: the first of equal costs is taken.
    candidates = np.stack([lowest, np.clip(0.0, lowest, highest), highest])
    price = np.where(candidates > 0, site.import_price_per_kwh, site.export_price_per_kwh)
    best = np.argmin(price * candidates, axis=0)
    return candidates[best, np.arange(site.slots)]
