"""What departing from the previous plan costs."""

from __future__ import annotations

from dataclasses import dataclass

from gridpact.compute.model.dispatch.draft import Draft, Power, add_power
from gridpact.compute.model.dispatch.site import Series
from gridpact.compute.solve.highs import Block


@dataclass(frozen=True, slots=True)
class DeviationBlock:
    """Rows power − previous power = more − less, of the slots that the previous plan covers."""

    rows: Block


def add_deviation(
    draft: Draft, power: Power, previous_kw: Series, cost_per_kwh: float
) -> DeviationBlock:
    """The cost of each kWh more or less than the previous plan."""
    program, covered = draft.program, len(previous_kw)
    cost = draft.site.slot_hours * cost_per_kwh
    more, less = (program.variables(covered, cost=cost) for _ in range(2))
    rows = program.equal(previous_kw - power.given_kw[:covered], (-1.0, more), (1.0, less))
    add_power(program, rows, 1.0, power)
    return DeviationBlock(rows)
