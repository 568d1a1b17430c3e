"""docs/compute/dispatch.md once more, written down row by row in another way than the engine's.

One mixed-integer program with named variables: every pair of opposite flows has a binary variable
in every slot, running generators are tied by implications, tiers by the tier that the month ends
in. Nothing is relaxed, reused or decided beforehand, and no code is shared with the engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
from msgspec import UNSET
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from gridpact.contracts.messages import DispatchInput

Terms = dict[str, float]


class Mip:
    """A mixed-integer program whose variables have names."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.whole: list[int] = []
        self.cost: Terms = {}
        self.rows: list[tuple[Terms, float, float]] = []

    def var(self, name: str, lower: float = 0.0, upper: float = math.inf, whole: int = 0) -> str:
        assert name not in self.names, name
        self.names[name] = len(self.names)
        self.lower.append(lower)
        self.upper.append(upper)
        self.whole.append(whole)
        return name

    def binary(self, name: str) -> str:
        return self.var(name, 0.0, 1.0, 1)

    def row(self, terms: Terms, lower: float = -math.inf, upper: float = math.inf) -> None:
        self.rows.append((terms, lower, upper))

    def pay(self, name: str, cost: float) -> None:
        self.cost[name] = self.cost.get(name, 0.0) + cost

    def solve(self) -> dict[str, float] | None:
        """The values at the optimum, with the cost as ``""``; None where nothing is feasible."""
        entries = [
            (i, self.names[name], value)
            for i, (terms, _, _) in enumerate(self.rows)
            for name, value in terms.items()
        ]
        rows, columns, values = (np.array(part) for part in zip(*entries, strict=True))
        matrix = csr_array((values, (rows, columns)), shape=(len(self.rows), len(self.names)))
        costs = np.zeros(len(self.names))
        for name, cost in self.cost.items():
            costs[self.names[name]] = cost
        limits = np.array([[lower, upper] for _, lower, upper in self.rows]).T
        found = milp(
            costs,
            integrality=np.array(self.whole),
            bounds=Bounds(np.array(self.lower), np.array(self.upper)),
            constraints=LinearConstraint(matrix, limits[0], limits[1]),
            options={"mip_rel_gap": 0.0},
        )
        if found.status == 2:
            return None
        assert found.status == 0, found.message
        return {
            "": float(found.fun),
            **dict(zip(self.names, found.x.tolist(), strict=True)),
        }


def plus(*terms: Terms, by: float = 1.0) -> Terms:
    """The sum of terms, each times ``by``."""
    total: Terms = {}
    for some in terms:
        for name, value in some.items():
            total[name] = total.get(name, 0.0) + by * value
    return total


def given(value: Any, otherwise: Any = None) -> Any:
    return otherwise if value is UNSET else value


class Future:
    """One future in the program. ``at`` is put before the name of each of its variables.

    ``z`` are the variables of limits that give way, by field. After building, ``power[name][t]``
    are the terms and the constant of each asset's power, ``cost`` what the future costs.
    """

    def __init__(
        self, mip: Mip, wanted: DispatchInput, scenario: Any, at: str, z: dict[str, str]
    ) -> None:
        self.mip, self.wanted, self.at, self.z = mip, wanted, at, z
        self.T, self.h = wanted.slots, wanted.slot_duration_s / 3600
        tariff = wanted.tariff
        emissions = given(wanted.emissions)
        self.co2_price = emissions.price_per_kg if emissions else 0.0
        changed = {item.name: item.power_kw for item in (*scenario.loads, *scenario.pv)}
        base = given(scenario.import_price_per_kwh, tariff.import_price_per_kwh)
        self.sell = given(scenario.export_price_per_kwh, tariff.export_price_per_kwh).tolist()
        self.buy = [
            float(base[t])
            + sum(float(fee.price_per_kwh[t]) for fee in tariff.grid_fees)
            + (self.co2_price * float(emissions.import_kg_per_kwh[t]) if emissions else 0.0)
            for t in range(self.T)
        ]
        self.rho = 10 * max(1.0, *map(abs, self.buy), *map(abs, self.sell))
        self.cost: Terms = {}
        self.power: dict[str, list[tuple[Terms, float]]] = {}
        self.running: dict[str, list[str]] = {}
        self.up: list[tuple[str, list[str]]] = []
        self.down: list[tuple[str, list[str]]] = []
        for load in wanted.loads:
            series = changed.get(load.name, load.power_kw)
            self.power[load.name] = [({}, float(series[t])) for t in range(self.T)]
        self.available = {
            pv.name: changed.get(pv.name, pv.available_power_kw).tolist() for pv in wanted.pv
        }
        for i, battery in enumerate(wanted.batteries):
            self.battery(battery, f"batteries[{i}]")
        for i, vehicle in enumerate(wanted.electric_vehicles):
            self.vehicle(vehicle, f"electric_vehicles[{i}]")
        for i, load in enumerate(wanted.flexible_loads):
            self.flexible_load(load, f"flexible_loads[{i}]")
        for cycle in wanted.cycles:
            self.cycle(cycle)
        for i, pump in enumerate(wanted.heat_pumps):
            self.heat_pump(pump, f"heat_pumps[{i}]")
        for generator in wanted.generators:
            self.generator(generator)
        for pv in wanted.pv:
            self.pv(pv)
        self.grid()
        self.groups()
        self.reserve()
        self.tiers()
        self.demand_charges()
        self.deviation()

    def var(self, name: str, *args: Any) -> str:
        return self.mip.var(self.at + name, *args)

    def binary(self, name: str) -> str:
        return self.mip.binary(self.at + name)

    def pay(self, name: str, cost: float) -> None:
        self.cost[name] = self.cost.get(name, 0.0) + cost

    def level(
        self, name: str, slots: list[int], start: float, low: float, high: float
    ) -> list[str]:
        """Energy at the end of each slot within its window, or on its way back to it."""
        outside = max(start - high, low - start, 0.0)
        energy = [self.var(f"{name} e{t}", -math.inf) for t in slots]
        away: list[Terms] = [{}]
        constants = [outside]
        for k, t in enumerate(slots):
            if outside > 0:
                v = self.var(f"{name} v{t}")
                self.pay(v, self.rho)
                before = away[-1]
                self.mip.row(plus({v: 1.0}, plus(before, by=-1.0)), upper=constants[-1])
                away.append({v: 1.0})
                constants.append(0.0)
            else:
                away.append({})
                constants.append(0.0)
            below = plus(away[-1]) if start < low else {}
            above = plus(away[-1], by=-1.0) if start > high else {}
            self.mip.row(plus({energy[k]: 1.0}, below), lower=low)
            self.mip.row(plus({energy[k]: 1.0}, above), upper=high)
        return energy

    def storage(
        self, name: str, cell: Any, slots: list[int], start: float, least: float = 0.0
    ) -> tuple[list[str], list[str], list[str]]:
        high = given(cell.max_energy_kwh, cell.capacity_kwh)
        energy = self.level(name, slots, start, cell.min_energy_kwh, high)
        charge, discharge = [], []
        most_c, most_d = cell.max_charge_power_kw, cell.max_discharge_power_kw
        for k, t in enumerate(slots):
            c = self.var(f"{name} c{t}", 0.0, most_c)
            d = self.var(f"{name} d{t}", 0.0, most_d)
            y = self.binary(f"{name} y{t}")
            self.mip.row({c: 1.0, y: -most_c}, upper=0.0)
            self.mip.row({d: 1.0, y: most_d}, upper=most_d)
            if least > 0:
                self.mip.row({c: 1.0, y: -least}, lower=0.0)
            self.pay(d, self.h * cell.wear_cost_per_kwh)
            flow = {
                energy[k]: 1.0,
                c: -self.h * cell.charge_efficiency,
                d: self.h / cell.discharge_efficiency,
            }
            if k == 0:
                self.mip.row(flow, start, start)
            else:
                self.mip.row(plus(flow, {energy[k - 1]: -1.0}), 0.0, 0.0)
            charge.append(c)
            discharge.append(d)
        return charge, discharge, energy

    def battery(self, battery: Any, field: str) -> None:
        slots = list(range(self.T))
        name, cell = battery.name, battery.battery
        charge, discharge, energy = self.storage(name, cell, slots, battery.initial_energy_kwh)
        final = given(battery.final_energy_kwh)
        if final is not None:
            z = self.z.get(f"{field}.final_energy_kwh")
            some = {} if z is None else {z: 1.0}
            self.mip.row(plus({energy[-1]: 1.0}, some), lower=final)
            self.mip.row(plus({energy[-1]: 1.0}, plus(some, by=-1.0)), upper=final)
        self.power[name] = [({charge[t]: 1.0, discharge[t]: -1.0}, 0.0) for t in slots]
        hold = given(self.wanted.reserve)
        if hold is None:
            return
        duration = hold.duration_s / 3600
        low, high = cell.min_energy_kwh, given(cell.max_energy_kwh, cell.capacity_kwh)
        start = battery.initial_energy_kwh
        ups, downs = [], []
        known: dict[tuple[str, int], Terms] = {}
        away_kwh = max(low - start, start - high, 0.0)

        def inside(end: str, k: int, terms: Terms, constant: float) -> Terms:
            """The energy within the window from one end on: none where it is outside."""
            if (end, k) not in known:
                some = self.var(f"{name} {end} within {k}")
                is_in = self.binary(f"{name} {end} inside {k}")
                self.mip.row({some: 1.0, is_in: -(high - low)}, upper=0.0)
                self.mip.row(
                    plus({some: 1.0, is_in: away_kwh}, plus(terms, by=-1.0)),
                    upper=constant + away_kwh,
                )
                known[end, k] = {some: 1.0}
            return known[end, k]

        for t in slots:
            up, down = self.var(f"{name} up{t}"), self.var(f"{name} down{t}")
            c, d = charge[t], discharge[t]
            self.mip.row({up: 1.0, d: 1.0, c: -1.0}, upper=cell.max_discharge_power_kw)
            self.mip.row({down: 1.0, c: 1.0, d: -1.0}, upper=cell.max_charge_power_kw)
            for k in (t, t + 1):  # at the start and at the end of the slot
                stored = ({}, start) if k == 0 else ({energy[k - 1]: 1.0}, 0.0)
                below = inside("low", k, plus(stored[0]), stored[1] - low) if start < low else None
                above = (
                    inside("high", k, plus(stored[0], by=-1.0), high - stored[1])
                    if start > high
                    else None
                )
                usable = (stored[0], stored[1] - low) if below is None else (below, 0.0)
                self.mip.row(
                    plus({up: duration / cell.discharge_efficiency}, plus(usable[0], by=-1.0)),
                    upper=usable[1],
                )
                room = (
                    (plus(stored[0], by=-1.0), high - stored[1]) if above is None else (above, 0.0)
                )
                self.mip.row(
                    plus({down: duration * cell.charge_efficiency}, plus(room[0], by=-1.0)),
                    upper=room[1],
                )
            ups.append(up)
            downs.append(down)
        self.up.append((name, ups))
        self.down.append((name, downs))

    def vehicle(self, vehicle: Any, field: str) -> None:
        power: list[tuple[Terms, float]] = [({}, 0.0)] * self.T
        for j, stay in enumerate(vehicle.stays):
            slots = list(range(stay.start_slot, stay.end_slot))
            charge, discharge, energy = self.storage(
                f"{vehicle.name}/{j}",
                vehicle.battery,
                slots,
                stay.initial_energy_kwh,
                vehicle.min_charge_power_kw,
            )
            required = given(stay.required_energy_kwh)
            if required is not None:
                z = self.z.get(f"{field}.stays[{j}].required_energy_kwh")
                some = {} if z is None else {z: 1.0}
                self.mip.row(plus({energy[-1]: 1.0}, some), lower=required)
            for k, t in enumerate(slots):
                power[t] = ({charge[k]: 1.0, discharge[k]: -1.0}, 0.0)
        self.power[vehicle.name] = power

    def flexible_load(self, load: Any, field: str) -> None:
        window = range(load.start_slot, load.end_slot)
        power: list[tuple[Terms, float]] = [({}, 0.0)] * self.T
        total: Terms = {}
        starts: Terms = {}
        previous = None
        for t in window:
            f = self.var(f"{load.name} f{t}", 0.0, load.max_power_kw)
            total[f] = self.h
            power[t] = ({f: 1.0}, 0.0)
            y = self.binary(f"{load.name} y{t}")
            self.mip.row({f: 1.0, y: -load.max_power_kw}, upper=0.0)
            self.mip.row({f: 1.0, y: -load.min_power_kw}, lower=0.0)
            if not load.interruptible:
                s = self.binary(f"{load.name} s{t}")
                starts[s] = 1.0
                before = {} if previous is None else {previous: -1.0}
                self.mip.row(plus({y: 1.0, s: -1.0}, before), upper=0.0)
            previous = y
        if starts:
            self.mip.row(starts, upper=1.0)
        z = self.z.get(f"{field}.energy_kwh")
        self.mip.row(plus(total, {} if z is None else {z: 1.0}), lower=load.energy_kwh)
        self.mip.row(total, upper=load.energy_kwh)
        self.power[load.name] = power

    def cycle(self, cycle: Any) -> None:
        length = len(cycle.power_kw)
        starts = {
            t: self.binary(f"{cycle.name} starts{t}")
            for t in range(cycle.start_slot, cycle.end_slot - length + 1)
        }
        self.mip.row(dict.fromkeys(starts.values(), 1.0), 1.0, 1.0)
        self.power[cycle.name] = [
            (
                {
                    start: float(cycle.power_kw[t - s])
                    for s, start in starts.items()
                    if 0 <= t - s < length
                },
                0.0,
            )
            for t in range(self.T)
        ]

    def heat_pump(self, pump: Any, field: str) -> None:
        tank, slots = pump.tank, list(range(self.T))
        energy = self.level(
            pump.name, slots, tank.initial_energy_kwh, tank.min_energy_kwh, tank.max_energy_kwh
        )
        kept = 1.0 - min(1.0, tank.loss_per_h * self.h)
        lacking = self.z.get(f"{field}.tank.min_energy_kwh")
        missing: Terms = {}
        power = []
        for t in slots:
            q = self.var(f"{pump.name} q{t}", 0.0, pump.max_power_kw)
            y = self.binary(f"{pump.name} y{t}")
            self.mip.row({q: 1.0, y: -pump.max_power_kw}, upper=0.0)
            self.mip.row({q: 1.0, y: -pump.min_power_kw}, lower=0.0)
            flow = {energy[t]: 1.0, q: -self.h * float(pump.cop[t])}
            right = -self.h * float(pump.heat_demand_kw[t])
            if t == 0:
                right += kept * tank.initial_energy_kwh
            else:
                flow[energy[t - 1]] = -kept
            if lacking is not None:
                heat = self.var(f"{pump.name} h{t}")
                flow[heat] = -1.0
                missing[heat] = 1.0
            self.mip.row(flow, right, right)
            power.append(({q: 1.0}, 0.0))
        if lacking is not None:
            self.mip.row(plus(missing, {lacking: -1.0}), upper=0.0)
        final = given(tank.final_energy_kwh)
        if final is not None:
            z = self.z.get(f"{field}.tank.final_energy_kwh")
            self.mip.row(plus({energy[-1]: 1.0}, {} if z is None else {z: 1.0}), lower=final)
        self.power[pump.name] = power

    def generator(self, unit: Any) -> None:
        name, low, high = unit.name, unit.min_power_kw, unit.max_power_kw
        free = (
            not any((low, unit.no_load_cost_per_h, unit.start_cost, unit.min_up_duration_s))
            and not unit.min_down_duration_s
        )
        slot_s = self.wanted.slot_duration_s
        up_slots, down_slots = (
            max(1, math.ceil(seconds / slot_s))
            for seconds in (unit.min_up_duration_s, unit.min_down_duration_s)
        )
        on_before = 1.0 if unit.initially_running or free else 0.0
        power_before = max(unit.initial_power_kw, low) if unit.initially_running else 0.0
        least_s = unit.min_up_duration_s if unit.initially_running else unit.min_down_duration_s
        held = max(0, math.ceil((least_s - unit.initial_duration_s) / slot_s))
        co2 = self.co2_price * unit.co2_kg_per_kwh
        on, outputs = [], []
        for t in range(self.T):
            n = self.var(f"{name} n{t}", 1.0 if free else 0.0, 1.0, 1)
            if t < held and not free:
                self.mip.row({n: 1.0}, on_before, on_before)
            started, stopped = self.binary(f"{name} a{t}"), self.binary(f"{name} b{t}")
            before = ({}, on_before) if t == 0 else ({on[-1]: -1.0}, 0.0)
            self.mip.row(
                plus({n: 1.0, started: -1.0, stopped: 1.0}, before[0]), before[1], before[1]
            )
            self.mip.row({started: 1.0, stopped: 1.0}, upper=1.0)
            on.append(n)
            self.pay(n, self.h * unit.no_load_cost_per_h)
            self.pay(started, unit.start_cost)
            output: Terms = {}
            end = 0.0
            for k, segment in enumerate(unit.cost_segments):
                part = self.var(f"{name} s{k},{t}", 0.0, segment.up_to_power_kw - end)
                self.pay(part, self.h * (segment.cost_per_kwh + co2))
                output[part] = 1.0
                end = segment.up_to_power_kw
            self.mip.row(plus(output, {n: -high}), upper=0.0)
            self.mip.row(plus(output, {n: -low}), lower=0.0)
            was = ({}, power_before) if t == 0 else (plus(outputs[-1], by=-1.0), 0.0)
            for limit, sign, switch in (
                (given(unit.ramp_up_kw_per_h), 1.0, started),
                (given(unit.ramp_down_kw_per_h), -1.0, stopped),
            ):
                if limit is None:
                    continue
                step = limit * self.h
                # Ramping up counts from the state before, ramping down in the state after.
                state = ({n: 1.0}, 0.0)
                if sign > 0:
                    state = ({}, on_before) if t == 0 else ({on[t - 1]: 1.0}, 0.0)
                self.mip.row(
                    plus(
                        plus(output, was[0], by=sign),
                        plus(state[0], by=-step),
                        {switch: -max(low, step)},
                    ),
                    upper=sign * was[1] + step * state[1],
                )
            outputs.append(output)
        for t in range(self.T):
            for later in range(t + 1, self.T):
                if later < t + up_slots:
                    self.mip.row({f"{self.at}{name} a{t}": 1.0, on[later]: -1.0}, upper=0.0)
                if later < t + down_slots:
                    self.mip.row({f"{self.at}{name} b{t}": 1.0, on[later]: 1.0}, upper=1.0)
        self.power[name] = [(plus(output, by=-1.0), 0.0) for output in outputs]
        if not free:
            self.running[name] = on
        if given(self.wanted.reserve) is not None:
            ups, downs = [], []
            for t in range(self.T):
                up, down = self.var(f"{name} up{t}"), self.var(f"{name} down{t}")
                self.mip.row(plus({up: 1.0}, outputs[t], {on[t]: -high}), upper=0.0)
                self.mip.row(plus({down: 1.0, on[t]: low}, plus(outputs[t], by=-1.0)), upper=0.0)
                ups.append(up)
                downs.append(down)
            self.up.append((name, ups))
            self.down.append((name, downs))

    def pv(self, pv: Any) -> None:
        available = self.available[pv.name]
        if not pv.curtailable:
            self.power[pv.name] = [({}, -float(a)) for a in available]
            return
        used = [self.var(f"{pv.name} u{t}", 0.0, available[t]) for t in range(self.T)]
        self.power[pv.name] = [({u: -1.0}, 0.0) for u in used]
        if given(self.wanted.reserve) is not None:
            ups, downs = [], []
            for t in range(self.T):
                up, down = self.var(f"{pv.name} up{t}"), self.var(f"{pv.name} down{t}")
                self.mip.row({up: 1.0, used[t]: 1.0}, upper=available[t])
                self.mip.row({down: 1.0, used[t]: -1.0}, upper=0.0)
                ups.append(up)
                downs.append(down)
            self.up.append((pv.name, ups))
            self.down.append((pv.name, downs))

    def grid_limits(self, direction: str, t: int) -> Iterable[tuple[float, Terms]]:
        """Each limit of a direction in a slot, with what it gives way by."""
        grid = self.wanted.grid
        for member in (f"max_{direction}_power_kw", f"{direction}_limits_kw"):
            limit = given(getattr(grid, member))
            if limit is None:
                continue
            z = self.z.get(f"grid.{member}")
            value = limit if isinstance(limit, float) else float(limit[t])
            yield value, {} if z is None else {z: 1.0}

    def grid(self) -> None:
        self.imported, self.exported, self.most_import = [], [], []
        for t in range(self.T):
            m, x, y = self.var(f"m{t}"), self.var(f"x{t}"), self.binary(f"y{t}")
            most = 1.0 + sum(
                abs(constant)
                + sum(
                    abs(value) * self.mip.upper[self.mip.names[name]]
                    for name, value in terms.items()
                )
                for terms, constant in (power[t] for power in self.power.values())
            )
            self.mip.row({m: 1.0, y: -most}, upper=0.0)
            self.mip.row({x: 1.0, y: most}, upper=most)
            for flow, direction in ((m, "import"), (x, "export")):
                for limit, z in self.grid_limits(direction, t):
                    self.mip.row(plus({flow: 1.0}, plus(z, by=-1.0)), upper=limit)
            self.pay(m, self.h * self.buy[t])
            self.pay(x, -self.h * self.sell[t])
            terms = plus(*(power[t][0] for power in self.power.values()))
            constant = sum(power[t][1] for power in self.power.values())
            self.mip.row(plus({m: 1.0, x: -1.0}, plus(terms, by=-1.0)), constant, constant)
            self.imported.append(m)
            self.most_import.append(most)
            self.exported.append(x)

    def groups(self) -> None:
        for i, group in enumerate(self.wanted.groups):
            for member, sign in (("max_import_power_kw", 1.0), ("max_export_power_kw", -1.0)):
                limit = given(getattr(group, member))
                if limit is None:
                    continue
                z = self.z.get(f"groups[{i}].{member}")
                for t in range(self.T):
                    powers = [self.power[name][t] for name in group.members]
                    terms = plus(*(terms for terms, _ in powers), by=sign)
                    constant = sign * sum(constant for _, constant in powers)
                    self.mip.row(
                        plus(terms, {} if z is None else {z: -1.0}), upper=limit - constant
                    )

    def reserve(self) -> None:
        hold = given(self.wanted.reserve)
        if hold is None:
            return
        for member, shares, direction, sign in (
            ("upward_power_kw", self.up, "export", -1.0),
            ("downward_power_kw", self.down, "import", 1.0),
        ):
            required = given(getattr(hold, member))
            if required is None:
                continue
            z = self.z.get(f"reserve.{member}")
            some = {} if z is None else {z: 1.0}
            for t in range(self.T):
                own = {held[t]: 1.0 for _, held in shares}
                self.mip.row(plus(own, some), lower=float(required[t]))
                flow = {self.imported[t]: sign, self.exported[t]: -sign}
                for limit, more in self.grid_limits(direction, t):
                    self.mip.row(
                        plus(flow, plus(some, more, by=-1.0)), upper=limit - float(required[t])
                    )

    def tiers(self) -> None:
        """The total ends in exactly one part; within it, it costs the part's surcharge more."""
        tiers = given(self.wanted.tariff.import_tiers)
        if tiers is None:
            return
        already = tiers.imported_energy_kwh
        starts = [0.0, *(tier.from_energy_kwh for tier in tiers.tiers)]
        ends = [*starts[1:], math.inf]
        surcharges = [0.0, *(tier.surcharge_per_kwh for tier in tiers.tiers)]
        most = sum(self.most_import[t] for t in range(self.T)) * self.h + 1.0
        total: Terms = {}
        choice: Terms = {}
        base = 0.0
        for k, (start, end, surcharge) in enumerate(zip(starts, ends, surcharges, strict=True)):
            first, last = max(0.0, start - already), min(most, max(0.0, end - already))
            if last <= first and k + 1 < len(starts):
                continue
            energy, ends_here = self.var(f"tier{k}"), self.binary(f"ends{k}")
            total[energy] = 1.0
            choice[ends_here] = 1.0
            self.mip.row({energy: 1.0, ends_here: -first}, lower=0.0)
            self.mip.row({energy: 1.0, ends_here: -max(first, last)}, upper=0.0)
            self.pay(ends_here, base - surcharge * first)
            self.pay(energy, surcharge)
            base += surcharge * (last - first)
        self.mip.row(choice, 1.0, 1.0)
        self.mip.row(plus(total, dict.fromkeys(self.imported, -self.h)), 0.0, 0.0)

    def demand_charges(self) -> None:
        start = datetime.fromisoformat(self.wanted.start_time).timestamp()
        slot_s = self.wanted.slot_duration_s
        for charge in self.wanted.tariff.demand_charges:
            peak = self.var(f"{charge.name} peak", charge.peak_so_far_kw)
            paid = self.var(f"{charge.name} paid")
            self.mip.row({paid: 1.0, peak: -1.0}, -charge.peak_so_far_kw, -charge.peak_so_far_kw)
            self.pay(paid, charge.price_per_kw)
            counts = [
                not charge.windows or any(w.start_slot <= t < w.end_slot for w in charge.windows)
                for t in range(self.T)
            ]
            length = charge.billing_interval_s
            if slot_s > length:
                for t in range(self.T):
                    if counts[t]:
                        self.mip.row({self.imported[t]: 1.0, peak: -1.0}, upper=0.0)
                continue
            end = start + self.T * slot_s
            begin = math.floor(start / length) * length
            so_far = charge.interval_energy_so_far_kwh
            while begin < end:
                terms: Terms = {}
                for t in range(self.T):
                    shared = min(begin + length, start + (t + 1) * slot_s) - max(
                        begin, start + t * slot_s
                    )
                    if counts[t] and shared > 0:
                        terms[self.imported[t]] = shared / length
                if terms:
                    self.mip.row(plus(terms, {peak: -1.0}), upper=-so_far * 3600 / length)
                begin += length
                so_far = 0.0

    def deviation(self) -> None:
        previous = given(self.wanted.previous_plan)
        if previous is None:
            return
        for asset in previous.assets:
            for t in range(len(asset.power_kw)):
                apart = self.var(f"{asset.name} apart{t}")
                self.pay(apart, self.h * previous.deviation_cost_per_kwh)
                terms, constant = self.power[asset.name][t]
                gap = float(asset.power_kw[t]) - constant
                self.mip.row(plus({apart: 1.0}, plus(terms, by=-1.0)), lower=-gap)
                self.mip.row(plus({apart: 1.0}, terms), lower=gap)


class AsGiven:
    """The scenario that changes nothing."""

    name = "as given"
    probability = 1.0
    loads: tuple[Any, ...] = ()
    pv: tuple[Any, ...] = ()
    import_price_per_kwh = UNSET
    export_price_per_kwh = UNSET


def program(
    wanted: DispatchInput, gives: Iterable[str] | dict[str, float] = ()
) -> tuple[Mip, list[Future], list[str]]:
    """The whole problem; limits at the fields ``gives`` give way, by these amounts if there are."""
    mip = Mip()
    amounts = gives if isinstance(gives, dict) else {}
    z = {
        field: mip.var(f"z {field}", amounts.get(field, 0.0), amounts.get(field, math.inf))
        for field in gives
    }
    uncertainty = given(wanted.uncertainty)
    scenarios = uncertainty.scenarios if uncertainty else [AsGiven()]
    futures = [Future(mip, wanted, scenario, f"{scenario.name}: ", z) for scenario in scenarios]
    if not uncertainty:
        mip.cost = futures[0].cost
        return mip, futures, list(z.values())
    weights = sum(scenario.probability for scenario in scenarios)
    decided = [
        asset.name
        for assets in (
            wanted.batteries,
            wanted.electric_vehicles,
            wanted.flexible_loads,
            wanted.cycles,
            wanted.heat_pumps,
            wanted.generators,
        )
        for asset in assets
    ]
    risk = uncertainty.risk_weight
    threshold = mip.var("threshold", -math.inf)
    mip.pay(threshold, risk)
    for scenario, future in zip(scenarios, futures, strict=True):
        part = scenario.probability / weights
        kappa = mip.var(f"cost of {scenario.name}", -math.inf)
        mip.row(plus({kappa: 1.0}, plus(future.cost, by=-1.0)), 0.0, 0.0)
        mip.pay(kappa, (1 - risk) * part)
        beyond = mip.var(f"beyond {scenario.name}")
        mip.row({beyond: 1.0, kappa: -1.0, threshold: 1.0}, lower=0.0)
        mip.pay(beyond, risk * part / uncertainty.tail_probability)
        for t in range(uncertainty.shared_slots):
            for name in decided:
                own, first = future.power[name][t], futures[0].power[name][t]
                if future is not futures[0]:
                    mip.row(plus(own[0], plus(first[0], by=-1.0)), 0.0, 0.0)
            for name, on in future.running.items():
                if future is not futures[0]:
                    mip.row({on[t]: 1.0, futures[0].running[name][t]: -1.0}, 0.0, 0.0)
    return mip, futures, list(z.values())


def least_objective(
    wanted: DispatchInput, gives: Iterable[str] | dict[str, float] = ()
) -> float | None:
    """The least cost, with penalties and deviation; None where no plan exists."""
    mip, _, _ = program(wanted, gives)
    found = mip.solve()
    return None if found is None else found[""]


def least_relief(wanted: DispatchInput, gives: Iterable[str]) -> float | None:
    """By how much limits at the fields must give way in all; None where that does not do."""
    mip, _, z = program(wanted, gives)
    mip.cost = dict.fromkeys(z, 1.0)
    found = mip.solve()
    return None if found is None else found[""]
