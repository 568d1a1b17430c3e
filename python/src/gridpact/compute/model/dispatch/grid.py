"""The grid connection: import and export, never both in a slot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.draft import Draft, Flows, Power
from gridpact.compute.model.dispatch.site import Series
from gridpact.compute.solve.highs import Block


@dataclass(frozen=True, slots=True)
class GridLimit:
    """A limit of one direction: a bound of the flow, or rows where ``relief`` lets it give way."""

    limit_kw: Series
    relief: Block | None
    rows: Block


@dataclass(frozen=True, slots=True)
class GridBlock:
    """The grid connection in the program."""

    flows: Flows
    most_import_kw: Series  # what can be imported at all
    import_limits: tuple[GridLimit, ...]
    export_limits: tuple[GridLimit, ...]

    @property
    def imported(self) -> Block:
        return self.flows.forward

    @property
    def exported(self) -> Block:
        return self.flows.backward


def add_grid(draft: Draft, powers: Iterable[Power]) -> GridBlock:
    """Import and export within the limits; ``powers`` is all that stands behind the connection."""
    site, hours = draft.site, draft.site.slot_hours
    most_import, most_export = _greatest_exchange(draft, powers)
    firm_import, giving_import = _limits(
        draft, "import", site.max_import_power_kw, site.import_limits_kw
    )
    firm_export, giving_export = _limits(
        draft, "export", site.max_export_power_kw, site.export_limits_kw
    )
    flows = draft.opposite_flows(
        "grid",
        np.arange(site.slots),
        limits_kw=(firm_import, firm_export),
        most_kw=(most_import, most_export),
        costs=(hours * site.import_price_per_kwh, -hours * site.export_price_per_kwh),
    )

    def limits(
        flow: Block, firm: Series, giving: list[tuple[Series, Block]]
    ) -> tuple[GridLimit, ...]:
        no_rows = draft.program.empty_rows(0, 0.0, 0.0)
        found = [GridLimit(firm, None, no_rows)] if np.isfinite(firm).all() else []
        for limit, relief in giving:
            every = np.repeat(relief, site.slots)
            rows = draft.program.at_most(limit, (1.0, flow), (-1.0, every))
            found.append(GridLimit(limit, relief, rows))
        return tuple(found)

    return GridBlock(
        flows,
        np.minimum(firm_import, most_import),
        limits(flows.forward, firm_import, giving_import),
        limits(flows.backward, firm_export, giving_export),
    )


def _limits(
    draft: Draft, direction: str, limit_kw: float, limits_kw: Series | None
) -> tuple[Series, list[tuple[Series, Block]]]:
    """What is firm, the smaller of the two limits, and which of them may give way."""
    slots = draft.site.slots
    firm = np.full(slots, np.inf)
    giving: list[tuple[Series, Block]] = []
    for field, limit in (
        (f"grid.max_{direction}_power_kw", np.full(slots, limit_kw)),
        (f"grid.{direction}_limits_kw", limits_kw),
    ):
        if limit is None:
            continue
        relief = draft.relief(field)
        if relief is None:
            firm = np.minimum(firm, limit)
        else:
            giving.append((limit, relief))
    return firm, giving


def _greatest_exchange(draft: Draft, powers: Iterable[Power]) -> tuple[Series, Series]:
    """What can be imported and exported at most: every asset at the end of its range."""
    lower, upper = draft.program.bounds()
    least, most = draft.no_power(), draft.no_power()
    for power in powers:
        least += power.given_kw
        most += power.given_kw
        for part in power.parts:
            ends = part.coefficient * np.stack([lower[part.variables], upper[part.variables]])
            np.add.at(least, part.slots, ends.min(axis=0))
            np.add.at(most, part.slots, ends.max(axis=0))
    return np.maximum(most, 0.0), np.maximum(-least, 0.0)
