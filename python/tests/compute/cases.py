"""Random dispatch problems in the contract's form, with every kind of asset, price and limit.

Numbers are round, so that ties and kinks occur. The same code draws with hypothesis, which shrinks
what fails, and with a seeded generator, for the comparison of the engines.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

Json = dict[str, Any]
T = TypeVar("T")


class Dice(Protocol):
    """Where chance comes from."""

    def choose(self, options: Sequence[T]) -> T: ...

    def integer(self, least: int, most: int) -> int: ...


class SeededDice:
    """The same numbers for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, options: Sequence[T]) -> T:
        return self._random.choice(options)

    def integer(self, least: int, most: int) -> int:
        return self._random.randint(least, most)


class DrawnDice:
    """Numbers that hypothesis can shrink."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def choose(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))

    def integer(self, least: int, most: int) -> int:
        return self._draw(st.integers(least, most))


@dataclass(frozen=True)
class Wish:
    """What a problem may hold."""

    most_slots: int = 8
    batteries: int = 2
    vehicles: int = 1
    flexible_loads: int = 1
    cycles: int = 1
    heat_pumps: int = 1
    generators: int = 1
    odd_prices: bool = True  # negative ones, and export that pays more than import costs
    extras: bool = True  # fees, tiers, demand charges, limits by slot, groups, emissions
    # In how many of four problems there is this.
    reserve: int = 1
    previous_plan: int = 1
    outside: int = 1  # measured energies outside their windows
    uncertainty: bool = False
    tight: bool = True  # limits that may leave no plan
    whole: bool = True  # what asks for binaries: least powers, cycles, starts


PLAIN = Wish(
    vehicles=0,
    flexible_loads=0,
    cycles=0,
    heat_pumps=0,
    generators=0,
    extras=False,
    reserve=0,
    previous_plan=0,
    outside=0,
    tight=False,
)
"""Batteries and PV at plain prices."""

LINEAR = Wish(odd_prices=False, tight=False, whole=False)
"""Everything that needs no binary."""


@st.composite
def problems(draw: st.DrawFn, wish: Wish = Wish()) -> Json:  # frozen
    """A problem in the contract's form."""
    return problem(DrawnDice(draw), wish)


def problem(dice: Dice, wish: Wish) -> Json:
    """One problem."""
    return _Maker(dice, wish).make()


class _Maker:
    def __init__(self, dice: Dice, wish: Wish) -> None:
        self.dice, self.wish = dice, wish
        self.slots = dice.integer(1, wish.most_slots)
        self.slot_s = dice.choose([900, 3600, 1800, 300])
        self.hours = self.slot_s / 3600

    def series(self, options: Sequence[float], count: int | None = None) -> list[float]:
        return [self.dice.choose(options) for _ in range(self.slots if count is None else count)]

    def often(self) -> bool:
        return self.dice.integer(0, 2) > 0

    def seldom(self) -> bool:
        return self.chance(1)

    def chance(self, of_four: int) -> bool:
        return self.dice.integer(1, 4) <= of_four

    def few(self, most: int) -> range:
        return range(self.dice.integer(0, most))

    def make(self) -> Json:
        wish, dice = self.wish, self.dice
        made: Json = {
            "start_time": dice.choose(
                ["2026-06-01T00:00:00Z", "2026-06-01T10:25:00Z", "2026-03-29T00:52:30Z"]
            ),
            "slot_duration_s": self.slot_s,
            "slots": self.slots,
            "currency": "EUR",
            "batteries": [self.battery(i) for i in self.few(wish.batteries)],
            "pv": [
                {
                    "name": f"pv {i}",
                    "curtailable": self.often(),
                    "available_power_kw": self.series([0.0, 0.5, 2.0, 5.0]),
                }
                for i in self.few(2)
            ],
            "loads": [
                {"name": f"load {i}", "power_kw": self.series([0.0, 0.5, 1.0, 3.3])}
                for i in range(dice.integer(1, 2))
            ],
            "flexible_loads": [self.flexible_load(i) for i in self.few(wish.flexible_loads)],
            "cycles": [self.cycle(i) for i in self.few(wish.cycles if wish.whole else 0)],
            "electric_vehicles": [self.vehicle(i) for i in self.few(wish.vehicles)],
            "heat_pumps": [self.heat_pump(i) for i in self.few(wish.heat_pumps)],
            "generators": [self.generator(i) for i in self.few(wish.generators)],
            "tariff": self.tariff(),
            "grid": self.grid(),
            "options": {"time_limit_s": 60, "relative_gap": 0},
        }
        if wish.extras:
            made["groups"] = self.groups(made)
            if self.often():
                made["emissions"] = {
                    "import_kg_per_kwh": self.series([0.0, 0.2, 0.5]),
                    "price_per_kg": dice.choose([0.0, 0.1]),
                }
        if self.chance(wish.reserve):
            made["reserve"] = self.reserve()
        if self.chance(wish.previous_plan):
            self.add_previous_plan(made)
        if wish.uncertainty:
            made["uncertainty"] = self.uncertainty(made)
        return made

    def cell(self) -> Json:
        dice = self.dice
        capacity = dice.choose([1.0, 4.0, 10.0])
        cell: Json = {
            "capacity_kwh": capacity,
            "min_energy_kwh": dice.choose([0.0, 0.1]) * capacity,
            "max_charge_power_kw": dice.choose([0.0, 1.0, 2.0, 5.0]),
            "max_discharge_power_kw": dice.choose([0.0, 1.0, 3.3]),
            "charge_efficiency": dice.choose([1.0, 0.95, 0.7]),
            "discharge_efficiency": dice.choose([1.0, 0.9]),
            "wear_cost_per_kwh": dice.choose([0.0, 0.02]),
        }
        if self.seldom():
            cell["max_energy_kwh"] = 0.8 * capacity
        return cell

    def energy(self, cell: Json) -> float:
        """Within the window, mostly at one of some round places."""
        low = cell["min_energy_kwh"]
        high = cell.get("max_energy_kwh", cell["capacity_kwh"])
        return low + self.dice.choose([0.0, 0.25, 0.5, 0.9, 1.0]) * (high - low)

    def measured(self, cell: Json) -> float:
        if self.chance(self.wish.outside):
            return self.dice.choose([0.0, 0.05, 0.95, 1.03]) * cell["capacity_kwh"]
        return self.energy(cell)

    def battery(self, i: int) -> Json:
        cell = self.cell()
        battery: Json = {
            "name": f"battery {i}",
            "battery": cell,
            "initial_energy_kwh": self.measured(cell),
        }
        if self.often():
            low = cell["min_energy_kwh"]
            high = cell.get("max_energy_kwh", cell["capacity_kwh"])
            same = min(high, max(low, battery["initial_energy_kwh"]))
            reach = cell["max_charge_power_kw"] * cell["charge_efficiency"] * self.hours
            near = min(high, same + 0.5 * reach * self.slots)
            battery["final_energy_kwh"] = self.dice.choose(
                [same, near, self.energy(cell)] if self.wish.tight else [same, near]
            )
        return battery

    def window(self) -> tuple[int, int]:
        start = self.dice.integer(0, self.slots - 1)
        return start, self.dice.integer(start + 1, self.slots)

    def flexible_load(self, i: int) -> Json:
        dice, (start, stop) = self.dice, self.window()
        most = dice.choose([0.5, 2.0, 4.0])
        part = dice.choose([0.0, 0.3, 0.5, 1.0, *([1.2] if self.wish.tight else [])])
        load: Json = {
            "name": f"flexible {i}",
            "start_slot": start,
            "end_slot": stop,
            "energy_kwh": part * most * self.hours * (stop - start),
            "max_power_kw": most,
        }
        if self.wish.whole and self.often():
            load["min_power_kw"] = dice.choose([0.25, 0.5, 1.0]) * most
            load["interruptible"] = self.often()
        return load

    def cycle(self, i: int) -> Json:
        start, stop = self.window()
        length = self.dice.integer(1, stop - start)
        return {
            "name": f"cycle {i}",
            "start_slot": start,
            "end_slot": stop,
            "power_kw": self.series([0.0, 0.5, 2.0], length),
        }

    def vehicle(self, i: int) -> Json:
        dice, cell = self.dice, self.cell()
        stays: list[Json] = []
        first = 0
        while first < self.slots and len(stays) < 2:
            start = dice.integer(first, self.slots - 1)
            stop = dice.integer(start + 1, self.slots)
            initial = self.measured(cell)
            stay: Json = {"start_slot": start, "end_slot": stop, "initial_energy_kwh": initial}
            if self.often():
                high = cell.get("max_energy_kwh", cell["capacity_kwh"])
                reach = cell["max_charge_power_kw"] * cell["charge_efficiency"] * self.hours
                near = min(high, initial + 0.6 * reach * (stop - start))
                stay["required_energy_kwh"] = dice.choose(
                    [near, self.energy(cell)] if self.wish.tight else [near]
                )
            stays.append(stay)
            first = stop
            if self.often():
                break
        vehicle: Json = {"name": f"vehicle {i}", "battery": cell, "stays": stays}
        if self.wish.whole and self.seldom():
            vehicle["min_charge_power_kw"] = 0.3 * cell["max_charge_power_kw"]
        return vehicle

    def heat_pump(self, i: int) -> Json:
        dice = self.dice
        most = dice.choose([1.0, 3.0])
        room = dice.choose([2.0, 8.0])
        low = dice.choose([0.0, 0.25]) * room
        tank: Json = {
            "min_energy_kwh": low,
            "max_energy_kwh": room,
            "initial_energy_kwh": low + dice.choose([0.0, 0.5, 1.0]) * (room - low),
            "loss_per_h": dice.choose([0.0, 0.02, 0.5]),
        }
        if self.chance(self.wish.outside):
            tank["initial_energy_kwh"] = dice.choose([0.0, 1.04]) * room
        if self.often():
            tank["final_energy_kwh"] = dice.choose([0.5, 0.1]) * room
        pump: Json = {
            "name": f"pump {i}",
            "max_power_kw": most,
            "cop": self.series([2.0, 3.5]),
            "heat_demand_kw": self.series([0.0, 1.0, *([9.0] if self.wish.tight else [2.0])]),
            "tank": tank,
        }
        if self.wish.whole and self.often():
            pump["min_power_kw"] = 0.4 * most
        return pump

    def generator(self, i: int) -> Json:
        dice, whole = self.dice, self.wish.whole
        most = dice.choose([2.0, 5.0])
        costs = sorted(self.series([0.05, 0.15, 0.2, 0.35], dice.integer(1, 3)))
        segments = [
            {"up_to_power_kw": most * (k + 1) / len(costs), "cost_per_kwh": cost}
            for k, cost in enumerate(costs)
        ]
        generator: Json = {
            "name": f"generator {i}",
            "max_power_kw": most,
            "cost_segments": segments,
            "co2_kg_per_kwh": dice.choose([0.0, 0.4]),
        }
        if whole and self.often():
            generator |= {
                "min_power_kw": dice.choose([0.0, 0.4]) * most,
                "no_load_cost_per_h": dice.choose([0.0, 0.1]),
                "start_cost": dice.choose([0.0, 0.2]),
                "min_up_duration_s": dice.choose([0, 600, 2 * self.slot_s, 3 * self.slot_s]),
                "min_down_duration_s": dice.choose([0, 900, 2 * self.slot_s]),
            }
        if self.often():
            generator["initially_running"] = True
            generator["initial_power_kw"] = dice.choose([0.0, 0.5, 1.0]) * most
            generator["initial_duration_s"] = dice.choose([0, 100, self.slot_s, 31536000])
        if self.seldom():
            generator["ramp_up_kw_per_h"] = dice.choose([0.2, 0.5]) * most / self.hours
        if self.seldom():
            generator["ramp_down_kw_per_h"] = dice.choose([0.2, 0.5, 1.0]) * most / self.hours
        return generator

    def tariff(self) -> Json:
        dice, wish = self.dice, self.wish
        if wish.odd_prices:
            tariff: Json = {
                "import_price_per_kwh": self.series([-0.3, -0.1, 0.0, 0.05, 0.2, 0.3]),
                "export_price_per_kwh": self.series([-0.3, -0.1, 0.0, 0.05, 0.2, 0.3]),
            }
        else:
            prices = self.series([0.05, 0.1, 0.2, 0.25, 0.3, 0.4])
            part = dice.choose([0.0, 0.3, 0.9])
            tariff = {
                "import_price_per_kwh": prices,
                "export_price_per_kwh": [part * price for price in prices],
            }
        if not wish.extras:
            return tariff
        tariff["grid_fees"] = [
            {"name": f"fee {i}", "price_per_kwh": self.series([0.0, 0.04, 0.09])}
            for i in self.few(2)
        ]
        if self.seldom():
            borders = dice.choose([[1.0], [0.0, 2.0], [1.0, 2.5, 6.0]])
            surcharges = [0.01, 0.05, 0.08]
            if wish.odd_prices:
                surcharges = dice.choose([surcharges, [0.05, -0.02, 0.1], [-0.05, -0.1, 0.0]])
            tariff["import_tiers"] = {
                "imported_energy_kwh": dice.choose([0.0, 0.5, 2.0]),
                "tiers": [
                    {"from_energy_kwh": border, "surcharge_per_kwh": surcharge}
                    for border, surcharge in zip(borders, surcharges, strict=False)
                ],
            }
        tariff["demand_charges"] = [self.demand_charge(i) for i in self.few(1)]
        return tariff

    def demand_charge(self, i: int) -> Json:
        dice = self.dice
        charge: Json = {
            "name": f"peak {i}",
            "price_per_kw": dice.choose([0.2, 1.0]),
            "billing_interval_s": dice.choose([900, 1800, 3600, 300, 60]),
            "peak_so_far_kw": dice.choose([0.0, 1.0]),
            "interval_energy_so_far_kwh": dice.choose([0.0, 0.3]),
        }
        if self.seldom():
            start, stop = self.window()
            charge["windows"] = [{"start_slot": start, "end_slot": stop}]
        return charge

    def grid(self) -> Json:
        dice = self.dice
        limits = [3.0, 6.0, 1.0, 30.0] if self.wish.tight else [60.0, 40.0]
        grid: Json = {
            "max_import_power_kw": dice.choose(limits),
            "max_export_power_kw": dice.choose(limits),
        }
        if self.wish.extras and self.seldom():
            grid["import_limits_kw"] = self.series([*limits, limits[0] + 1.5])
        if self.wish.extras and self.seldom():
            grid["export_limits_kw"] = self.series([*limits, limits[0] + 1.0])
        return grid

    def groups(self, made: Json) -> list[Json]:
        kinds = (
            *("batteries", "pv", "loads", "flexible_loads", "cycles"),
            *("electric_vehicles", "heat_pumps", "generators"),
        )
        names = [asset["name"] for kind in kinds for asset in made[kind]]
        limits = [3.0, 5.0, 10.0, 1.0] if self.wish.tight else [30.0, 50.0]
        found: list[Json] = []
        for i in self.few(2):
            members = [name for name in names if self.often()]
            if members:
                group: Json = {"name": f"group {i}", "members": members}
                if self.often():
                    group["max_import_power_kw"] = self.dice.choose(limits)
                if self.often():
                    group["max_export_power_kw"] = self.dice.choose(limits)
                found.append(group)
        return found

    def reserve(self) -> Json:
        dice = self.dice
        reserve: Json = {"duration_s": dice.choose([900, 3600, 60])}
        amounts = [0.0, 0.2, 0.5] + ([1.5] if self.wish.tight else [])
        if self.chance(3):
            reserve["upward_power_kw"] = self.series(amounts)
        if self.chance(3):
            reserve["downward_power_kw"] = self.series(amounts)
        return reserve

    def add_previous_plan(self, made: Json) -> None:
        assets: list[Json] = []
        for kind, options in (
            ("batteries", [-1.0, 0.0, 1.0]),
            ("pv", [-2.0, -0.5, 0.0]),
            ("flexible_loads", [0.0, 0.5]),
            ("electric_vehicles", [0.0, 1.0, 2.0]),
            ("heat_pumps", [0.0, 1.0]),
            ("generators", [-2.0, 0.0]),
            ("cycles", [0.0, 2.0]),
        ):
            for asset in made[kind]:
                if self.often():
                    covered = self.dice.choose([self.slots, max(1, self.slots - 1)])
                    power = self.series(options, covered)
                    assets.append({"name": asset["name"], "power_kw": power})
        if assets:
            made["previous_plan"] = {
                "deviation_cost_per_kwh": self.dice.choose([0.002, 0.05]),
                "assets": assets,
            }

    def uncertainty(self, made: Json) -> Json:
        dice = self.dice
        scenarios: list[Json] = []
        for i in range(dice.integer(2, 3)):
            scenario: Json = {"name": f"scenario {i}", "probability": dice.choose([1.0, 2.0, 0.5])}
            scenario["loads"] = [
                {"name": load["name"], "power_kw": self.series([0.0, 0.5, 1.0, 3.3])}
                for load in made["loads"]
                if self.often()
            ]
            scenario["pv"] = [
                {"name": pv["name"], "power_kw": self.series([0.0, 0.5, 2.0, 5.0])}
                for pv in made["pv"]
                if self.often()
            ]
            if self.seldom():
                scenario["import_price_per_kwh"] = self.series([0.05, 0.2, 0.4])
            scenarios.append(scenario)
        return {
            "shared_slots": dice.integer(1, self.slots),
            "risk_weight": dice.choose([0.0, 0.3, 1.0]),
            "tail_probability": dice.choose([0.1, 0.4, 1.0]),
            "scenarios": scenarios,
        }
