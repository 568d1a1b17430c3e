"""Whether a commitment keeps every rule of PGLib-UC, and what it costs.

Written from B. Knueven, J. Ostrowski, J.-P. Watson: "On mixed-integer programming formulations for
the unit commitment problem", INFORMS J. Comput. 32 (2020), section 2 and the description that comes
with PGLib-UC, in plain Python and in the words of that file format. It walks through time unit by
unit instead of solving equations, and shares nothing with the engines or the importer. A start
costs by the time that the unit has really been off.

    verdict = check(json.load(file), schedule_of(result))
    assert verdict.broken == []
    verdict.cost
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

TOLERANCE_MW = 1e-5
TOLERANCE_H = 1e-6


@dataclass(frozen=True)
class Schedule:
    """What units do, by their names: one value a period."""

    on: Mapping[str, Sequence[int]]
    power: Mapping[str, Sequence[float]]  # thermal and renewable
    reserve: Mapping[str, Sequence[float]]


@dataclass
class Verdict:
    """Every rule that is broken, in words, and the cost."""

    broken: list[str] = field(default_factory=list)
    production_cost: float = 0.0  # no-load cost included
    startup_cost: float = 0.0

    @property
    def cost(self) -> float:
        return self.production_cost + self.startup_cost

    def require(self, holds: bool, words: str) -> None:
        if not holds:
            self.broken.append(words)


def schedule_of(result: Any) -> Schedule:
    """The schedule in a UnitCommitmentResult."""
    thermal, renewable = result.thermal_units, result.renewable_units
    return Schedule(
        on={unit.name: list(unit.commitment) for unit in thermal},
        power={unit.name: [float(mw) for mw in unit.power_mw] for unit in (*thermal, *renewable)},
        reserve={unit.name: [float(mw) for mw in unit.reserve_mw] for unit in thermal},
    )


def check(instance: Mapping[str, Any], schedule: Schedule, *, period_h: float = 1.0) -> Verdict:
    """``period_h`` is 1 in PGLib-UC; times and ramps of the instance are hours and MW per hour."""
    verdict = Verdict()
    thermal, renewable = instance["thermal_generators"], instance["renewable_generators"]
    verdict.require(set(schedule.on) == set(thermal), "not every thermal unit, or others")
    verdict.require(
        set(schedule.power) == set(thermal) | set(renewable), "not every unit, or others"
    )
    if verdict.broken:
        return verdict
    for name, unit in thermal.items():
        _walk(
            verdict,
            name,
            unit,
            schedule.on[name],
            schedule.power[name],
            schedule.reserve[name],
            period_h,
        )
    for name, unit in renewable.items():
        limits = zip(
            unit["power_output_minimum"],
            unit["power_output_maximum"],
            schedule.power[name],
            strict=True,
        )
        for t, (least, most, power) in enumerate(limits):
            verdict.require(
                least - TOLERANCE_MW <= power <= most + TOLERANCE_MW,
                f"{name} produces {power} in {t}, not within [{least}, {most}]",
            )
    for t, (demand, reserve) in enumerate(
        zip(instance["demand"], instance["reserves"], strict=True)
    ):
        produced = sum(power[t] for power in schedule.power.values())
        held = sum(each[t] for each in schedule.reserve.values())
        verdict.require(
            abs(produced - demand) <= TOLERANCE_MW * max(1.0, len(thermal)),
            f"{produced} is produced in {t}, {demand} demanded",
        )
        verdict.require(
            held >= reserve - TOLERANCE_MW * max(1.0, len(thermal)),
            f"{held} is held in reserve in {t}, {reserve} required",
        )
    return verdict


def _walk(
    verdict: Verdict,
    name: str,
    unit: Mapping[str, Any],
    on: Sequence[int],
    power: Sequence[float],
    reserve: Sequence[float],
    period_h: float,
) -> None:
    """One unit through time: how long it has been in its state, and what it produced before."""
    least, most = unit["power_output_minimum"], unit["power_output_maximum"]
    first = min(unit["ramp_startup_limit"], most)
    last = min(unit["ramp_shutdown_limit"], most)
    rise, fall = unit["ramp_up_limit"] * period_h, unit["ramp_down_limit"] * period_h
    was_on = bool(unit["unit_on_t0"])
    for_h = unit["time_up_t0"] if was_on else unit["time_down_t0"]
    above_before = unit["power_output_t0"] - least if was_on else 0.0
    total_before = unit["power_output_t0"] if was_on else 0.0  # power and reserve of that period
    for t, is_on in enumerate(on):
        at = f"{name} in {t}"
        verdict.require(is_on in (0, 1), f"{at}: commitment {is_on}")
        verdict.require(bool(is_on) or not unit["must_run"], f"{at}: must run")
        total = power[t] + reserve[t]
        above = power[t] - least if is_on else 0.0
        verdict.require(reserve[t] >= -TOLERANCE_MW, f"{at}: reserve {reserve[t]}")
        if is_on:
            verdict.require(power[t] >= least - TOLERANCE_MW, f"{at}: {power[t]} below {least}")
            verdict.require(total <= most + TOLERANCE_MW, f"{at}: {total} above {most}")
            verdict.production_cost += period_h * _cost_of(unit["piecewise_production"], power[t])
        else:
            verdict.require(abs(total) <= TOLERANCE_MW, f"{at}: {total} although off")
        if is_on and not was_on:
            verdict.require(
                for_h >= unit["time_down_minimum"] - TOLERANCE_H, f"{at}: started after {for_h} h"
            )
            verdict.require(total <= first + TOLERANCE_MW, f"{at}: {total} at start, above {first}")
            verdict.startup_cost += _startup_cost(unit["startup"], for_h)
        if was_on and not is_on:
            verdict.require(
                for_h >= unit["time_up_minimum"] - TOLERANCE_H, f"{at}: stopped after {for_h} h"
            )
            verdict.require(
                total_before <= last + TOLERANCE_MW, f"{at}: stopped from {total_before}"
            )
        held = reserve[t] if is_on else 0.0
        verdict.require(
            above + held - above_before <= rise + TOLERANCE_MW, f"{at}: rises from {above_before}"
        )
        verdict.require(above_before - above <= fall + TOLERANCE_MW, f"{at}: falls to {above}")
        for_h = period_h + (for_h if bool(is_on) == was_on else 0.0)
        was_on, above_before, total_before = bool(is_on), above, total


def _startup_cost(categories: Sequence[Mapping[str, float]], off_h: float) -> float:
    cost = categories[0]["cost"]
    for category in categories:
        if off_h >= category["lag"] - TOLERANCE_H:
            cost = category["cost"]
    return cost


def _cost_of(points: Sequence[Mapping[str, float]], power: float) -> float:
    if power <= points[0]["mw"]:
        return points[0]["cost"]
    for low, high in pairwise(points):
        if power <= high["mw"]:
            part = (power - low["mw"]) / (high["mw"] - low["mw"])
            return low["cost"] + part * (high["cost"] - low["cost"])
    return points[-1]["cost"]
