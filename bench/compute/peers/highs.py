"""HiGHS as highspy gives it, on the program of docs/compute/dispatch.md: the peer without overhead.

The program is put together by NumPy as compressed columns and handed over by passModel with arrays,
which is the fastest way in. One thread.
"""

from __future__ import annotations

import json
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import highspy
import numpy as np

from bench.compute.lane import Answer, Lane, Measure, Missing, serve

Option = bool | int | float | str


class Program(NamedTuple):
    """Columns by kind, then slot: import, export, charge, discharge, stored energy, used PV."""

    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    right: np.ndarray
    start: np.ndarray
    row: np.ndarray
    coefficient: np.ndarray


class Site(NamedTuple):
    """A DispatchInput with one battery, no longer as JSON."""

    hours: float
    import_price: np.ndarray
    export_price: np.ndarray
    load_kw: np.ndarray
    curtailable_kw: np.ndarray
    max_import_kw: float
    max_export_kw: float
    battery: dict[str, float]
    initial_kwh: float
    final_kwh: float | None


def read_site(source: str) -> Site:
    """The input as JSON from the file ``source``; Missing where this peer's program does not do."""
    given = json.loads(Path(source).read_text(encoding="utf-8"))
    return site_of(given)


def site_of(given: dict[str, Any]) -> Site:
    if len(given["batteries"]) != 1:
        raise Missing("the peer's program has one battery")
    slots = given["slots"]
    load_kw, curtailable_kw = np.zeros(slots), np.zeros(slots)
    for load in given["loads"]:
        load_kw += load["power_kw"]
    for pv in given["pv"]:
        if pv["curtailable"]:
            curtailable_kw += pv["available_power_kw"]
        else:
            load_kw -= pv["available_power_kw"]
    held = given["batteries"][0]
    return Site(
        given["slot_duration_s"] / 3600,
        np.array(given["tariff"]["import_price_per_kwh"], dtype=np.float64),
        np.array(given["tariff"]["export_price_per_kwh"], dtype=np.float64),
        load_kw,
        curtailable_kw,
        given["grid"]["max_import_power_kw"],
        given["grid"]["max_export_power_kw"],
        held["battery"],
        held["initial_energy_kwh"],
        held.get("final_energy_kwh"),
    )


def formulate(site: Site) -> Program:
    """The linear program; rows are the balances of power, then those of stored energy."""
    slots, hours, battery = len(site.load_kw), site.hours, site.battery
    plants = bool(site.curtailable_kw.any())
    kinds = 6 if plants else 5
    cost, lower, upper = (np.zeros((kinds, slots)) for _ in range(3))
    cost[0], cost[1] = hours * site.import_price, -hours * site.export_price
    cost[3] = hours * battery.get("wear_cost_per_kwh", 0.0)
    upper[0], upper[1] = site.max_import_kw, site.max_export_kw
    upper[2], upper[3] = battery["max_charge_power_kw"], battery["max_discharge_power_kw"]
    lower[4] = battery.get("min_energy_kwh", 0.0)
    upper[4] = battery.get("max_energy_kwh", battery["capacity_kwh"])
    if site.final_kwh is not None:
        lower[4, -1] = upper[4, -1] = site.final_kwh
    if plants:
        upper[5] = site.curtailable_kw
    right = np.concatenate([site.load_kw, np.zeros(slots)])
    right[slots] = site.initial_kwh

    balance = np.arange(slots, dtype=np.int32)
    storage = balance + slots
    pairs = np.empty((slots, 2), dtype=np.int32)
    pairs[:, 0], pairs[:, 1] = balance, storage
    both = pairs.ravel()
    chain = np.repeat(storage, 2)[: 2 * slots - 1]
    chain[1::2] += 1
    charge = np.tile([-1.0, -hours * battery["charge_efficiency"]], slots)
    discharge = np.tile([1.0, hours / battery["discharge_efficiency"]], slots)
    stored = np.tile([1.0, -1.0], slots)[: 2 * slots - 1]
    ones = np.ones(slots)
    rows = [balance, balance, both, both, chain]
    coefficients = [ones, -ones, charge, discharge, stored]
    if plants:
        rows.append(balance)
        coefficients.append(ones)
    each = np.repeat([1, 1, 2, 2, 2, 1][:kinds], slots)
    each[5 * slots - 1] = 1  # the energy after the last slot is in no further balance
    start = np.concatenate([[0], np.cumsum(each)]).astype(np.int32)
    return Program(
        cost.ravel(),
        lower.ravel(),
        upper.ravel(),
        right,
        start,
        np.concatenate(rows),
        np.concatenate(coefficients),
    )


def solver(**options: Option) -> highspy.Highs:
    highs = highspy.Highs()
    for name, value in {"output_flag": False, "threads": 1, **options}.items():
        highs.setOptionValue(name, value)
    return highs


def hand_over(highs: highspy.Highs, program: Program) -> None:
    columns, rows = len(program.cost), len(program.right)
    status = highs.passModel(
        columns,
        rows,
        len(program.coefficient),
        int(highspy.MatrixFormat.kColwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        program.cost,
        program.lower,
        program.upper,
        program.right,
        program.right,
        program.start,
        program.row,
        program.coefficient,
        np.zeros(columns, dtype=np.int32),
    )
    if status != highspy.HighsStatus.kOk:
        raise RuntimeError(f"HiGHS refuses the program: {status}")


def solved(highs: highspy.Highs) -> np.ndarray:
    """Runs and reads the values, which is what a caller wants."""
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise RuntimeError(highs.modelStatusToString(highs.getModelStatus()))
    return np.array(highs.getSolution().col_value)


class Dispatch:
    """Arrays in, schedule out: build, hand over, solve, read; everything new in each call."""

    def __init__(self, source: str, **options: Option) -> None:
        self._site = read_site(source)
        self._options = options

    def call(self, measure: Measure) -> None:
        with measure():
            program = formulate(self._site)
            highs = solver(**self._options)
            hand_over(highs, program)
            self._values = solved(highs)
        self._objective = highs.getInfo().objective_function_value

    def answer(self) -> Answer:
        return {"cost": self._objective}


class Steps:
    """A controller's steps, one in each call; each has other prices, loads and measured energy.

    Warm, one model stays in HiGHS: costs, bounds and right-hand sides change in place, and each run
    begins at the basis of the one before. Cold, each step is built and solved as in `Dispatch`.
    """

    def __init__(self, source: str, *, warm: bool) -> None:
        given = json.loads(Path(source).read_text(encoding="utf-8"))
        self._sites = [site_of(step) for step in given]
        self._warm = warm
        self._next = 0
        self._last_costs: deque[float] = deque(maxlen=10)
        self._highs = solver(presolve="off")
        if warm:
            hand_over(self._highs, formulate(self._sites[0]))
            solved(self._highs)

    def call(self, measure: Measure) -> None:
        site = self._sites[self._next % len(self._sites)]
        self._next += 1
        with measure():
            if self._warm:
                self._change(site)
            else:
                self._highs = solver(presolve="off")
                hand_over(self._highs, formulate(site))
            self._values = solved(self._highs)
        self._last_costs.append(self._highs.getInfo().objective_function_value)

    def _change(self, site: Site) -> None:
        slots, highs = len(site.load_kw), self._highs
        columns = np.arange(2 * slots, dtype=np.int32)
        prices = np.concatenate([site.import_price, -site.export_price])
        highs.changeColsCost(2 * slots, columns, site.hours * prices)
        right = site.load_kw
        highs.changeRowsBounds(slots, columns[:slots], right, right)
        highs.changeRowBounds(slots, site.initial_kwh, site.initial_kwh)
        if site.curtailable_kw.any():
            plants = columns[:slots] + 5 * slots
            highs.changeColsBounds(slots, plants, np.zeros(slots), site.curtailable_kw)

    def answer(self) -> Answer:
        return {"cost_of_last_steps": list(self._last_costs)}


def main() -> None:
    lanes: dict[str, partial[Lane]] = {
        "mpc_step_warm": partial(Steps, warm=True),
        "mpc_step_cold": partial(Steps, warm=False),
        "dispatch": partial(Dispatch),
        "dispatch_no_presolve": partial(Dispatch, presolve="off"),
    }
    serve(lanes, lambda: {"highs (highspy)": highspy.Highs().version()})


if __name__ == "__main__":
    main()
