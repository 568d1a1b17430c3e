"""The cheapest plan: against a second formulation, a plain check of the plan, and the baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings

from gridpact.compute.model.baseline import baseline
from gridpact.compute.model.plan import NoPlanError, Plan, Stop, cheapest_plan
from gridpact.compute.model.site import Battery, Pv, Site
from tests.compute.sites import faults, least_cost, sites

EXACT = Stop(time_limit_s=30.0, relative_gap=0.0)


def silent(*_: object, **__: object) -> None:
    """Hears no progress."""


def plan_of(site: Site) -> Plan:
    return cheapest_plan(site, EXACT, silent)


@given(sites())
@settings(max_examples=200, deadline=None)
def test_costs_what_a_second_formulation_says(site: Site) -> None:
    """Equal to 1e-6, and no plan exactly where the other finds none."""
    expected = least_cost(site)
    if expected is None:
        with pytest.raises(NoPlanError):
            plan_of(site)
    else:
        plan = plan_of(site)
        assert plan.cost == pytest.approx(expected, abs=1e-6)
        assert faults(site, plan) == []


@given(sites())
@settings(max_examples=80, deadline=None)
def test_never_costs_more_than_idle_batteries(site: Site) -> None:
    """Idle batteries are a plan where the final energy is free or the initial one."""
    batteries = tuple(
        replace(battery, final_energy_kwh=battery.initial_energy_kwh)
        if battery.final_energy_kwh is not None
        else battery
        for battery in site.batteries
    )
    site = replace(site, batteries=batteries)
    idle = baseline(site)
    assume(idle.within_grid_limits)
    assert plan_of(site).cost <= idle.cost + 1e-6


@given(sites(most_batteries=0))
@settings(max_examples=80, deadline=None)
def test_baseline_is_the_least_cost_without_batteries(site: Site) -> None:
    """The closed form agrees with the program; beyond the limits, with the program without them."""
    expected = least_cost(site)
    idle = baseline(site)
    assert idle.within_grid_limits == (expected is not None)
    if expected is None:
        wide = replace(site, max_import_power_kw=60.0, max_export_power_kw=60.0)
        expected = least_cost(wide)
    assert idle.cost == pytest.approx(expected, abs=1e-6)


def site_of(
    *,
    load: list[float],
    import_price: list[float],
    export_price: list[float],
    batteries: tuple[Battery, ...] = (),
    pv: tuple[Pv, ...] = (),
    max_import: float = 30.0,
    max_export: float = 30.0,
) -> Site:
    return Site(
        slot_hours=1.0,
        load_power_kw=np.array(load),
        import_price_per_kwh=np.array(import_price),
        export_price_per_kwh=np.array(export_price),
        max_import_power_kw=max_import,
        max_export_power_kw=max_export,
        batteries=batteries,
        pv=pv,
    )


BATTERY = Battery(
    name="battery",
    min_energy_kwh=0.0,
    max_energy_kwh=4.0,
    max_charge_power_kw=2.0,
    max_discharge_power_kw=2.0,
    charge_efficiency=0.8,
    discharge_efficiency=0.8,
    wear_cost_per_kwh=0.0,
    initial_energy_kwh=2.0,
    final_energy_kwh=2.0,
)


def test_does_not_burn_energy_at_negative_prices() -> None:
    """Charging and discharging at once would be paid for; the plan does one of them."""
    site = site_of(
        load=[0.0] * 4,
        import_price=[-0.5] * 4,
        export_price=[-0.6] * 4,
        batteries=(replace(BATTERY, initial_energy_kwh=4.0, final_energy_kwh=4.0),),
    )
    plan = plan_of(site)
    assert plan.cost == pytest.approx(least_cost(site), abs=1e-6)
    assert faults(site, plan) == []


def test_does_not_trade_with_itself_through_the_meter() -> None:
    """Export that pays more than import costs is no money machine."""
    site = site_of(load=[1.0], import_price=[0.1], export_price=[0.3])
    assert plan_of(site).cost == pytest.approx(0.1)


def test_without_batteries_and_pv_pays_for_the_load() -> None:
    site = site_of(load=[1.0, 2.0], import_price=[0.3, 0.2], export_price=[0.1, 0.1])
    plan = plan_of(site)
    assert plan.cost == pytest.approx(0.7)
    assert plan.grid_price_per_kwh.tolist() == pytest.approx([0.3, 0.2])


def test_time_limit_gives_a_feasible_plan_or_says_so() -> None:
    """Out of time with a plan in hand, the plan is whole and its gap honest."""
    rng = np.random.default_rng(7)
    slots = 96
    site = site_of(
        load=rng.uniform(0, 3, slots).tolist(),
        import_price=rng.uniform(-0.3, 0.2, slots).tolist(),
        export_price=rng.uniform(-0.3, 0.3, slots).tolist(),
        batteries=tuple(replace(BATTERY, name=f"battery {index}") for index in range(4)),
    )
    stop = Stop(time_limit_s=1.0, relative_gap=0.0)
    plan = cheapest_plan(site, stop, silent)
    assert faults(site, plan) == []
    assert plan.relative_gap >= 0.0
