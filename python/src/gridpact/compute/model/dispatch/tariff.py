"""What is charged on imports beyond their price: tiers and demand charges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.draft import Draft
from gridpact.compute.model.dispatch.grid import GridBlock
from gridpact.compute.model.dispatch.site import DemandCharge, Indices, Series, Site, Tiers
from gridpact.compute.solve.highs import Block

MICROSECONDS = 1_000_000


def tier_parts(tiers: Tiers) -> tuple[Series, Series]:
    """How many kWh each part still has room for, and its surcharge.

    The first part lies below the first tier and costs nothing more; the last has no end.
    """
    borders = np.array([0.0, *(start for start, _ in tiers.tiers), np.inf])
    left = np.diff(np.maximum(borders, tiers.imported_energy_kwh))
    return left, np.array([0.0, *(surcharge for _, surcharge in tiers.tiers)])


def tier_energies(tiers: Tiers, imported_kwh: float) -> Series:
    """How much of an import lies within each part."""
    left, _ = tier_parts(tiers)
    before = np.concatenate([[0.0], np.cumsum(left[:-1])])
    return np.clip(imported_kwh - before, 0.0, left)


def add_tiers(draft: Draft, tiers: Tiers, grid: GridBlock) -> None:
    """Imported energy divided into parts; where a later one is cheaper, in order by choice."""
    program, site = draft.program, draft.site
    left, surcharges = tier_parts(tiers)
    most_kwh = site.slot_hours * float(grid.most_import_kw.sum())
    widths = np.minimum(left, most_kwh)
    within = program.variables(len(left), upper=left, cost=surcharges)
    program.sum(0.0, 0.0, (site.slot_hours, grid.imported), (-1.0, within))
    if (np.diff(surcharges) < 0).any():
        full = draft.yes_or_no("tiers", len(left) - 1)
        # A part that can not be filled anyhow leaves the one after it empty.
        reachable = left[:-1] <= most_kwh
        program.rows(0.0, np.inf, (1.0, within[:-1]), (-np.where(reachable, left[:-1], 0.0), full))
        program.at_most(0.0, (1.0, within[1:]), (-np.where(reachable, widths[1:], 0.0), full))


@dataclass(frozen=True, slots=True)
class Intervals:
    """The billing intervals of a charge: hours of slot ``slots[i]`` lie in interval ``of[i]``."""

    hours: float  # of one interval
    of: Indices
    slots: Indices
    overlap_h: Series
    before_kwh: Series  # of each interval

    @property
    def count(self) -> int:
        return len(self.before_kwh)

    def means_kw(self, import_kw: Series) -> Series:
        """The mean import of each interval."""
        energy = self.before_kwh.copy()
        np.add.at(energy, self.of, self.overlap_h * import_kw[self.slots])
        return energy / self.hours


def billing_intervals(site: Site, charge: DemandCharge) -> Intervals:
    """The intervals in which slots count; slots longer than an interval stand for it alone."""
    interval_h = charge.interval_s / 3600
    counting = np.flatnonzero(charge.counts)
    nothing_before = np.zeros(len(counting))
    if site.slot_hours > interval_h:
        every = np.arange(len(counting))
        return Intervals(
            interval_h, every, counting, np.full(len(counting), interval_h), nothing_before
        )
    # Whole microseconds, so that a slot ends exactly where an interval begins.
    slot, interval = (round(h * 3600) * MICROSECONDS for h in (site.slot_hours, interval_h))
    start = round(site.start_s * MICROSECONDS)
    begins = start + counting * slot
    ends = begins + slot
    first = begins // interval
    border = np.minimum(ends, (first + 1) * interval)
    rest = ends - border
    goes_on = rest > 0
    numbers = np.concatenate([first, first[goes_on] + 1])
    slots = np.concatenate([counting, counting[goes_on]])
    overlap = np.concatenate([border - begins, rest[goes_on]]) / (3600 * MICROSECONDS)
    known, of = np.unique(numbers, return_inverse=True)
    before = np.where(known == start // interval, charge.energy_so_far_kwh, 0.0)
    return Intervals(interval_h, of, slots, overlap, before)


@dataclass(frozen=True, slots=True)
class DemandBlock:
    """A demand charge in the program: what exceeds the peak so far, and a row an interval."""

    intervals: Intervals
    rows: Block


def add_demand_charge(draft: Draft, charge: DemandCharge, grid: GridBlock) -> DemandBlock:
    """Mean import of each interval ≤ peak so far + what is paid for."""
    program = draft.program
    intervals = billing_intervals(draft.site, charge)
    more = program.variables(1, cost=charge.price_per_kw)
    rows = program.empty_rows(
        intervals.count, -np.inf, charge.peak_so_far_kw - intervals.before_kwh / intervals.hours
    )
    program.extend(rows, (-1.0, np.repeat(more, intervals.count)))
    program.extend(
        rows[intervals.of],
        (intervals.overlap_h / intervals.hours, grid.imported[intervals.slots]),
    )
    return DemandBlock(intervals, rows)
