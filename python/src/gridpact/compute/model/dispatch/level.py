"""Stored energy within its window, which it may have been measured outside of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.draft import Draft
from gridpact.compute.model.dispatch.site import Series
from gridpact.compute.solve.highs import Block, Coefficient


@dataclass(frozen=True, slots=True)
class Level:
    """Stored energy before the first slot and at the end of each, and the rows of its balance.

    ``outside`` is how far it is outside its window at the end of each slot, empty where it was
    measured within; ``above`` says at which end.
    """

    stored: Block
    rows: Block
    lower_kwh: Series
    upper_kwh: Series
    outside: Block
    outside_before_kwh: float
    above: bool
    window_rows: Block  # of the end at which it is outside


def add_level(
    draft: Draft,
    count: int,
    *,
    initial_kwh: float,
    window_kwh: tuple[float, float],
    at_end_kwh: tuple[float, float] = (-np.inf, np.inf),
    kept: float = 1.0,
    inflow_kwh: Coefficient = 0.0,
) -> Level:
    """Energy of ``count`` slots; its rows say: end − kept·(end before) − … = inflow.

    What charges and discharges is for the caller to add to the rows. ``at_end_kwh`` is what the
    last slot must keep besides the window.
    """
    program = draft.program
    least, most = window_kwh
    above, below = initial_kwh > most, initial_kwh < least
    # At the end at which it is outside, the window is a row.
    lower = np.full(count + 1, -np.inf if below else least)
    upper = np.full(count + 1, np.inf if above else most)
    at_end_lower, at_end_upper = at_end_kwh
    lower[-1], upper[-1] = max(lower[-1], at_end_lower), min(upper[-1], at_end_upper)
    lower[0] = upper[0] = initial_kwh
    stored = program.variables(count + 1, lower=lower, upper=upper)
    rows = program.equal(inflow_kwh, (1.0, stored[1:]), (-kept, stored[:-1]))
    distance = max(initial_kwh - most, least - initial_kwh, 0.0)
    outside, window_rows = program.variables(0), program.empty_rows(0, 0.0, 0.0)
    if distance > 0:
        outside = program.variables(count, upper=distance, cost=draft.site.outside_cost_per_kwh)
        program.at_most(0.0, (1.0, outside[1:]), (-1.0, outside[:-1]))
        window_rows = (
            program.at_most(most, (1.0, stored[1:]), (-1.0, outside))
            if above
            else program.rows(least, np.inf, (1.0, stored[1:]), (1.0, outside))
        )
    return Level(
        stored,
        rows,
        np.maximum(lower[1:], least),
        np.minimum(upper[1:], most),
        outside,
        distance,
        above,
        window_rows,
    )
