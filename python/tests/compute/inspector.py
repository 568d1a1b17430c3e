"""A check of a dispatch result from its series alone: every limit, every cost. No code is shared.

Works on what any engine answers. For a relaxed plan the limits that its violations name are widened
by their amounts first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from gridpact.contracts.messages import DispatchInput, DispatchResult

Series = NDArray[np.float64]
TOLERANCE = 2e-6


def given(value: Any, otherwise: Any = None) -> Any:
    return otherwise if value is UNSET else value


def array(values: Any) -> Series:
    return np.asarray(values, dtype=np.float64)


@dataclass
class Inspection:
    """What is wrong with a result, and what its schedule costs by our own account."""

    faults: list[str] = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=dict)
    penalty: float = 0.0
    deviation: float = 0.0

    @property
    def cost(self) -> float:
        return sum(self.costs.values())

    @property
    def objective(self) -> float:
        return self.cost + self.penalty + self.deviation

    def need(self, holds: Any, fault: str) -> None:
        if not np.all(holds):
            self.faults.append(fault)


def inspect(wanted: DispatchInput, result: DispatchResult) -> Inspection:
    """Checks the schedule of the scenario that the result shows."""
    return _Inspector(wanted, result).inspect()


class _Inspector:
    def __init__(self, wanted: DispatchInput, result: DispatchResult) -> None:
        self.wanted, self.result, self.found = wanted, result, Inspection()
        self.T, self.h = wanted.slots, wanted.slot_duration_s / 3600
        self.more: dict[str, float] = defaultdict(float)
        for violation in result.violations:
            self.more[violation.field] += violation.amount
        self.need = self.found.need
        self.grid = array(result.grid_power_kw)
        self.imported, self.exported = np.maximum(self.grid, 0), np.maximum(-self.grid, 0)
        tariff, uncertainty = wanted.tariff, given(wanted.uncertainty)
        scenario: Any = None
        if uncertainty:
            name = result.uncertainty.scenario  # pyright: ignore[reportAttributeAccessIssue]
            (scenario,) = (one for one in uncertainty.scenarios if one.name == name)
            most = max(one.probability for one in uncertainty.scenarios)
            self.need(scenario.probability == most, "not the most probable scenario")
        changed = (
            {one.name: array(one.power_kw) for one in (*scenario.loads, *scenario.pv)}
            if scenario
            else {}
        )
        self.price = array(
            given(scenario.import_price_per_kwh, tariff.import_price_per_kwh)
            if scenario
            else tariff.import_price_per_kwh
        )
        self.sell = array(
            given(scenario.export_price_per_kwh, tariff.export_price_per_kwh)
            if scenario
            else tariff.export_price_per_kwh
        )
        self.power = {
            load.name: changed.get(load.name, array(load.power_kw)) for load in wanted.loads
        }
        self.available = {
            pv.name: changed.get(pv.name, array(pv.available_power_kw)) for pv in wanted.pv
        }
        emissions = given(wanted.emissions)
        self.co2_price = emissions.price_per_kg if emissions else 0.0
        self.intensity = array(emissions.import_kg_per_kwh) if emissions else np.zeros(self.T)
        fees = sum((array(fee.price_per_kwh) for fee in tariff.grid_fees), np.zeros(self.T))
        self.buy = self.price + fees + self.co2_price * self.intensity
        self.rho = 10 * max(1.0, float(np.abs(self.buy).max()), float(np.abs(self.sell).max()))
        # What each reserve provider could give: upward and downward.
        self.could: list[tuple[Series, Series]] = []
        self.wear = self.generation = self.starts = self.co2_kg = 0.0

    def inspect(self) -> Inspection:
        wanted, result = self.wanted, self.result
        for i, (asset, plan) in enumerate(zip(wanted.batteries, result.batteries, strict=True)):
            self.battery(asset, plan, f"batteries[{i}]")
        for i, (asset, plan) in enumerate(
            zip(wanted.electric_vehicles, result.electric_vehicles, strict=True)
        ):
            self.vehicle(asset, plan, f"electric_vehicles[{i}]")
        for i, (asset, plan) in enumerate(
            zip(wanted.flexible_loads, result.flexible_loads, strict=True)
        ):
            self.flexible_load(asset, plan, f"flexible_loads[{i}]")
        for asset, plan in zip(wanted.cycles, result.cycles, strict=True):
            self.cycle(asset, plan)
        for i, (asset, plan) in enumerate(zip(wanted.heat_pumps, result.heat_pumps, strict=True)):
            self.heat_pump(asset, plan, f"heat_pumps[{i}]")
        for asset, plan in zip(wanted.generators, result.generators, strict=True):
            self.generator(asset, plan)
        for asset, plan in zip(wanted.pv, result.pv, strict=True):
            self.pv(asset, plan)
        total = sum(self.power.values(), np.zeros(self.T))
        self.need(np.abs(self.grid - total) <= TOLERANCE * 5, "balance")
        for direction, flow in (("import", self.imported), ("export", self.exported)):
            self.need(flow <= self.limit(direction) + TOLERANCE, f"{direction} limit")
        for i, (group, plan) in enumerate(zip(wanted.groups, result.groups, strict=True)):
            power = sum((self.power[name] for name in group.members), np.zeros(self.T))
            self.need(np.abs(power - array(plan.power_kw)) <= TOLERANCE, "group power")
            for member, sign in (("max_import_power_kw", 1), ("max_export_power_kw", -1)):
                limit = given(getattr(group, member), math.inf)
                limit += self.more[f"groups[{i}].{member}"]
                self.need(sign * power <= limit + TOLERANCE, f"{group.name} {member}")
        self.reserve()
        self.deviation()
        self.account()
        return self.found

    def limit(self, direction: str) -> Series:
        limits = []
        for member in (f"max_{direction}_power_kw", f"{direction}_limits_kw"):
            limit = given(getattr(self.wanted.grid, member))
            if limit is not None:
                limits.append(array(limit) + np.zeros(self.T) + self.more[f"grid.{member}"])
        return np.min(limits, axis=0)

    def window(self, name: str, energy: Series, start: float, low: float, high: float) -> None:
        """Checks the window, and what it costs that it stands open."""
        below, above = max(low - start, 0.0), max(start - high, 0.0)
        outside = np.maximum(np.maximum(low - energy, energy - high), 0.0)
        outside = np.where(outside <= TOLERANCE, 0.0, outside)
        self.need(outside <= max(below, above) + TOLERANCE * 5, f"{name} leaves its window")
        # How wide the window is open never grows, so it is as wide as any later slot needs.
        least = np.maximum.accumulate(outside[::-1])[::-1]
        self.found.penalty += self.rho * float(least.sum())
        if below:
            self.need(energy <= high + TOLERANCE, f"{name} too full")
        if above:
            self.need(energy >= low - TOLERANCE, f"{name} too empty")

    def storage(self, name: str, cell: Any, power: Series, energy: Series, start: float) -> None:
        self.need(power <= cell.max_charge_power_kw + TOLERANCE, f"{name} charges too much")
        self.need(power >= -cell.max_discharge_power_kw - TOLERANCE, f"{name} gives too much")
        gained = np.where(
            power > 0, power * cell.charge_efficiency, power / cell.discharge_efficiency
        )
        levels = start + self.h * np.cumsum(gained)
        self.need(np.abs(levels - energy) <= TOLERANCE * 10, f"{name} energy")
        self.wear += self.h * cell.wear_cost_per_kwh * float(np.maximum(-power, 0).sum())
        high = given(cell.max_energy_kwh, cell.capacity_kwh)
        self.window(name, energy, start, cell.min_energy_kwh, high)

    def battery(self, asset: Any, plan: Any, field: str) -> None:
        name, cell = asset.name, asset.battery
        power, energy = array(plan.power_kw), array(plan.energy_kwh)
        self.power[name] = power
        start = asset.initial_energy_kwh
        self.storage(name, cell, power, energy, start)
        final = given(asset.final_energy_kwh)
        if final is not None:
            missed = abs(float(energy[-1]) - final)
            allowed = self.more[f"{field}.final_energy_kwh"] + TOLERANCE * 2
            self.need(missed <= allowed, f"{name} final energy")
        out_kwh = self.h * float(np.maximum(-power, 0).sum()) / cell.discharge_efficiency
        self.need(abs(plan.full_cycles - out_kwh / cell.capacity_kwh) <= 1e-6, "full cycles")
        hold = given(self.wanted.reserve)
        if hold is not None:
            hours = hold.duration_s / 3600
            levels = np.concatenate([[start], energy])
            high = given(cell.max_energy_kwh, cell.capacity_kwh)
            # Energy outside the window is no reserve.
            stored, room = levels - cell.min_energy_kwh, high - levels
            stored, room = (np.maximum(one, 0.0) for one in (stored, room))
            stored, room = (np.minimum(one[:-1], one[1:]) for one in (stored, room))
            self.could.append(
                (
                    np.minimum(
                        cell.max_discharge_power_kw + power,
                        stored * cell.discharge_efficiency / hours,
                    ),
                    np.minimum(
                        cell.max_charge_power_kw - power, room / (hours * cell.charge_efficiency)
                    ),
                )
            )

    def vehicle(self, asset: Any, plan: Any, field: str) -> None:
        power, energy = array(plan.power_kw), array(plan.energy_kwh)
        self.power[asset.name] = power
        away = np.ones(self.T, dtype=bool)
        for j, stay in enumerate(asset.stays):
            at = slice(stay.start_slot, stay.end_slot)
            away[at] = False
            name = f"{asset.name}/{j}"
            self.storage(name, asset.battery, power[at], energy[at], stay.initial_energy_kwh)
            required = given(stay.required_energy_kwh, 0.0)
            required -= self.more[f"{field}.stays[{j}].required_energy_kwh"]
            self.need(energy[stay.end_slot - 1] >= required - TOLERANCE * 2, f"{name} departs")
        self.need(power[away] == 0, f"{asset.name} charges while it is away")
        self.need(np.array(plan.reasons)[away] == "AWAY", f"{asset.name} reason while away")
        charging = power > TOLERANCE
        self.need(
            power[charging] >= asset.min_charge_power_kw - TOLERANCE, f"{asset.name} least power"
        )
        charged = self.h * float(np.maximum(power, 0).sum())
        self.need(abs(plan.charged_energy_kwh - charged) <= 1e-6, "charged energy")

    def flexible_load(self, asset: Any, plan: Any, field: str) -> None:
        power = array(plan.power_kw)
        self.power[asset.name] = power
        inside = np.zeros(self.T, dtype=bool)
        inside[asset.start_slot : asset.end_slot] = True
        self.need(power[~inside] == 0, f"{asset.name} runs outside its window")
        self.need((power >= 0) & (power <= asset.max_power_kw + TOLERANCE), f"{asset.name} power")
        runs = power > TOLERANCE
        self.need(power[runs] >= asset.min_power_kw - TOLERANCE, f"{asset.name} least power")
        energy = self.h * float(power.sum())
        self.need(energy <= asset.energy_kwh + TOLERANCE * 2, f"{asset.name} takes too much")
        least = asset.energy_kwh - self.more[f"{field}.energy_kwh"]
        self.need(energy >= least - TOLERANCE * 2, f"{asset.name} takes too little")
        if not asset.interruptible:
            starts = np.diff(np.concatenate([[0], runs.astype(int)])) > 0
            self.need(starts.sum() <= 1, f"{asset.name} is interrupted")

    def cycle(self, asset: Any, plan: Any) -> None:
        power, profile = array(plan.power_kw), array(asset.power_kw)
        self.power[asset.name] = power
        end = plan.start_slot + len(profile)
        expected = np.zeros(self.T)
        expected[plan.start_slot : end] = profile
        self.need(np.abs(power - expected) <= TOLERANCE, f"{asset.name} profile")
        self.need(
            asset.start_slot <= plan.start_slot and end <= asset.end_slot, f"{asset.name} window"
        )
        price = array(self.result.grid_price_per_kwh)
        cost = self.h * float(price @ power)
        self.need(abs(plan.energy_cost - cost) <= 1e-6 * max(1, abs(cost)), "cycle's energy cost")

    def heat_pump(self, asset: Any, plan: Any, field: str) -> None:
        power, energy, tank = array(plan.power_kw), array(plan.tank_energy_kwh), asset.tank
        self.power[asset.name] = power
        self.need((power >= 0) & (power <= asset.max_power_kw + TOLERANCE), f"{asset.name} power")
        runs = power > TOLERANCE
        self.need(power[runs] >= asset.min_power_kw - TOLERANCE, f"{asset.name} least power")
        kept = 1 - min(1.0, tank.loss_per_h * self.h)
        before = np.concatenate([[tank.initial_energy_kwh], energy[:-1]])
        gained = self.h * (array(asset.cop) * power - array(asset.heat_demand_kw))
        gap = energy - kept * before - gained
        missing = self.more[f"{field}.tank.min_energy_kwh"]
        self.need(gap >= -TOLERANCE * 2, f"{asset.name} loses heat")
        self.need(
            np.maximum(gap, 0).sum() <= missing + TOLERANCE * self.T, f"{asset.name} gains heat"
        )
        self.window(
            asset.name, energy, tank.initial_energy_kwh, tank.min_energy_kwh, tank.max_energy_kwh
        )
        final = given(tank.final_energy_kwh, 0.0) - self.more[f"{field}.tank.final_energy_kwh"]
        self.need(energy[-1] >= final - TOLERANCE * 2, f"{asset.name} final heat")

    def generator(self, asset: Any, plan: Any) -> None:
        output, on = -array(plan.power_kw), array(plan.running) > 0.5
        self.power[asset.name] = -output
        name, low, high = asset.name, asset.min_power_kw, asset.max_power_kw
        free = (
            not any((low, asset.no_load_cost_per_h, asset.start_cost, asset.min_up_duration_s))
            and not asset.min_down_duration_s
        )
        self.need(output[~on] <= TOLERANCE, f"{name} delivers at rest")
        self.need(output[on] >= low - TOLERANCE, f"{name} below its least power")
        self.need(output <= high + TOLERANCE, f"{name} above its greatest power")
        was_on = bool(asset.initially_running)
        states = [was_on, *on.tolist()]
        slot_s = self.wanted.slot_duration_s
        if not free:
            # states[0] is from before the start; a state begins at each change.
            changes = [i for i in range(1, self.T + 1) if states[i] != states[i - 1]]
            for k, i in enumerate(changes):
                lasted_s = (
                    asset.initial_duration_s + (i - 1) * slot_s
                    if k == 0
                    else (i - changes[k - 1]) * slot_s
                )
                least_s = asset.min_up_duration_s if states[i - 1] else asset.min_down_duration_s
                self.need(lasted_s >= least_s, f"{name} switches too soon in slot {i - 1}")
        before_kw = max(asset.initial_power_kw, low) if was_on else 0.0
        outputs = np.concatenate([[before_kw], output])
        steps = np.diff(outputs)
        for t, step in enumerate(steps.tolist()):
            for limit, change, from_or_to in (
                (given(asset.ramp_up_kw_per_h), step, states[t]),
                (given(asset.ramp_down_kw_per_h), -step, states[t + 1]),
            ):
                if limit is not None:
                    most = limit * self.h
                    if not free and not from_or_to:
                        most = max(low, most)
                    self.need(change <= most + TOLERANCE, f"{name} ramps too fast in slot {t}")
        starts = sum(now and not before for before, now in pairwise(states))
        self.need(plan.start_count == starts, f"{name} start count")
        cost, end = asset.no_load_cost_per_h * self.h * float(on.sum()), 0.0
        for segment in asset.cost_segments:
            within = np.clip(output - end, 0, segment.up_to_power_kw - end)
            cost += self.h * segment.cost_per_kwh * float(within.sum())
            end = segment.up_to_power_kw
        self.generation += cost
        self.starts += starts * asset.start_cost
        self.need(
            abs(plan.cost - cost - starts * asset.start_cost) <= 1e-6 * max(1, abs(cost)),
            f"{name} cost",
        )
        self.co2_kg += self.h * asset.co2_kg_per_kwh * float(output.sum())
        running = np.ones(self.T) if free else on.astype(float)
        self.could.append((high * running - output, output - low * running))

    def pv(self, asset: Any, plan: Any) -> None:
        used, available = -array(plan.power_kw), self.available[asset.name]
        self.power[asset.name] = -used
        self.need(used <= available + TOLERANCE, f"{asset.name} delivers too much")
        if asset.curtailable:
            self.need(used >= -TOLERANCE, f"{asset.name} consumes")
            self.could.append((available - used, used))
        else:
            self.need(np.abs(used - available) <= TOLERANCE, f"{asset.name} is curtailed")
        left = self.h * float((available - used).sum())
        self.need(abs(plan.curtailed_energy_kwh - left) <= 1e-6, f"{asset.name} curtailed energy")

    def reserve(self) -> None:
        hold = given(self.wanted.reserve)
        if hold is None:
            return
        for side, (member, direction, sign) in enumerate(
            (("upward_power_kw", "export", -1), ("downward_power_kw", "import", 1))
        ):
            required = given(getattr(hold, member))
            if required is None:
                continue
            wanted = array(required) - self.more[f"reserve.{member}"]
            could = sum((np.maximum(both[side], 0) for both in self.could), np.zeros(self.T))
            self.need(could >= wanted - TOLERANCE * 5, f"reserve {member}")
            flow = sign * self.grid + wanted
            self.need(flow <= self.limit(direction) + TOLERANCE * 5, f"room for {member}")

    def deviation(self) -> None:
        previous = given(self.wanted.previous_plan)
        if previous is None:
            return
        apart = self.h * sum(
            float(np.abs(self.power[one.name][: len(one.power_kw)] - array(one.power_kw)).sum())
            for one in previous.assets
        )
        self.found.deviation = previous.deviation_cost_per_kwh * apart
        self.need(abs(self.result.deviation_kwh - apart) <= 1e-5, "deviation")  # pyright: ignore[reportOperatorIssue]

    def account(self) -> None:
        """The costs, the bill and the key figures."""
        wanted, result = self.wanted, self.result
        bought, sold = self.h * float(self.imported.sum()), self.h * float(self.exported.sum())
        fees = {
            fee.name: self.h * float(array(fee.price_per_kwh) @ self.imported)
            for fee in wanted.tariff.grid_fees
        }
        self.co2_kg += self.h * float(self.intensity @ self.imported)
        peaks = {charge.name: self.peak_kw(charge) for charge in wanted.tariff.demand_charges}
        tiers = self.tiers(bought)
        costs = {
            "energy_import": self.h * float(self.price @ self.imported),
            "energy_export": -self.h * float(self.sell @ self.exported),
            "grid_fees": sum(fees.values()),
            "tiers": sum(amount for _, amount in tiers),
            "demand_charges": sum(
                charge.price_per_kw * (peaks[charge.name] - charge.peak_so_far_kw)
                for charge in wanted.tariff.demand_charges
            ),
            "generation": self.generation,
            "starts": self.starts,
            "wear": self.wear,
            "co2": self.co2_price * self.co2_kg,
        }
        self.found.costs = costs
        for name, cost in costs.items():
            self.equal(getattr(result.costs, name), cost, f"costs.{name}")
        total = sum(costs.values())
        self.equal(result.cost, total, "cost")
        self.equal(result.savings, result.baseline_cost - total, "savings")
        ruled = given(result.rule_based_cost)
        self.equal(result.rule_based_savings, ruled - total, "rule-based savings")
        energy = ("energy_import", "energy_export", "grid_fees", "tiers")
        self.equal(result.energy_cost, sum(costs[name] for name in energy), "energy cost")
        self.equal(result.wear_cost, self.wear, "wear cost")
        lines = [("IMPORT", bought, costs["energy_import"])]
        lines.append(("EXPORT", sold, costs["energy_export"]))
        lines += [("GRID_FEE", bought, amount) for amount in fees.values()]
        lines += [("TIER", energy, amount) for energy, amount in tiers if energy > 1e-6]
        lines += [
            ("DEMAND_CHARGE", peaks[charge.name], peaks[charge.name] * charge.price_per_kw)
            for charge in wanted.tariff.demand_charges
        ]
        if given(wanted.emissions) is not None:
            lines.append(("CO2", self.co2_kg, costs["co2"]))
            self.equal(result.co2_kg, self.co2_kg, "co2_kg")
        billed = result.bill
        self.need([line.item for line in billed] == [item for item, _, _ in lines], "bill's lines")
        for line, (item, quantity, amount) in zip(billed, lines, strict=False):
            self.equal(line.quantity, quantity, f"bill {item} quantity")
            self.equal(line.amount, amount, f"bill {item} amount")
        self.equal(result.peak_import_power_kw, float(self.imported.max()), "peak")
        self.equal(result.imported_energy_kwh, bought, "imported energy")
        self.equal(result.exported_energy_kwh, sold, "exported energy")
        consumers = (
            *wanted.loads,
            *wanted.flexible_loads,
            *wanted.cycles,
            *wanted.electric_vehicles,
            *wanted.heat_pumps,
        )
        consumed = self.h * sum(float(np.maximum(self.power[a.name], 0).sum()) for a in consumers)
        produced = -self.h * sum(
            float(self.power[a.name].sum()) for a in (*wanted.pv, *wanted.generators)
        )
        for name, lost, whole in (
            ("self_sufficiency", bought, consumed),
            ("self_consumption", sold, produced),
        ):
            expected = 1.0 if whole <= 1e-9 else min(1.0, max(0.0, 1 - lost / whole))
            if whole <= 0 or whole > 1e-6:
                self.equal(getattr(result, name), expected, name)

    def tiers(self, bought: float) -> list[tuple[float, float]]:
        """Energy and amount of each tier."""
        tiers = given(self.wanted.tariff.import_tiers)
        if tiers is None:
            return []
        already = tiers.imported_energy_kwh
        ends = [*(tier.from_energy_kwh for tier in tiers.tiers[1:]), math.inf]
        found = []
        for tier, end in zip(tiers.tiers, ends, strict=True):
            energy = max(0.0, min(already + bought, end) - max(already, tier.from_energy_kwh))
            found.append((energy, energy * tier.surcharge_per_kwh))
        return found

    def peak_kw(self, charge: Any) -> float:
        """The greatest interval mean, second by second of overlap."""
        start = datetime.fromisoformat(self.wanted.start_time).timestamp()
        slot_s, length = self.wanted.slot_duration_s, charge.billing_interval_s
        counted = [
            t
            for t in range(self.T)
            if not charge.windows or any(w.start_slot <= t < w.end_slot for w in charge.windows)
        ]
        if slot_s > length:
            return max([charge.peak_so_far_kw, *self.imported[counted].tolist()])
        energy: dict[int, float] = {}
        for t in counted:
            begin = start + t * slot_s
            for k in range(math.floor(begin / length), math.ceil((begin + slot_s) / length - 1e-9)):
                shared = min((k + 1) * length, begin + slot_s) - max(k * length, begin)
                energy[k] = energy.get(k, 0.0) + shared / 3600 * float(self.imported[t])
        first = math.floor(start / length)
        if first in energy:
            energy[first] += charge.interval_energy_so_far_kwh
        means = [kwh * 3600 / length for kwh in energy.values()]
        return max([charge.peak_so_far_kw, *means])

    def equal(self, one: Any, other: float, what: str) -> None:
        self.need(
            abs(one - other) <= 1e-6 * max(1.0, abs(other)), f"{what}: {one} instead of {other}"
        )
