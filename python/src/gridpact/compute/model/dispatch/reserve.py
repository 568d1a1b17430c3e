"""Reserve: power that batteries, generators and curtailable PV hold back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gridpact.compute.model.dispatch.draft import Draft
from gridpact.compute.model.dispatch.generator import GeneratorBlock
from gridpact.compute.model.dispatch.grid import GridBlock
from gridpact.compute.model.dispatch.pv import PvPool
from gridpact.compute.model.dispatch.site import Generator, Series
from gridpact.compute.model.dispatch.storage import StorageBlock
from gridpact.compute.solve.highs import Block, LinearProgram

Direction = Literal["upward", "downward"]


@dataclass(frozen=True, slots=True)
class Share:
    """What one asset holds back in each slot, and the rows that limit it."""

    held: Block
    power_rows: Block  # by what is left of its power
    energy_rows: tuple[Block, ...]  # by what is stored, or what room is left


@dataclass(frozen=True, slots=True)
class ReserveBlock:
    """One direction of the reserve in the program, with the share of each asset by name."""

    direction: Direction
    required: Block
    at_grid: tuple[Block, ...]  # one block a limit of the connection
    shares: Mapping[str, Share]


def add_reserve(
    draft: Draft,
    direction: Direction,
    required_kw: Series,
    grid: GridBlock,
    batteries: Mapping[str, StorageBlock],
    generators: Mapping[str, tuple[Generator, GeneratorBlock]],
    pools: Mapping[str, PvPool],
) -> ReserveBlock:
    """Σ shares ≥ required, and room for it at the grid connection."""
    program, slots = draft.program, draft.site.slots
    required = program.empty_rows(slots, required_kw, np.inf)
    if direction == "upward":
        limits, flow, against = grid.export_limits, grid.exported, grid.imported
    else:
        limits, flow, against = grid.import_limits, grid.imported, grid.exported
    at_grid: list[Block] = []
    for limit in limits:
        rows = program.at_most(limit.limit_kw - required_kw, (1.0, flow), (-1.0, against))
        if limit.relief is not None:
            program.extend(rows, (-1.0, np.repeat(limit.relief, slots)))
        at_grid.append(rows)
    if (relief := draft.relief(f"reserve.{direction}_power_kw")) is not None:
        every = np.repeat(relief, slots)
        program.extend(required, (1.0, every))
        for rows in at_grid:
            program.extend(rows, (-1.0, every))
    shares = {
        **{name: _of_battery(draft, direction, name, block) for name, block in batteries.items()},
        **{
            name: _of_generator(program, direction, generator, block)
            for name, (generator, block) in generators.items()
        },
        **{name: _of_pool(program, direction, pool) for name, pool in pools.items()},
    }
    for share in shares.values():
        program.extend(required, (1.0, share.held))
    return ReserveBlock(direction, required, tuple(at_grid), shares)


def _of_battery(draft: Draft, direction: Direction, name: str, storage: StorageBlock) -> Share:
    """Within the change of power that is left, and held for the duration at both ends of a slot."""
    program, cell, level = draft.program, storage.cell, storage.level
    duration_h = draft.site.reserve.duration_h
    held = program.variables(draft.site.slots)
    charge, discharge = storage.flows.forward, storage.flows.backward
    if direction == "upward":
        power_rows = program.at_most(
            cell.max_discharge_power_kw, (1.0, held), (1.0, discharge), (-1.0, charge)
        )
        per_kw = duration_h / cell.discharge_efficiency
        sign, limit_kwh, outside = -1.0, -cell.min_energy_kwh, not level.above
    else:
        power_rows = program.at_most(
            cell.max_charge_power_kw, (1.0, held), (1.0, charge), (-1.0, discharge)
        )
        per_kw = duration_h * cell.charge_efficiency
        sign, limit_kwh, outside = 1.0, cell.max_energy_kwh, level.above
    outside = outside and len(level.outside) > 0
    # Twice the distance: a row that is off binds nothing.
    distance = 2.0 * level.outside_before_kwh if outside else 0.0
    at_start, at_end = (
        program.at_most(limit_kwh + distance, (per_kw, held), (sign, stored))
        for stored in (level.stored[:-1], level.stored[1:])
    )
    if outside:
        # Energy outside the window is no reserve. Before the first slot it is outside; after that
        # a choice says whether it is inside.
        inside = np.concatenate(
            [
                program.variables(1, upper=0.0),
                draft.yes_or_no(f"{direction} reserve {name}", draft.site.slots),
            ]
        ).astype(np.int32)
        most_kw = cell.max_discharge_power_kw + cell.max_charge_power_kw + 1.0
        for rows, is_inside in ((at_start, inside[:-1]), (at_end, inside[1:])):
            program.extend(rows, (distance, is_inside))
            program.at_most(0.0, (1.0, held), (-most_kw, is_inside))
    return Share(held, power_rows, (at_start, at_end))


def _of_generator(
    program: LinearProgram, direction: Direction, generator: Generator, block: GeneratorBlock
) -> Share:
    held = program.variables(len(block.running))
    sign, limit_kw = (
        (1.0, generator.max_power_kw) if direction == "upward" else (-1.0, -generator.min_power_kw)
    )
    output = ((sign, segment) for segment in block.segments)
    rows = program.at_most(0.0, (1.0, held), *output, (-limit_kw, block.running))
    return Share(held, rows, ())


def _of_pool(program: LinearProgram, direction: Direction, pool: PvPool) -> Share:
    held = program.variables(len(pool.used))
    if direction == "upward":
        rows = program.at_most(pool.available_power_kw, (1.0, held), (1.0, pool.used))
    else:
        rows = program.at_most(0.0, (1.0, held), (-1.0, pool.used))
    return Share(held, rows, ())
