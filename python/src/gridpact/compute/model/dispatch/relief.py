"""The limits that people set, and that may give way where they leave no plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from gridpact.compute.model.dispatch.site import Site

Unit = Literal["kW", "kWh"]


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit by its input member; ``at`` fills in the brackets, ``name`` says whose it is."""

    member: str  # for example groups[].max_import_power_kw
    unit: Unit
    at: tuple[int, ...] = ()
    name: str | None = None

    @property
    def field(self) -> str:
        """The member with its indices."""
        steps = self.member.split("[]")
        indices = (*(f"[{index}]" for index in self.at), "")
        return "".join(step + index for step, index in zip(steps, indices, strict=True))


class Goal(Enum):
    """What is minimised."""

    ANY_PLAN = "nothing: whatever keeps the limits"
    LEAST_RELIEF = "how much the limits give way"
    LEAST_COST = "cost"


@dataclass(frozen=True, slots=True)
class Relief:
    """Which limits may give way, and how far: together, or each by what is fixed for it."""

    limits: tuple[Limit, ...] = ()
    goal: Goal = Goal.LEAST_COST
    most_in_all: float | None = None
    amounts: tuple[float, ...] | None = None
    least_in_all: float = 0.0  # how far they must give way together


NO_RELIEF = Relief()


def limits_of(site: Site) -> tuple[Limit, ...]:
    """All limits that may give way, the one hardest to change first."""
    return tuple(limit for limit, present in _all(site) if present is not None)


def _all(site: Site) -> Iterator[tuple[Limit, object]]:
    for member in (
        "max_import_power_kw",
        "max_export_power_kw",
        "import_limits_kw",
        "export_limits_kw",
    ):
        yield Limit(f"grid.{member}", "kW"), getattr(site, member)
    for i, group in enumerate(site.groups):
        for member in ("max_import_power_kw", "max_export_power_kw"):
            yield Limit(f"groups[].{member}", "kW", (i,), group.name), getattr(group, member)
    for member in ("upward_power_kw", "downward_power_kw"):
        yield Limit(f"reserve.{member}", "kW"), getattr(site.reserve, member)
    for i, pump in enumerate(site.heat_pumps):
        member = "heat_pumps[].tank.min_energy_kwh"
        yield Limit(member, "kWh", (i,), pump.name), pump.tank.min_energy_kwh
    for i, vehicle in enumerate(site.vehicles):
        member = "electric_vehicles[].stays[].required_energy_kwh"
        for j, stay in enumerate(vehicle.stays):
            yield Limit(member, "kWh", (i, j), vehicle.name), stay.required_energy_kwh
    for i, load in enumerate(site.flexible_loads):
        yield Limit("flexible_loads[].energy_kwh", "kWh", (i,), load.name), load.energy_kwh
    for i, pump in enumerate(site.heat_pumps):
        member = "heat_pumps[].tank.final_energy_kwh"
        yield Limit(member, "kWh", (i,), pump.name), pump.tank.final_energy_kwh
    for i, battery in enumerate(site.batteries):
        member = "batteries[].final_energy_kwh"
        yield Limit(member, "kWh", (i,), battery.name), battery.final_energy_kwh
