"""What a schedule costs, by component, and the bill that it leads to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from gridpact.compute.model.dispatch.site import Generator, Series, Site
from gridpact.compute.model.dispatch.tariff import billing_intervals, tier_energies, tier_parts

REACHED_KWH = 1e-6
"""Less of a tier than this is the solver's rounding, and no line of the bill."""


@dataclass(frozen=True, slots=True)
class Costs:
    """The components of a cost."""

    energy_import: float = 0.0
    energy_export: float = 0.0
    grid_fees: float = 0.0
    tiers: float = 0.0
    demand_charges: float = 0.0
    generation: float = 0.0
    starts: float = 0.0
    wear: float = 0.0
    co2: float = 0.0

    @property
    def total(self) -> float:
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def energy(self) -> float:
        """Import cost with fees, less export income."""
        return self.energy_import + self.energy_export + self.grid_fees + self.tiers


@dataclass(frozen=True, slots=True)
class Operation:
    """The part of a schedule that costs: what flows at the grid, wear, and generators."""

    grid_power_kw: Series  # import positive
    discharged_kwh: tuple[tuple[float, float], ...] = ()  # energy and wear cost per kWh
    generators: tuple[tuple[Generator, Series, Series], ...] = ()  # output and running


@dataclass(frozen=True, slots=True)
class BillLine:
    """A line of the bill."""

    item: Literal["IMPORT", "EXPORT", "GRID_FEE", "TIER", "DEMAND_CHARGE", "CO2"]
    name: str | None
    quantity: float
    unit: Literal["kWh", "kW", "kg"]
    amount: float


def costs_of(site: Site, operation: Operation) -> Costs:
    """Every component, from the powers alone."""
    hours = site.slot_hours
    imported = np.maximum(operation.grid_power_kw, 0.0)
    exported = np.maximum(-operation.grid_power_kw, 0.0)
    return Costs(
        energy_import=hours * float(site.energy_price_per_kwh @ imported),
        energy_export=-hours * float(site.export_price_per_kwh @ exported) + 0.0,
        grid_fees=sum(
            (hours * float(fee.price_per_kwh @ imported) for fee in site.grid_fees), start=0.0
        ),
        tiers=_tier_cost(site, hours * float(imported.sum())),
        demand_charges=sum(
            (
                charge.price_per_kw * (peak - charge.peak_so_far_kw)
                for charge, peak in zip(site.demand_charges, peaks_kw(site, imported), strict=True)
            ),
            start=0.0,
        ),
        generation=sum((fuel_cost(site, *one) for one in operation.generators), start=0.0),
        starts=sum(
            (
                generator.start_cost * start_count(generator, running)
                for generator, _, running in operation.generators
            ),
            start=0.0,
        ),
        wear=sum((kwh * cost for kwh, cost in operation.discharged_kwh), start=0.0),
        co2=site.co2_price_per_kg * co2_kg(site, operation),
    )


def _tier_cost(site: Site, imported_kwh: float) -> float:
    if site.tiers is None:
        return 0.0
    _, surcharges = tier_parts(site.tiers)
    return float(surcharges @ tier_energies(site.tiers, imported_kwh))


def peaks_kw(site: Site, imported_kw: Series) -> tuple[float, ...]:
    """The peak of the billing period after the plan, for each demand charge."""
    return tuple(
        max(
            charge.peak_so_far_kw,
            *billing_intervals(site, charge).means_kw(imported_kw).tolist(),
            0.0,
        )
        for charge in site.demand_charges
    )


def fuel_cost(site: Site, generator: Generator, output_kw: Series, running: Series) -> float:
    """Fuel and no-load cost, without CO₂."""
    upper = np.cumsum(generator.widths_kw)[:, None]
    lower = upper - generator.widths_kw[:, None]
    within = np.clip(output_kw[None, :], lower, upper) - lower
    fuel = float(generator.costs_per_kwh @ within.sum(axis=1))
    return site.slot_hours * (fuel + generator.no_load_cost_per_h * float(running.sum()))


def start_count(generator: Generator, running: Series) -> int:
    """How often it starts."""
    before = np.concatenate([[float(generator.initially_running)], running[:-1]])
    return int(((running > 0.5) & (before < 0.5)).sum())


def co2_kg(site: Site, operation: Operation) -> float:
    """CO₂ of imports and generators."""
    of_import = 0.0
    if site.import_kg_per_kwh is not None:
        of_import = float(site.import_kg_per_kwh @ np.maximum(operation.grid_power_kw, 0.0))
    of_generators = sum(
        generator.co2_kg_per_kwh * float(output.sum())
        for generator, output, _ in operation.generators
    )
    return site.slot_hours * (of_import + of_generators)


def bill_of(site: Site, operation: Operation, costs: Costs) -> Iterator[BillLine]:
    """The bill: a line for import and export, each fee, tier and demand charge, and CO₂."""
    hours = site.slot_hours
    imported = np.maximum(operation.grid_power_kw, 0.0)
    imported_kwh = hours * float(imported.sum())
    exported_kwh = hours * float(np.maximum(-operation.grid_power_kw, 0.0).sum())
    yield BillLine("IMPORT", None, imported_kwh, "kWh", costs.energy_import)
    yield BillLine("EXPORT", None, exported_kwh, "kWh", costs.energy_export)
    for fee in site.grid_fees:
        amount = hours * float(fee.price_per_kwh @ imported)
        yield BillLine("GRID_FEE", fee.name, imported_kwh, "kWh", amount)
    if site.tiers is not None:
        _, surcharges = tier_parts(site.tiers)
        energies = tier_energies(site.tiers, imported_kwh)
        for energy, surcharge in zip(energies[1:].tolist(), surcharges[1:].tolist(), strict=True):
            if energy > REACHED_KWH:
                yield BillLine("TIER", None, energy, "kWh", energy * surcharge)
    for charge, peak in zip(site.demand_charges, peaks_kw(site, imported), strict=True):
        amount = charge.price_per_kw * peak
        yield BillLine("DEMAND_CHARGE", charge.name, peak, "kW", amount)
    if site.import_kg_per_kwh is not None:
        yield BillLine("CO2", None, co2_kg(site, operation), "kg", costs.co2)
