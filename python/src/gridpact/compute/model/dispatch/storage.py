"""Batteries and electric vehicles: energy that is charged and discharged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.draft import Draft, Flows, Part, Power, Way
from gridpact.compute.model.dispatch.level import Level, add_level
from gridpact.compute.model.dispatch.site import Battery, Cell, Indices, Mask, Vehicle

NOTHING = (-np.inf, np.inf)
"""What the last slot must keep where nothing is asked for."""


@dataclass(frozen=True, slots=True)
class StorageBlock:
    """A battery, or a vehicle during one stay, in the program."""

    cell: Cell
    flows: Flows
    level: Level

    @property
    def may_charge(self) -> Mask:
        """Where no choice has set charging to 0."""
        return self.flows.ways != Way.BACKWARD

    @property
    def may_discharge(self) -> Mask:
        return self.flows.ways != Way.FORWARD


@dataclass(frozen=True, slots=True)
class VehicleBlock:
    """A vehicle in the program: each stay is a storage of its own."""

    stays: tuple[StorageBlock, ...]
    power: Power


@dataclass(frozen=True, slots=True)
class BatteryBlock:
    """A battery in the program."""

    storage: StorageBlock
    power: Power


def add_battery(draft: Draft, battery: Battery, field: str) -> BatteryBlock:
    """Charge and discharge ≥ 0, energy within its window, and at the end as asked for."""
    final = battery.final_energy_kwh
    relief = draft.relief(f"{field}.final_energy_kwh")
    storage = _storage(
        draft,
        f"battery {battery.name}",
        battery.cell,
        np.arange(draft.site.slots),
        initial_kwh=battery.initial_energy_kwh,
        at_end_kwh=NOTHING if final is None or relief is not None else (final, final),
    )
    if final is not None and relief is not None:
        last = storage.level.stored[-1:]
        draft.program.at_most(final, (1.0, last), (-1.0, relief))
        draft.program.rows(final, np.inf, (1.0, last), (1.0, relief))
    return BatteryBlock(storage, Power(draft.no_power(), _parts(storage)))


def add_vehicle(draft: Draft, vehicle: Vehicle, field: str) -> VehicleBlock:
    """Each stay as a battery that holds at least what is required when it ends."""
    stays: list[StorageBlock] = []
    for index, stay in enumerate(vehicle.stays):
        required = stay.required_energy_kwh
        relief = draft.relief(f"{field}.stays[{index}].required_energy_kwh")
        storage = _storage(
            draft,
            f"vehicle {vehicle.name} {index}",
            vehicle.cell,
            stay.slots,
            initial_kwh=stay.initial_energy_kwh,
            at_end_kwh=NOTHING if required is None or relief is not None else (required, np.inf),
            least_charge_kw=vehicle.min_charge_power_kw,
        )
        if required is not None and relief is not None:
            last = storage.level.stored[-1:]
            draft.program.rows(required, np.inf, (1.0, last), (1.0, relief))
        stays.append(storage)
    parts = (part for storage in stays for part in _parts(storage))
    return VehicleBlock(tuple(stays), Power(draft.no_power(), tuple(parts)))


def _storage(
    draft: Draft,
    key: str,
    cell: Cell,
    slots: Indices,
    *,
    initial_kwh: float,
    at_end_kwh: tuple[float, float],
    least_charge_kw: float = 0.0,
) -> StorageBlock:
    hours, count = draft.site.slot_hours, len(slots)
    flows = draft.opposite_flows(
        key,
        slots,
        limits_kw=(
            np.full(count, cell.max_charge_power_kw),
            np.full(count, cell.max_discharge_power_kw),
        ),
        costs=(0.0, hours * cell.wear_cost_per_kwh),
        least_forward_kw=least_charge_kw,
        has_losses=cell.charge_efficiency * cell.discharge_efficiency < 1.0,
    )
    level = add_level(
        draft,
        count,
        initial_kwh=initial_kwh,
        window_kwh=(cell.min_energy_kwh, cell.max_energy_kwh),
        at_end_kwh=at_end_kwh,
    )
    draft.program.extend(
        level.rows,
        (-hours * cell.charge_efficiency, flows.forward),
        (hours / cell.discharge_efficiency, flows.backward),
    )
    return StorageBlock(cell, flows, level)


def _parts(storage: StorageBlock) -> tuple[Part, Part]:
    flows = storage.flows
    return Part(flows.slots, 1.0, flows.forward), Part(flows.slots, -1.0, flows.backward)
