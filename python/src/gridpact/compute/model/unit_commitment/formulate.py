"""The commitment as a mixed-integer program: docs/compute/unit-commitment.md, line by line.

Power of a unit is counted above its minimum, so that being on and producing are apart. Rows name
the paper that they are from: [CA] Carrión and Arroyo 2006, [RT] Rajan and Takriti 2005, [ME]
Morales-España et al. 2013, [GMR] Gentile et al. 2017, [DK] Damcı-Kurt et al. 2016, [PG] Pan and
Guan 2016, [KOW] Knueven, Ostrowski and Watson 2018, 2020.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.unit_commitment.fleet import Fleet, ThermalUnit
from gridpact.compute.solve.highs import Block, LinearProgram, Term

MISSING_DEMAND_WEIGHT = 10.0
"""Where not both can be had, demand is met before reserve is held."""


@dataclass(frozen=True, slots=True)
class UnitBlocks:
    """The variables of one unit, one a slot each."""

    on: Block
    start: Block
    stop: Block
    segments: tuple[Block, ...]  # MW produced in each segment of the cost curve
    reserve: Block


@dataclass(frozen=True, slots=True)
class Slack:
    """What may be missing or too much; the blocks are empty where nothing may."""

    missing_power: Block
    surplus_power: Block
    missing_reserve: Block


@dataclass(frozen=True, slots=True)
class Formulation:
    """The program and where in it everything stands."""

    program: LinearProgram
    units: tuple[UnitBlocks, ...]
    slack: Slack

    @property
    def decisions(self) -> tuple[tuple[Block, Block, Block], ...]:
        """What is decided by yes or no: on, start and stop of every unit."""
        return tuple((unit.on, unit.start, unit.stop) for unit in self.units)


def formulate(fleet: Fleet, *, elastic: bool = False) -> Formulation:
    """Builds the program; elastic, it always has a plan and costs what is missing, not money."""
    program = LinearProgram()
    money = 0.0 if elastic else 1.0
    units = tuple(_unit(program, fleet, unit, money) for unit in fleet.units)
    slots = fleet.slots
    free = slots if elastic else 0
    slack = Slack(
        program.variables(free, cost=MISSING_DEMAND_WEIGHT),
        program.variables(free, cost=MISSING_DEMAND_WEIGHT),
        program.variables(free, cost=1.0),
    )
    renewable = program.variables(slots, lower=fleet.min_renewable_mw, upper=fleet.max_renewable_mw)
    balance = program.equal(fleet.demand_mw, (1.0, renewable))
    needed = fleet.reserve_requirement_mw
    held = program.rows(needed, np.inf, (1.0, units[0].reserve))
    for unit, blocks in zip(fleet.units, units, strict=True):
        program.extend(balance, (unit.min_power_mw, blocks.on), *_power(blocks))
        if blocks is not units[0]:
            program.extend(held, (1.0, blocks.reserve))
    if elastic:
        program.extend(balance, (1.0, slack.missing_power), (-1.0, slack.surplus_power))
        program.extend(held, (1.0, slack.missing_reserve))
    return Formulation(program, units, slack)


def _power(blocks: UnitBlocks, sign: float = 1.0) -> list[Term]:
    """Production above minimum."""
    return [(sign, segment) for segment in blocks.segments]


def _unit(program: LinearProgram, fleet: Fleet, unit: ThermalUnit, money: float) -> UnitBlocks:
    slots, hours = fleet.slots, fleet.slot_hours
    held = np.arange(slots) < unit.held_slots
    must_be_on = unit.must_run | (held if unit.initially_on else np.zeros(slots, dtype=np.bool_))
    must_be_off = held & (not unit.initially_on)
    may_stop = np.ones(slots)
    may_stop[0] = unit.can_stop_at_once
    reserve_limit = np.where(fleet.reserve_requirement_mw > 0, unit.range_mw, 0.0)
    blocks = UnitBlocks(
        on=program.variables(
            slots,
            lower=np.where(must_be_on, 1.0, 0.0),
            upper=np.where(must_be_off, 0.0, 1.0),
            cost=money * hours * unit.no_load_cost_per_h,
            whole=True,
        ),
        start=program.variables(
            slots, upper=1.0, cost=money * unit.categories[-1].cost, whole=True
        ),
        stop=program.variables(slots, upper=may_stop, whole=True),
        segments=tuple(
            program.variables(
                slots, upper=segment.width_mw, cost=money * hours * segment.cost_per_mwh
            )
            for segment in unit.segments
        ),
        reserve=program.variables(slots, upper=reserve_limit),
    )
    _logic(program, unit, blocks)
    _startup_costs(program, fleet, unit, blocks, money)
    _segment_limits(program, unit, blocks)
    _power_limits(program, unit, blocks)
    _ramps(program, unit, blocks)
    return blocks


def _logic(program: LinearProgram, unit: ThermalUnit, blocks: UnitBlocks) -> None:
    """What on, start and stop have to do with each other; minimum up and down times [RT]."""
    on, start, stop = blocks.on, blocks.start, blocks.stop
    before = np.zeros(len(on))
    before[0] = unit.initially_on
    change = program.equal(before, (1.0, on), (-1.0, start), (1.0, stop))
    program.extend(change[1:], (-1.0, on[:-1]))
    stays_on = program.at_most(0.0, (-1.0, on))
    for ago in range(min(unit.min_up_slots, len(on))):
        program.extend(stays_on[ago:], (1.0, start[: len(on) - ago]))
    stays_off = program.at_most(1.0, (1.0, on))
    for ago in range(min(unit.min_down_slots, len(on))):
        program.extend(stays_off[ago:], (1.0, stop[: len(on) - ago]))


def _startup_costs(
    program: LinearProgram, fleet: Fleet, unit: ThermalUnit, blocks: UnitBlocks, money: float
) -> None:
    """A start costs as when cold, less what it saves to be matched with a recent stop [KOW]."""
    slots, hours = fleet.slots, fleet.slot_hours
    cold = unit.categories[-1].cost

    def saving(off_time_h: float) -> float:
        return cold - unit.startup_cost_after(off_time_h)

    by_stop = program.at_most(0.0, (-1.0, blocks.stop))
    by_start = program.at_most(0.0, (-1.0, blocks.start))
    for off in range(unit.min_down_slots, slots):
        if saving(off * hours) <= 0:
            break
        matched = program.variables(slots - off, upper=1.0, cost=-money * saving(off * hours))
        program.extend(by_stop[: slots - off], (1.0, matched))
        program.extend(by_start[off:], (1.0, matched))
    if unit.initially_on:
        return
    warm = [
        (slot, saved)
        for slot in range(slots)
        if (saved := saving(unit.initial_duration_h + slot * hours)) > 0
    ]
    if warm:
        count = len(warm)
        first = program.variables(
            count, upper=1.0, cost=np.array([-money * saved for _, saved in warm])
        )
        program.extend(by_start[:count], (1.0, first))
        once = program.at_most(1.0, (1.0, first[:1]))
        for other in range(1, count):
            program.extend(once, (1.0, first[other : other + 1]))


def _segment_limits(program: LinearProgram, unit: ThermalUnit, blocks: UnitBlocks) -> None:
    """Each segment of the cost curve, tighter right after a start and before a stop [KOW]."""

    def beyond(limit_mw: float, low_mw: float, high_mw: float) -> float:
        """How much of a segment lies above the limit."""
        return float(np.clip(high_mw - limit_mw, 0.0, high_mw - low_mw))

    for segment, power in zip(unit.segments, blocks.segments, strict=True):
        at_start = beyond(unit.first_slot_mw, segment.low_mw, segment.high_mw)
        at_stop = beyond(unit.last_power_mw, segment.low_mw, segment.high_mw)
        on: list[Term] = [(1.0, power), (-segment.width_mw, blocks.on)]
        if unit.min_up_slots > 1:
            rows = program.at_most(0.0, *on, (at_start, blocks.start))
            program.extend(rows[:-1], (at_stop, blocks.stop[1:]))
            continue
        # A start and a stop may both touch this slot: only the greater of the two counts.
        rows = program.at_most(0.0, *on, (at_start, blocks.start))
        program.extend(rows[:-1], (max(at_stop - at_start, 0.0), blocks.stop[1:]))
        if at_stop > 0:
            rows = program.at_most(0.0, *[(each, block[:-1]) for each, block in on])
            program.extend(rows, (at_stop, blocks.stop[1:]))
            program.extend(rows, (max(at_start - at_stop, 0.0), blocks.start[:-1]))


def _power_limits(program: LinearProgram, unit: ThermalUnit, blocks: UnitBlocks) -> None:
    """Power and reserve up to the maximum, less around starts and stops [ME] [GMR] [PG]."""
    start, stop, up = blocks.start, blocks.stop, unit.min_up_slots
    counting = range(min(up, len(start)))
    most, first, last = unit.range_mw, unit.first_slot_mw, unit.last_slot_mw
    power_and_reserve: list[Term] = [*_power(blocks), (1.0, blocks.reserve), (-most, blocks.on)]
    if up == 1:
        rows = program.at_most(0.0, *power_and_reserve, (most - first, start))
        program.extend(rows[:-1], (max(first - last, 0.0), stop[1:]))
        if last < most:
            rows = program.at_most(0.0, *[(each, block[:-1]) for each, block in power_and_reserve])
            program.extend(rows, (most - last, stop[1:]))
            program.extend(rows, (max(last - first, 0.0), start[:-1]))
        return
    # How far below the maximum the ramp keeps the unit so many slots after its start.
    below = _positive(most - first - ago * unit.ramp_up_mw for ago in counting)
    counted = max(1, min(len(below), up - 1))
    rows = program.at_most(0.0, *power_and_reserve)
    for ago, less in enumerate(below[:counted]):
        program.extend(rows[ago:], (less, start[: len(start) - ago]))
    program.extend(rows[:-1], (most - last, stop[1:]))
    if len(below) > counted:
        rows = program.at_most(0.0, *power_and_reserve)
        for ago, less in enumerate(below):
            program.extend(rows[ago:], (less, start[: len(start) - ago]))
    # The same before a stop; ramping down binds power only.
    below = _positive(most - unit.last_power_mw - ahead * unit.ramp_down_mw for ahead in counting)
    if len(below) > 1:
        rows = program.at_most(0.0, *_power(blocks), (-most, blocks.on))
        for ahead, less in enumerate(below, start=1):
            program.extend(rows[:-ahead], (less, stop[ahead:]))
        if len(below) < up:
            program.extend(rows, (most - first, start))


def _positive(values: Iterable[float]) -> list[float]:
    return list(itertools.takewhile(lambda value: value > 0, values))


def _ramps(program: LinearProgram, unit: ThermalUnit, blocks: UnitBlocks) -> None:
    """How fast power above minimum rises and falls [DK]. What no ramp limits has no rows."""
    up, down, initially = unit.ramp_up_mw, unit.ramp_down_mw, unit.initial_range_mw
    on, start, stop = blocks.on, blocks.start, blocks.stop
    most = np.zeros(len(on))
    if up < unit.range_mw:
        most[0] = initially
        rows = program.at_most(most, (1.0, blocks.reserve), *_power(blocks), (-up, on))
        program.extend(rows, (up - unit.first_slot_mw, start))
        program.extend(rows[1:], *[(-1.0, segment[:-1]) for segment in blocks.segments])
    if down < unit.range_mw:
        most[0] = down * unit.initially_on - initially
        rows = program.at_most(most, *_power(blocks, -1.0), (down - unit.last_power_mw, stop))
        program.extend(rows[1:], (-down, on[:-1]))
        program.extend(rows[1:], *[(1.0, segment[:-1]) for segment in blocks.segments])
