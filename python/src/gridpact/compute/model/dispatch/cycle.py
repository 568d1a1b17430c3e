"""Runs of machines: only the start is free."""

from __future__ import annotations

from dataclasses import dataclass

from gridpact.compute.model.dispatch.draft import Draft, Part, Power
from gridpact.compute.model.dispatch.site import Cycle
from gridpact.compute.solve.highs import Block


@dataclass(frozen=True, slots=True)
class CycleBlock:
    """A cycle in the program: one variable for each slot in which it may start."""

    starts: Block
    power: Power


def add_cycle(draft: Draft, cycle: Cycle) -> CycleBlock:
    """It starts once, and follows its profile from there."""
    first_slots = cycle.starts
    starts = draft.yes_or_no(f"cycle {cycle.name}", len(first_slots))
    draft.program.sum(1.0, 1.0, (1.0, starts))
    parts = (
        Part(first_slots + offset, power_kw, starts)
        for offset, power_kw in enumerate(cycle.power_kw.tolist())
    )
    return CycleBlock(starts, Power(draft.no_power(), tuple(parts)))
