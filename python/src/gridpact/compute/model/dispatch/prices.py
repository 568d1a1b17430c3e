"""What each limit and each kWh is worth in a plan: docs/compute/dispatch.md, "Duals"."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gridpact.compute.model.dispatch.draft import Way
from gridpact.compute.model.dispatch.group import GroupBlock
from gridpact.compute.model.dispatch.reserve import Direction, ReserveBlock
from gridpact.compute.model.dispatch.search import Priced
from gridpact.compute.model.dispatch.site import Mask, Series
from gridpact.compute.model.dispatch.storage import BatteryBlock
from gridpact.compute.solve.highs import Block


@dataclass(frozen=True, slots=True)
class BatteryValues:
    """What one unit more of each limit of a battery would save over the plan."""

    capacity_per_kwh: float
    charge_power_per_kw: float
    discharge_power_per_kw: float


@dataclass(frozen=True)
class Prices:
    """The duals of a plan, each as what one unit more costs or saves; series of all slots."""

    priced: Priced

    @cached_property
    def grid_per_kwh(self) -> Series:
        """p: what one more kWh of load costs."""
        return self._dual(self.priced.formulation.balance) / self._hours

    def at(self, name: str) -> Series:
        """What one more kWh at this asset costs, with what its group and the last plan add.

        Where its power is held, what holds it adds too, so that it stays as it is.
        """
        formulation, hours = self.priced.formulation, self._hours
        price = self.grid_per_kwh.copy()
        for block in formulation.groups:
            if name in block.group.members:
                towards, away = self.group_per_kwh(block)
                price += towards - away
        rows: list[Block] = []
        if name in formulation.deviations:
            rows.append(formulation.deviations[name].rows)
        if name in formulation.held:
            rows.append(formulation.held[name])
        for block in rows:
            price[: len(block)] -= self._dual(block) / hours
        return price

    def group_per_kwh(self, block: GroupBlock) -> tuple[Series, Series]:
        """What one more kWh through a group's limit saves, towards its members and away."""
        return self._saved(block.import_rows), self._saved(block.export_rows)

    @cached_property
    def import_limit_per_kwh(self) -> Series:
        """What one more kWh through the import limit saves; nothing where a choice closed it."""
        grid = self.priced.formulation.grid
        may_import = grid.flows.ways != Way.BACKWARD
        value = np.where(may_import, self._bound_saved(grid.imported), 0.0) / self._hours
        for limit in grid.import_limits:
            value = value + self._saved(limit.rows)
        return value + self._at_grid("downward")

    @cached_property
    def export_limit_per_kwh(self) -> Series:
        """The same for the export limit."""
        grid = self.priced.formulation.grid
        may_export = grid.flows.ways != Way.FORWARD
        value = np.where(may_export, self._bound_saved(grid.exported), 0.0) / self._hours
        for limit in grid.export_limits:
            value = value + self._saved(limit.rows)
        return value + self._at_grid("upward")

    @cached_property
    def peak_per_kwh(self) -> Series:
        """What an imported kWh adds to demand charges."""
        formulation = self.priced.formulation
        price = np.zeros(formulation.site.slots)
        for block in formulation.demand_charges:
            its = block.intervals
            of_interval = -self._dual(block.rows)
            added = of_interval[its.of] * its.overlap_h / its.hours
            np.add.at(price, its.slots, added / self._hours)
        return price

    def reserve_per_kw(self, direction: Direction) -> Series | None:
        """What one kW more of reserve costs; None where none is asked for."""
        block = self._reserve(direction)
        if block is None:
            return None
        price = self._dual(block.required)
        for rows in block.at_grid:
            price = price - self._dual(rows)
        return price

    def reserve_is_tight(self, name: str) -> Mask:
        """Where reserve has a price and the asset cannot give more of it."""
        tight = np.zeros(self.priced.formulation.site.slots, dtype=np.bool_)
        for block in self.priced.formulation.reserves:
            share = block.shares.get(name)
            price = self.reserve_per_kw(block.direction)
            if share is None or price is None:
                continue
            at_limit = sum(
                (-self._dual(rows) for rows in (share.power_rows, *share.energy_rows)),
                start=np.zeros(len(tight)),
            )
            tight |= (price > PRICE_TOLERANCE) & (at_limit > PRICE_TOLERANCE)
        return tight

    def available_pv_per_kwh(self, used: Block, name: str) -> Series:
        """What one more available kWh of a curtailable plant saves."""
        value = self._bound_saved(used)
        block = self._reserve("upward")
        if block is not None:
            value = value - self._dual(block.shares[name].power_rows)
        return value / self._hours

    def battery(self, block: BatteryBlock, name: str, *, final_is_given: bool) -> BatteryValues:
        """What one more of each limit saves; each counts wherever it stands."""
        storage = block.storage
        level, flows = storage.level, storage.flows
        ceiling = self._bound_saved(level.stored[1:])
        if final_is_given:
            ceiling[-1] = 0.0
        if len(level.outside) and level.above:
            ceiling = ceiling - self._dual(level.window_rows)
        capacity = float(ceiling.sum())
        charge, discharge = (
            float(np.where(open_, self._bound_saved(flow), 0.0).sum())
            for flow, open_ in (
                (flows.forward, storage.may_charge),
                (flows.backward, storage.may_discharge),
            )
        )
        for reserve in self.priced.formulation.reserves:
            share = reserve.shares[name]
            by_power = -float(self._dual(share.power_rows).sum())
            by_energy = -float(sum(self._dual(rows).sum() for rows in share.energy_rows))
            if reserve.direction == "upward":
                discharge += by_power
            else:
                charge += by_power
                capacity += by_energy
        return BatteryValues(capacity, charge, discharge)

    def stored_per_kwh(self, rows: Block) -> Series:
        """What one more stored kWh saves, as the solver has it."""
        return -self._dual(rows)

    def row_has_price(self, rows: Block) -> Mask:
        """Where rows of the slots have a dual; nowhere without rows."""
        if not len(rows):
            return np.zeros(self.priced.formulation.site.slots, dtype=np.bool_)
        return np.abs(self._dual(rows)) > PRICE_TOLERANCE

    def row_per_unit(self, rows: Block) -> Series:
        """How the cost changes with the right-hand side of rows."""
        return self._dual(rows)

    @property
    def _hours(self) -> float:
        return self.priced.formulation.site.slot_hours

    def _dual(self, rows: Block) -> Series:
        return self.priced.solution.dual(rows)

    def _saved(self, rows: Block) -> Series:
        """What one kWh more on the right of rows of all slots saves; 0 without rows."""
        if not len(rows):
            return np.zeros(self.priced.formulation.site.slots)
        return -self._dual(rows) / self._hours

    def _bound_saved(self, variables: Block) -> Series:
        """What one unit more of the upper bound saves."""
        return np.maximum(-self.priced.solution.bound_dual(variables), 0.0)

    def _reserve(self, direction: Direction) -> ReserveBlock | None:
        for block in self.priced.formulation.reserves:
            if block.direction == direction:
                return block
        return None

    def _at_grid(self, direction: Direction) -> Series:
        block = self._reserve(direction)
        rows = () if block is None else block.at_grid
        return sum(
            (self._saved(one) for one in rows), start=np.zeros(self.priced.formulation.site.slots)
        )


PRICE_TOLERANCE = 1e-6
"""Prices closer than this are equal."""
