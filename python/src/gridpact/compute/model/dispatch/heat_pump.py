"""Heat pumps: electric power that keeps a tank warm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.draft import Draft, Part, Power
from gridpact.compute.model.dispatch.level import Level, add_level
from gridpact.compute.model.dispatch.site import HeatPump
from gridpact.compute.solve.highs import Block


@dataclass(frozen=True, slots=True)
class HeatPumpBlock:
    """A heat pump in the program; ``missing`` is heat not delivered, where that may be."""

    power_kw: Block
    level: Level
    missing: Block
    power: Power


def add_heat_pump(draft: Draft, pump: HeatPump, field: str) -> HeatPumpBlock:
    """The tank's heat: what is kept, plus what the pump delivers, less what is taken."""
    program, slots, hours = draft.program, draft.site.slots, draft.site.slot_hours
    power = program.variables(slots, upper=pump.max_power_kw)
    if pump.min_power_kw > 0:
        runs = draft.yes_or_no(f"heat pump {pump.name}", slots)
        program.at_most(0.0, (1.0, power), (-pump.max_power_kw, runs))
        program.at_most(0.0, (pump.min_power_kw, runs), (-1.0, power))
    tank = pump.tank
    final = tank.final_energy_kwh
    final_relief = draft.relief(f"{field}.tank.final_energy_kwh")
    level = add_level(
        draft,
        slots,
        initial_kwh=tank.initial_energy_kwh,
        window_kwh=(tank.min_energy_kwh, tank.max_energy_kwh),
        at_end_kwh=(-np.inf if final is None or final_relief is not None else final, np.inf),
        kept=1.0 - min(1.0, tank.loss_per_h * hours),
        inflow_kwh=-hours * pump.heat_demand_kw,
    )
    program.extend(level.rows, (-hours * pump.cop, power))
    if final is not None and final_relief is not None:
        program.rows(final, np.inf, (1.0, level.stored[-1:]), (1.0, final_relief))
    missing = program.variables(0)
    if (missing_relief := draft.relief(f"{field}.tank.min_energy_kwh")) is not None:
        missing = program.variables(slots)
        program.extend(level.rows, (-1.0, missing))
        program.sum(-np.inf, 0.0, (1.0, missing), (-1.0, missing_relief))
    every_slot = np.arange(slots)
    return HeatPumpBlock(
        power, level, missing, Power(draft.no_power(), (Part(every_slot, 1.0, power),))
    )
