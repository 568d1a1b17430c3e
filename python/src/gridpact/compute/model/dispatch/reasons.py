"""Why each asset does what it does: docs/compute/dispatch.md, "Reasons"."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.dispatch.generator import GeneratorBlock, held_at_first, least_slots
from gridpact.compute.model.dispatch.plan import (
    GeneratorPlan,
    Plan,
    StoragePlan,
    TankPlan,
    granted_kw,
)
from gridpact.compute.model.dispatch.prices import Prices
from gridpact.compute.model.dispatch.pv import PvPool
from gridpact.compute.model.dispatch.search import TOLERANCE, Priced
from gridpact.compute.model.dispatch.site import (
    Battery,
    FlexibleLoad,
    Generator,
    HeatPump,
    Indices,
    Mask,
    Series,
    Site,
    Vehicle,
)
from gridpact.compute.model.dispatch.storage import StorageBlock
from gridpact.compute.model.dispatch.values import Chain, cost_of_less, value_of_more

Rules = list[tuple[str, Mask]]
"""Reasons with the slots they apply to; the first that applies is the reason."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What stored energy is worth, and the reason of each slot."""

    more_per_kwh: Series  # what one more stored kWh at the end of the slot saves
    less_per_kwh: Series  # what one stored kWh less costs
    reasons: list[str]


@dataclass(frozen=True)
class Reasons:
    """Explains the plan of a priced program, asset by asset."""

    priced: Priced
    plan: Plan
    prices: Prices

    def battery(self, index: int) -> Explanation:
        """Why the battery charges, discharges or holds."""
        battery = self._site.batteries[index]
        block = self.priced.formulation.batteries[index].storage
        final = battery.final_energy_kwh is not None
        return self._storage(
            battery,
            block,
            self.plan.batteries[index],
            final_is_given=final,
            required_at_end=None,
            final_reason="FINAL_ENERGY",
        )

    def vehicle(self, index: int) -> Explanation:
        """The same for each stay of a vehicle; away from it, energy is worth nothing."""
        vehicle, slots = self._site.vehicles[index], self._site.slots
        block = self.priced.formulation.vehicles[index]
        more, less = np.zeros(slots), np.zeros(slots)
        reasons = ["AWAY"] * slots
        for stay, storage, plan in zip(
            vehicle.stays, block.stays, self.plan.stays[index], strict=True
        ):
            found = self._storage(
                vehicle,
                storage,
                plan,
                final_is_given=False,
                required_at_end=stay.required_energy_kwh,
                final_reason="DEPARTURE",
            )
            more[stay.slots], less[stay.slots] = found.more_per_kwh, found.less_per_kwh
            reasons[stay.start : stay.stop] = found.reasons
        return Explanation(more, less, reasons)

    def pv(self, index: int) -> tuple[Series, list[str]]:
        """What one more available kWh saves, and why some is left."""
        plant = self._site.pv[index]
        pool = self._pool(plant.name)
        if pool is None:
            return self.prices.at(plant.name), ["FULL_OUTPUT"] * self._site.slots
        value = self.prices.available_pv_per_kwh(pool.used, pool.plants[0].name)
        curtailed = plant.available_power_kw - self.plan.used_pv_kw[index] > TOLERANCE
        rules: Rules = [
            ("FULL_OUTPUT", ~curtailed),
            ("GRID_LIMIT", self._exports_at_limit),
            ("GROUP_LIMIT", self._at_group_limit(plant.name)),
            ("RESERVE", self.prices.reserve_is_tight(pool.plants[0].name)),
            ("PREVIOUS_PLAN", self._kept_from_before(plant.name)),
        ]
        return value, _first(rules, "CURTAIL_PRICE")

    def flexible_load(self, index: int) -> tuple[float, list[str]]:
        """What one more kWh in its window costs, and why it runs when it does."""
        load = self._site.flexible_loads[index]
        block = self.priced.formulation.flexible_loads[index]
        more_per_kwh = float(self.prices.row_per_unit(block.energy)[0])
        return more_per_kwh, self._flexible_load(
            load, self.plan.flexible_loads[index], more_per_kwh
        )

    def cycle(self, index: int) -> str:
        """Why it starts when it does."""
        cycle = self._site.cycles[index]
        return "NO_CHOICE" if len(cycle.starts) == 1 else "CHEAPEST"

    def heat_pump(self, index: int) -> tuple[Series, list[str]]:
        """What one more kWh of heat in the tank saves, and why the pump runs or rests."""
        pump = self._site.heat_pumps[index]
        level = self.priced.formulation.heat_pumps[index].level
        value = self.prices.stored_per_kwh(level.rows)
        outside = self._outside_before(level.outside, level.outside_before_kwh)
        return value, self._heat_pump(pump, self.plan.heat_pumps[index], value, outside)

    def generator(self, index: int) -> tuple[Series, list[str]]:
        """What one more kWh of greatest output saves, and why it runs or rests."""
        generator = self._site.generators[index]
        block = self.priced.formulation.generators[index]
        plan = self.plan.generators[index]
        hours = self._site.slot_hours
        value = -self.prices.row_per_unit(block.widths[-1]) * plan.running / hours
        for reserve in self.priced.formulation.reserves:
            if reserve.direction == "upward":
                rows = reserve.shares[generator.name].power_rows
                value = value - self.prices.row_per_unit(rows) * plan.running / hours
        return value, self._generator(generator, block, plan)

    def _storage(
        self,
        asset: Battery | Vehicle,
        block: StorageBlock,
        plan: StoragePlan,
        *,
        final_is_given: bool,
        required_at_end: float | None,
        final_reason: str,
    ) -> Explanation:
        slots, level = block.flows.slots, block.level
        least_charge = asset.min_charge_power_kw if isinstance(asset, Vehicle) else 0.0
        lower = np.full(len(slots), block.cell.min_energy_kwh)
        if required_at_end is not None:
            lower[-1] = max(lower[-1], required_at_end)
        chain = Chain(
            cell=block.cell,
            plan=plan,
            lower_kwh=lower,
            upper_kwh=np.full(len(slots), block.cell.max_energy_kwh),
            least_charge_kw=np.full(len(slots), least_charge),
            may_charge=block.may_charge,
            may_discharge=block.may_discharge,
            final_is_given=final_is_given,
            price_per_kwh=self.prices.at(asset.name)[slots],
            solver_value_per_kwh=self.prices.stored_per_kwh(level.rows),
        )
        if self.priced.formulation.reserves:
            more = less = chain.solver_value_per_kwh
        else:
            more, less = value_of_more(chain), cost_of_less(chain)
        rules = self._storage_rules(
            asset.name,
            chain,
            slots,
            more,
            less,
            final_reason if final_is_given or required_at_end is not None else None,
        )
        outside = self._outside_before(level.outside, level.outside_before_kwh)
        return Explanation(more, less, _first([("RECOVER", outside), *rules], "HOLD_NO_GAIN"))

    def _storage_rules(
        self,
        name: str,
        chain: Chain,
        slots: Indices,
        more: Series,
        less: Series,
        final_reason: str | None,
    ) -> Rules:
        """The tables of the page, one after another."""
        cell, price = chain.cell, chain.price_per_kwh
        charge, discharge = chain.plan.charge_power_kw, chain.plan.discharge_power_kw
        charging, discharging = charge > TOLERANCE, discharge > TOLERANCE
        holding = ~charging & ~discharging
        imports_at_limit, exports_at_limit = (
            self._imports_at_limit[slots],
            self._exports_at_limit[slots],
        )
        at_grid_limit = imports_at_limit | exports_at_limit
        grid = self.plan.grid_power_kw[slots]
        bought, sold = cell.charge_efficiency * more, chain.discharged_at
        kept = dropped = np.zeros(len(slots), dtype=np.bool_)
        if final_reason is not None:
            kept, dropped = _decided_by_the_end(more, charging, discharging)

        without_peak = price - self.prices.peak_per_kwh[slots]
        would_charge = (charge < cell.max_charge_power_kw - TOLERANCE) & (
            cell.charge_efficiency * more > without_peak + TOLERANCE
        )
        would_keep = discharging & (
            (without_peak - cell.wear_cost_per_kwh) * cell.discharge_efficiency < more - TOLERANCE
        )
        common = self._common(name, slots, np.where(discharging, would_keep, would_charge))

        def among(which: Mask, rules: Rules) -> Rules:
            return [(reason, which & applies) for reason, applies in rules]

        final = final_reason or "FINAL_ENERGY"
        always = np.ones(len(slots), dtype=np.bool_)
        at_full_charge = (charge >= cell.max_charge_power_kw - TOLERANCE) & (
            bought > price + TOLERANCE
        )
        at_full_discharge = (discharge >= cell.max_discharge_power_kw - TOLERANCE) & (
            sold > less + TOLERANCE
        )
        full = (chain.plan.energy_kwh >= chain.upper_kwh - TOLERANCE) & (
            price <= cell.charge_efficiency * less + TOLERANCE
        )
        empty = (chain.plan.energy_kwh <= chain.lower_kwh + TOLERANCE) & (sold >= more - TOLERANCE)
        import_price = self._site.import_price_per_kwh[slots]
        export_price = self._site.export_price_per_kwh[slots]
        sold_at_export_price = (export_price - cell.wear_cost_per_kwh) * cell.discharge_efficiency
        return [
            *among(
                charging,
                [
                    (final, kept),
                    ("POWER_LIMIT", at_full_charge),
                    ("GRID_LIMIT", at_grid_limit),
                    *common,
                    ("CHARGE_FROM_GRID", grid > TOLERANCE),
                    ("CHARGE_FROM_SURPLUS", always),
                ],
            ),
            *among(
                discharging,
                [
                    (final, dropped),
                    ("POWER_LIMIT", at_full_discharge),
                    ("GRID_LIMIT", at_grid_limit),
                    *common,
                    ("DISCHARGE_TO_EXPORT", grid < -TOLERANCE),
                    ("DISCHARGE_TO_LOAD", always),
                ],
            ),
            *among(
                holding,
                [
                    ("HOLD_FULL", full),
                    ("HOLD_EMPTY", empty),
                    (final, kept),
                    ("GRID_LIMIT", imports_at_limit & (import_price < bought - TOLERANCE)),
                    ("GRID_LIMIT", exports_at_limit & (sold_at_export_price > less + TOLERANCE)),
                    *common,
                ],
            ),
        ]

    def _flexible_load(self, load: FlexibleLoad, power: Series, more_per_kwh: float) -> list[str]:
        slots = np.arange(self._site.slots)
        inside = (slots >= load.start) & (slots < load.stop)
        full_kwh = load.max_power_kw * self._site.slot_hours * (load.stop - load.start)
        price = self.prices.at(load.name)
        without_peak = price - self.prices.peak_per_kwh
        runs, at_full = power > TOLERANCE, power >= load.max_power_kw - TOLERANCE
        common = self._common(
            load.name, slots, ~at_full & (without_peak < more_per_kwh - TOLERANCE)
        )
        rules: Rules = [
            ("OUTSIDE", ~inside),
            ("NO_CHOICE", np.full(len(slots), load.energy_kwh >= full_kwh - TOLERANCE)),
            ("POWER_LIMIT", runs & at_full & (price < more_per_kwh - TOLERANCE)),
            ("GRID_LIMIT", ~runs & (self._imports_at_limit | self._exports_at_limit)),
            *common,
            ("CHEAPEST", runs),
        ]
        return _first(rules, "DEARER")

    def _heat_pump(self, pump: HeatPump, plan: TankPlan, value: Series, outside: Mask) -> list[str]:
        slots, tank = np.arange(self._site.slots), pump.tank
        price, worth = self.prices.at(pump.name), pump.cop * value
        without_peak = price - self.prices.peak_per_kwh
        runs, at_full = plan.power_kw > TOLERANCE, plan.power_kw >= pump.max_power_kw - TOLERANCE
        common = self._common(pump.name, slots, ~at_full & (without_peak < worth - TOLERANCE))
        rules: Rules = [
            ("RECOVER", runs & outside),
            ("POWER_LIMIT", runs & at_full & (price < worth - TOLERANCE)),
            ("HEAT_DEMAND", runs & (plan.energy_kwh <= tank.min_energy_kwh + TOLERANCE)),
            ("HOLD_FULL", ~runs & (plan.energy_kwh >= tank.max_energy_kwh - TOLERANCE)),
            *common,
            ("CHEAPEST", runs),
        ]
        return _first(rules, "DEARER")

    def _generator(
        self, generator: Generator, block: GeneratorBlock, plan: GeneratorPlan
    ) -> list[str]:
        site = self._site
        slots = np.arange(site.slots)
        co2 = site.co2_price_per_kg * generator.co2_kg_per_kwh
        price = self.prices.at(generator.name)
        without_peak = price - self.prices.peak_per_kwh
        output, runs = plan.output_kw, plan.running > 0.5
        cost = _cost_per_kwh(generator, np.where(runs, output, 0.0)) + co2
        least_cost = _least_cost_per_kwh(generator) + co2
        marginal = _marginal_cost(generator, output) + co2
        kept_up, kept_down = _kept_by_least_times(generator, plan.running, site.slot_hours)
        common = self._common(
            generator.name, slots, (output > TOLERANCE) & (without_peak < marginal - TOLERANCE)
        )
        last_cost = float(generator.costs_per_kwh[-1]) + co2
        at_full = output >= generator.max_power_kw - TOLERANCE
        at_least = output <= generator.min_power_kw + TOLERANCE
        ramped = self._ramped(block)
        rules: Rules = [
            ("RAMP_LIMIT", runs & ramped),
            ("POWER_LIMIT", runs & at_full & (price > last_cost + TOLERANCE)),
            ("MIN_UP", runs & kept_up & (price < cost - TOLERANCE)),
            ("MIN_POWER", runs & at_least & (price < cost - TOLERANCE)),
            ("MIN_DOWN", ~runs & kept_down),
            ("START_COST", ~runs & (price > least_cost + TOLERANCE)),
            *common,
            ("CHEAPER_THAN_GRID", runs),
        ]
        return _first(rules, "DEARER_THAN_GRID")

    def _ramped(self, block: GeneratorBlock) -> Mask:
        """Where the ramp into a slot or out of it has a price."""
        ramped = np.zeros(self._site.slots, dtype=np.bool_)
        for rows in (block.ramp_up, block.ramp_down):
            into = self.prices.row_has_price(rows)
            ramped |= into
            ramped[:-1] |= into[1:]
        return ramped

    def _common(self, name: str, slots: Indices, would_consume_more: Mask) -> Rules:
        """Reasons that any asset with a choice may have."""
        peak = self.prices.peak_per_kwh[slots] > TOLERANCE
        return [
            ("GROUP_LIMIT", self._at_group_limit(name)[slots]),
            ("PEAK_PRICE", peak & would_consume_more),
            ("RESERVE", self.prices.reserve_is_tight(name)[slots]),
            ("PREVIOUS_PLAN", self._kept_from_before(name)[slots]),
        ]

    def _at_group_limit(self, name: str) -> Mask:
        """Where a limit of a group that the asset is in has a price."""
        at_limit = np.zeros(self._site.slots, dtype=np.bool_)
        for block in self.priced.formulation.groups:
            if name in block.group.members:
                towards, away = self.prices.group_per_kwh(block)
                at_limit |= (towards > TOLERANCE) | (away > TOLERANCE)
        return at_limit

    def _kept_from_before(self, name: str) -> Mask:
        """Where the power is that of the previous plan, and only its cost keeps it there."""
        kept = np.zeros(self._site.slots, dtype=np.bool_)
        deviation = self.priced.formulation.deviations.get(name)
        if deviation is None or self._site.previous_plan is None:
            return kept
        previous = self._site.previous_plan.power_kw[name]
        covered = slice(0, len(previous))
        same = np.abs(self.plan.power_kw[name][covered] - previous) <= TOLERANCE
        price = np.abs(self.prices.row_per_unit(deviation.rows)) / self._site.slot_hours
        kept[covered] = same & (price > TOLERANCE)
        return kept

    @cached_property
    def _imports_at_limit(self) -> Mask:
        """Where the import limit has a price."""
        price, grid = self.prices.grid_per_kwh, self.plan.grid_power_kw
        dearer = price > self._site.import_price_per_kwh + TOLERANCE
        return (grid >= self._granted[0] - TOLERANCE) & dearer

    @cached_property
    def _exports_at_limit(self) -> Mask:
        price, grid = self.prices.grid_per_kwh, self.plan.grid_power_kw
        cheaper = price < self._site.export_price_per_kwh - TOLERANCE
        return (grid <= -self._granted[1] + TOLERANCE) & cheaper

    @cached_property
    def _granted(self) -> tuple[Series, Series]:
        return granted_kw(self.priced.formulation, self.priced.solution)

    def _outside_before(self, outside: NDArray[np.int32], before_kwh: float) -> Mask:
        """Where stored energy is outside its window when the slot begins."""
        if not len(outside):
            return np.zeros(1, dtype=np.bool_)
        at_end = self.priced.solution.value(outside)
        return np.concatenate([[before_kwh], at_end[:-1]]) > TOLERANCE

    def _pool(self, name: str) -> PvPool | None:
        for pool in self.priced.formulation.pools:
            if any(plant.name == name for plant in pool.plants):
                return pool
        return None

    @property
    def _site(self) -> Site:
        return self.plan.site


def _first(rules: Rules, otherwise: str) -> list[str]:
    """The reason of each slot: the first that applies."""
    count = max(len(slots) for _, slots in rules)
    conditions = [np.broadcast_to(slots, count) for _, slots in rules]
    return np.select(conditions, [name for name, _ in rules], otherwise).tolist()


def _decided_by_the_end(more: Series, charging: Mask, discharging: Mask) -> tuple[Mask, Mask]:
    """Where energy is only kept, and only let go, because of what is required at the end.

    From there to the end no energy limit decides, and nothing undoes it.
    """
    nowhere = np.zeros(len(more), dtype=np.bool_)
    unchanged = np.append(np.abs(np.diff(more)) <= TOLERANCE, True)
    to_the_end = _from_here_on(unchanged)
    keeps = to_the_end & np.append(_from_here_on(~discharging)[1:], True)
    drops = to_the_end & np.append(_from_here_on(~charging)[1:], True)
    return (
        keeps if more[-1] > TOLERANCE else nowhere,
        drops if more[-1] < -TOLERANCE else nowhere,
    )


def _from_here_on(slots: Mask) -> Mask:
    """Where something holds in the slot and in every later one."""
    return np.logical_and.accumulate(slots[::-1])[::-1]


def _cost_per_kwh(generator: Generator, output_kw: Series) -> Series:
    """Fuel and no-load cost of each kWh at an output; at none, of the first kWh."""
    upper = np.cumsum(generator.widths_kw)[:, None]
    lower = upper - generator.widths_kw[:, None]
    within = np.clip(output_kw[None, :], lower, upper) - lower
    per_hour = generator.costs_per_kwh @ within + generator.no_load_cost_per_h
    some = output_kw > TOLERANCE
    return np.where(some, per_hour / np.where(some, output_kw, 1.0), generator.costs_per_kwh[0])


def _least_cost_per_kwh(generator: Generator) -> float:
    """The cost of a kWh at the output where it is least: at a corner of the cost curve."""
    corners = np.array([generator.min_power_kw, *(up_to for up_to, _ in generator.segments)])
    possible = corners[(corners >= generator.min_power_kw) & (corners > TOLERANCE)]
    if not len(possible):  # all of it is less than counts as power
        possible = corners[-1:]
    return float(_cost_per_kwh(generator, possible).min())


def _marginal_cost(generator: Generator, output_kw: Series) -> Series:
    """The price of the cost step that an output lies in; at a corner, of the one before."""
    ends = np.cumsum(generator.widths_kw)
    step = np.searchsorted(ends, output_kw - TOLERANCE)
    return generator.costs_per_kwh[np.minimum(step, len(ends) - 1)]


def _kept_by_least_times(
    generator: Generator, running: Series, slot_hours: float
) -> tuple[Mask, Mask]:
    """Where a least running or resting time forbids to switch."""
    before = np.concatenate([[float(generator.initially_running)], running[:-1]])
    started, stopped = running > before, running < before
    held = held_at_first(generator, len(running), slot_hours)

    def kept(switched: Mask, duration_s: int) -> Mask:
        count = least_slots(duration_s, slot_hours)
        # The slot of the switch itself is held only where more follow.
        recent = np.convolve(switched, np.ones(count))[: len(switched)] > 0.5
        return recent if count > 1 else np.zeros(len(switched), dtype=np.bool_)

    runs = running > 0.5
    return (
        runs & (kept(started, generator.min_up_s) | held),
        ~runs & (kept(stopped, generator.min_down_s) | held),
    )
