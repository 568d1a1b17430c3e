"""Loads that must take an amount of energy within a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.draft import Draft, Part, Power
from gridpact.compute.model.dispatch.site import FlexibleLoad
from gridpact.compute.solve.highs import Block


@dataclass(frozen=True, slots=True)
class FlexibleLoadBlock:
    """A flexible load in the program: its power in each slot of its window, and its energy row."""

    power_kw: Block
    energy: Block
    power: Power


def add_flexible_load(draft: Draft, load: FlexibleLoad, field: str) -> FlexibleLoadBlock:
    """The energy asked for, at a power between least and most wherever it runs."""
    program, slots = draft.program, load.slots
    power = program.variables(len(slots), upper=load.max_power_kw)
    relief = draft.relief(f"{field}.energy_kwh")
    taken = (draft.site.slot_hours, power)
    if relief is None:
        energy = program.sum(load.energy_kwh, load.energy_kwh, taken)
    else:
        energy = program.sum(load.energy_kwh, np.inf, taken, (1.0, relief))
        program.sum(-np.inf, load.energy_kwh, taken)
    if load.min_power_kw > 0:
        runs = draft.yes_or_no(f"flexible load {load.name}", len(slots))
        program.at_most(0.0, (1.0, power), (-load.max_power_kw, runs))
        program.at_most(0.0, (load.min_power_kw, runs), (-1.0, power))
        if not load.interruptible:
            starts = program.variables(len(slots), upper=1.0)
            program.at_most(0.0, (1.0, runs[:1]), (-1.0, starts[:1]))
            program.at_most(0.0, (1.0, runs[1:]), (-1.0, runs[:-1]), (-1.0, starts[1:]))
            program.sum(-np.inf, 1.0, (1.0, starts))
    return FlexibleLoadBlock(power, energy, Power(draft.no_power(), (Part(slots, 1.0, power),)))
