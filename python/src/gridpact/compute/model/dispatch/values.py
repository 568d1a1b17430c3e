"""What stored energy is worth, at the kinks too: docs/compute/dispatch.md, "Duals"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.compute.model.dispatch.plan import StoragePlan
from gridpact.compute.model.dispatch.search import TOLERANCE
from gridpact.compute.model.dispatch.site import Cell, Mask, Series


@dataclass(frozen=True, slots=True)
class Chain:
    """A storage in its slots: what it does, within which bounds, and the price at it."""

    cell: Cell
    plan: StoragePlan
    lower_kwh: Series
    upper_kwh: Series
    least_charge_kw: Series  # where it charges; 0 mostly
    may_charge: Mask  # not set to 0 by a choice
    may_discharge: Mask
    final_is_given: bool
    price_per_kwh: Series
    solver_value_per_kwh: Series

    @property
    def charged_at(self) -> Series:
        """What a stored kWh costs that is charged now."""
        return self.price_per_kwh / self.cell.charge_efficiency

    @property
    def discharged_at(self) -> Series:
        """What a stored kWh earns that is discharged now."""
        return (self.price_per_kwh - self.cell.wear_cost_per_kwh) * self.cell.discharge_efficiency

    @property
    def not_empty(self) -> Mask:
        return self.plan.energy_kwh > self.lower_kwh + TOLERANCE

    @property
    def not_full(self) -> Mask:
        return self.plan.energy_kwh < self.upper_kwh - TOLERANCE


def value_of_more(chain: Chain) -> Series:
    """μ⁻: what one more stored kWh at the end of the slot saves."""
    plan = chain.plan
    charges = chain.may_charge & (plan.charge_power_kw > chain.least_charge_kw + TOLERANCE)
    could_discharge = chain.may_discharge & (
        plan.discharge_power_kw < chain.cell.max_discharge_power_kw - TOLERANCE
    )
    bound = np.maximum(
        np.where(charges, chain.charged_at, -np.inf),
        np.where(could_discharge, chain.discharged_at, -np.inf),
    )
    return _spread(bound, -np.inf, chain, back=chain.not_full, on=chain.not_empty)


def cost_of_less(chain: Chain) -> Series:
    """μ⁺: what one stored kWh less costs; the same with all signs turned round."""
    plan = chain.plan
    could_charge = chain.may_charge & (
        plan.charge_power_kw < chain.cell.max_charge_power_kw - TOLERANCE
    )
    discharges = chain.may_discharge & (plan.discharge_power_kw > TOLERANCE)
    bound = np.minimum(
        np.where(could_charge, chain.charged_at, np.inf),
        np.where(discharges, chain.discharged_at, np.inf),
    )
    return _spread(bound, np.inf, chain, back=chain.not_empty, on=chain.not_full)


def _spread(bound: Series, no_bound: float, chain: Chain, *, back: Mask, on: Mask) -> Series:
    """The tightest bound of any slot that reaches each one, backward or on along the chain.

    Slots that no bound reaches keep the solver's value, which then counts as a bound of its own.
    """
    reached = _carried(bound, no_bound, chain, back, on)
    if not np.isfinite(reached).all():
        bound = np.where(np.isfinite(reached), reached, chain.solver_value_per_kwh)
        reached = _carried(bound, no_bound, chain, back, on)
    return reached


def _carried(bound: Series, no_bound: float, chain: Chain, back: Mask, on: Mask) -> Series:
    tightest = max if no_bound < 0 else min
    from_later, from_earlier = bound.tolist(), bound.tolist()
    # After the last slot stored energy is worth nothing, unless the final energy is given.
    if not chain.final_is_given and back[-1]:
        from_later[-1] = tightest(from_later[-1], 0.0)
    for t in range(len(bound) - 2, -1, -1):
        if back[t]:
            from_later[t] = tightest(from_later[t], from_later[t + 1])
    for t in range(len(bound) - 1):
        if on[t]:
            from_earlier[t + 1] = tightest(from_earlier[t + 1], from_earlier[t])
    return np.array([tightest(pair) for pair in zip(from_later, from_earlier, strict=True)])
