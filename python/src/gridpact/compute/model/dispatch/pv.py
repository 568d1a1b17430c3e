"""PV: what the sun gives, less what is curtailed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.draft import Draft, Part, Power
from gridpact.compute.model.dispatch.site import Pv, Series
from gridpact.compute.solve.highs import Block


@dataclass(frozen=True, slots=True)
class PvPool:
    """Curtailable plants that nothing tells apart: one variable a slot for all of them."""

    plants: tuple[Pv, ...]
    used: Block
    power: Power

    @property
    def available_power_kw(self) -> Series:
        return np.sum([plant.available_power_kw for plant in self.plants], axis=0)


def add_curtailable_pv(draft: Draft) -> tuple[PvPool, ...]:
    """The curtailable plants, together where no group and no previous plan tells them apart."""
    site = draft.site
    alike: dict[tuple[str, ...], list[Pv]] = {}
    for plant in site.pv:
        if plant.curtailable:
            groups = tuple(group.name for group in site.groups_of(plant.name))
            planned = site.previous_plan and plant.name in site.previous_plan.power_kw
            alike.setdefault((*groups, f"plant {plant.name}") if planned else groups, []).append(
                plant
            )
    return tuple(_pool(draft, tuple(plants)) for plants in alike.values())


def _pool(draft: Draft, plants: tuple[Pv, ...]) -> PvPool:
    available = np.sum([plant.available_power_kw for plant in plants], axis=0)
    used = draft.program.variables(draft.site.slots, upper=available)
    every_slot = np.arange(draft.site.slots)
    return PvPool(plants, used, Power(draft.no_power(), (Part(every_slot, -1.0, used),)))
