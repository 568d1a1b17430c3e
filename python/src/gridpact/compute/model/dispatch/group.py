"""Groups: assets and loads behind one limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.draft import Draft, Power, add_power
from gridpact.compute.model.dispatch.site import Group
from gridpact.compute.solve.highs import Block


@dataclass(frozen=True, slots=True)
class GroupBlock:
    """The rows of a group's limits, one a slot; empty where there is no limit."""

    group: Group
    import_rows: Block
    export_rows: Block


def add_group(draft: Draft, group: Group, powers: Mapping[str, Power], field: str) -> GroupBlock:
    """−max_export ≤ Σ power of members ≤ max_import. ``powers`` are those of what stands in it."""
    program = draft.program
    given = np.sum([powers[name].given_kw for name in powers], axis=0)

    def rows(limit_kw: float | None, sign: float, direction: str) -> Block:
        if limit_kw is None:
            return program.empty_rows(0, 0.0, 0.0)
        block = program.empty_rows(draft.site.slots, -np.inf, limit_kw - sign * given)
        for power in powers.values():
            add_power(program, block, sign, power)
        relief = draft.relief(f"{field}.max_{direction}_power_kw")
        if relief is not None:
            program.extend(block, (-1.0, np.repeat(relief, draft.site.slots)))
        return block

    return GroupBlock(
        group,
        rows(group.max_import_power_kw, 1.0, "import"),
        rows(group.max_export_power_kw, -1.0, "export"),
    )
