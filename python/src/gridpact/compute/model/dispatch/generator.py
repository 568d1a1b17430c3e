"""Generators: running or resting, within least times and ramps, on a convex cost curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.draft import Draft, Part, Power
from gridpact.compute.model.dispatch.site import Generator, Mask
from gridpact.compute.solve.highs import Block


@dataclass(frozen=True, slots=True)
class GeneratorBlock:
    """A generator in the program: ``segments[k]`` is its output within cost step k."""

    running: Block
    segments: tuple[Block, ...]
    widths: tuple[Block, ...]  # rows that keep each segment within its width
    ramp_up: Block  # rows of the slots in which the ramp is limited; empty where it is not
    ramp_down: Block
    power: Power


def add_generator(draft: Draft, generator: Generator) -> GeneratorBlock:
    """Output, state, least times and ramps, as on the page."""
    program, slots, hours = draft.program, draft.site.slots, draft.site.slot_hours
    co2_per_kwh = draft.site.co2_price_per_kg * generator.co2_kg_per_kwh
    # What limits a segment is the row of its width. The bound only tells how large it can be: twice
    # as wide, it never takes part in the duals.
    segments = tuple(
        program.variables(slots, upper=2.0 * width, cost=hours * (cost + co2_per_kwh))
        for width, cost in zip(
            generator.widths_kw.tolist(), generator.costs_per_kwh.tolist(), strict=True
        )
    )
    running, started, stopped, was_running = _states(draft, generator)
    # The state before the first slot is a variable like the others, with one value.
    running_before = np.concatenate([was_running, running[:-1]]).astype(np.int32)

    widths = tuple(
        program.at_most(0.0, (1.0, segment), (-width, running))
        for segment, width in zip(segments, generator.widths_kw.tolist(), strict=True)
    )
    program.rows(
        0.0, np.inf, *((1.0, segment) for segment in segments), (-generator.min_power_kw, running)
    )

    def ramp(step_kw: float, sign: float, state: Block, switched: Block) -> Block:
        """±(output − output before) ≤ step·state + max(Pmin, step)·switched."""
        if math.isinf(step_kw):
            return program.empty_rows(0, 0.0, 0.0)
        right = np.zeros(slots)
        right[0] = sign * generator.power_before_kw
        rows = program.at_most(
            right,
            *((sign, segment) for segment in segments),
            (-step_kw, state),
            (-max(generator.min_power_kw, step_kw), switched),
        )
        for segment in segments:
            program.extend(rows[1:], (-sign, segment[:-1]))
        return rows

    ramp_up = ramp(generator.ramp_up_kw_per_h * hours, 1.0, running_before, started)
    ramp_down = ramp(generator.ramp_down_kw_per_h * hours, -1.0, running, stopped)
    every_slot = np.arange(slots)
    power = Power(draft.no_power(), tuple(Part(every_slot, -1.0, segment) for segment in segments))
    return GeneratorBlock(running, segments, widths, ramp_up, ramp_down, power)


def _states(draft: Draft, generator: Generator) -> tuple[Block, Block, Block, Block]:
    """Whether it runs, starts and stops in each slot, and whether it ran before the first."""
    program, slots, hours = draft.program, draft.site.slots, draft.site.slot_hours
    if not generator.must_be_committed:
        always = program.variables(slots, lower=1.0, upper=1.0)
        never = program.variables(slots, upper=0.0)
        return always, never, never, program.variables(1, lower=1.0, upper=1.0)
    before = float(generator.initially_running)
    was_running = program.variables(1, lower=before, upper=before)
    running = draft.yes_or_no(
        f"generator {generator.name}", slots, cost=hours * generator.no_load_cost_per_h
    )
    started = program.variables(slots, upper=1.0, cost=generator.start_cost)
    stopped = program.variables(slots, upper=1.0)
    running_before = np.concatenate([was_running, running[:-1]]).astype(np.int32)
    program.equal(0.0, (1.0, running), (-1.0, running_before), (-1.0, started), (1.0, stopped))
    fixed = held_at_first(generator, slots, hours)
    program.equal(before, (1.0, running[fixed]))

    def keep(switched: Block, duration_s: int, state_sign: float, right: float) -> None:
        """Σ switched over the last slots of the duration ≤ right + state_sign·running."""
        rows = program.at_most(right, (-state_sign, running))
        for back in range(min(slots, least_slots(duration_s, hours))):
            program.extend(rows[back:], (1.0, switched[: slots - back]))

    keep(started, generator.min_up_s, 1.0, 0.0)
    keep(stopped, generator.min_down_s, -1.0, 1.0)
    return running, started, stopped, was_running


def least_slots(duration_s: float, slot_hours: float) -> int:
    """A least time in slots, rounded up, and at least one."""
    return max(1, math.ceil(duration_s / (3600.0 * slot_hours) - 1e-9))


def held_at_first(generator: Generator, slots: int, slot_hours: float) -> Mask:
    """The first slots, in which what is left of a least time keeps it as it was."""
    least_s = generator.min_up_s if generator.initially_running else generator.min_down_s
    left_s = least_s - generator.initial_duration_s
    count = least_slots(left_s, slot_hours) if left_s > 0 else 0
    return np.arange(slots) < count
