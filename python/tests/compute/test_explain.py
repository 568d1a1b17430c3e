"""Prices behind a plan, checked by disturbing it; and each reason where it must appear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridpact.compute.model.explain import explain
from gridpact.compute.model.plan import NoPlanError, Plan, Stop, cheapest_plan
from gridpact.compute.model.site import Battery, Pv, Site
from tests.compute.sites import Change, least_cost, sites
from tests.compute.test_plan import BATTERY, plan_of, silent, site_of

STEP_KWH = 0.05


def solved(site: Site) -> Plan:
    try:
        plan = plan_of(site)
    except NoPlanError:
        assume(False)
        raise
    # Prices are those of the linear problem that remains when every choice is made.
    assume(all(battery.may_charge.all() for battery in plan.batteries))
    assume(all(battery.may_discharge.all() for battery in plan.batteries))
    return plan


def cost_after(site: Site, change: Change) -> float:
    cost = least_cost(site, change)
    return np.inf if cost is None else cost


@given(sites(odd_prices=False), st.data())
@settings(max_examples=80, deadline=None)
def test_grid_price_supports_the_cost_of_load(site: Site, data: st.DataObject) -> None:
    """More load costs at least its price, less load saves at most that."""
    plan = solved(site)
    slot = data.draw(st.integers(0, site.slots - 1))
    price = float(plan.grid_price_per_kwh[slot])
    for amount in (STEP_KWH, -STEP_KWH):
        disturbed = cost_after(site, Change(slot, load_kwh=amount))
        assert disturbed >= plan.cost + price * amount - 1e-6


@given(sites(odd_prices=False), st.data())
@settings(max_examples=120, deadline=None)
def test_values_support_the_cost_of_stored_energy(site: Site, data: st.DataObject) -> None:
    """One kWh more saves at most its value, one less costs at least that; for both values."""
    assume(site.batteries)
    plan = solved(site)
    index = data.draw(st.integers(0, len(site.batteries) - 1))
    slot = data.draw(st.integers(0, site.slots - 1))
    explanation = explain(site, plan, index)
    assert (explanation.more_per_kwh <= explanation.less_per_kwh + 1e-6).all()
    for value in (explanation.more_per_kwh[slot], explanation.less_per_kwh[slot]):
        for amount in (STEP_KWH, -STEP_KWH):
            change = Change(slot, battery=index, stored_kwh=amount)
            assert cost_after(site, change) >= plan.cost - float(value) * amount - 1e-6


@given(sites(odd_prices=False, most_batteries=1), st.data())
@settings(max_examples=120, deadline=None)
def test_values_are_the_savings_where_the_grid_sets_the_price(
    site: Site, data: st.DataObject
) -> None:
    """Where the meter has power to spare, μ⁻ is what more saves and μ⁺ what less costs, exactly."""
    assume(site.batteries)
    site = replace(
        site,
        load_power_kw=site.load_power_kw + 20.0,
        max_import_power_kw=60.0,
    )
    plan = solved(site)
    assert (plan.grid_power_kw > 1.0).all()
    slot = data.draw(st.integers(0, site.slots - 1))
    explanation = explain(site, plan, 0)
    for amount, value in (
        (0.01, explanation.more_per_kwh[slot]),
        (-0.01, explanation.less_per_kwh[slot]),
    ):
        disturbed = cost_after(site, Change(slot, stored_kwh=amount))
        if np.isfinite(disturbed):
            assert disturbed == pytest.approx(plan.cost - float(value) * amount, abs=1e-6)


@given(sites())
@settings(max_examples=80, deadline=None)
def test_reasons_fit_what_the_battery_does(site: Site) -> None:
    """No battery charges for the reason of a discharge, and none holds while it works."""
    try:
        plan = plan_of(site)
    except NoPlanError:
        assume(False)
        return
    for index, battery in enumerate(plan.batteries):
        for power, reason in zip(battery.power_kw, explain(site, plan, index).reasons, strict=True):
            if reason.startswith("CHARGE"):
                assert power > 0
            if reason.startswith("DISCHARGE"):
                assert power < 0
            if reason.startswith("HOLD"):
                assert abs(power) <= 1e-6
            if reason == "POWER_LIMIT":
                assert abs(power) > 1e-6


def reasons_of(site: Site) -> tuple[str, ...]:
    plan = cheapest_plan(site, Stop(), silent)
    return explain(site, plan, 0).reasons


FREE = replace(BATTERY, initial_energy_kwh=0.0, final_energy_kwh=None)


def flat(load: list[float], price: list[float], battery: Battery, **others: object) -> Site:
    export = [0.05] * len(load)
    return site_of(
        load=load,
        import_price=price,
        export_price=export,
        batteries=(battery,),
        **others,  # pyright: ignore[reportArgumentType]
    )


def test_buys_cheap_and_supplies_the_load() -> None:
    battery = replace(FREE, max_charge_power_kw=5.0, max_discharge_power_kw=5.0)
    assert reasons_of(flat([1.0, 2.0], [0.1, 0.4], battery)) == (
        "CHARGE_FROM_GRID",
        "DISCHARGE_TO_LOAD",
    )


def test_stores_surplus() -> None:
    pv = Pv("roof", np.array([2.0, 0.0]), curtailable=False)
    battery = replace(FREE, max_charge_power_kw=5.0)
    assert reasons_of(flat([0.5, 1.5], [0.3, 0.3], battery, pv=(pv,)))[0] == "CHARGE_FROM_SURPLUS"


def test_sells_where_export_pays() -> None:
    battery = replace(FREE, initial_energy_kwh=2.0, max_discharge_power_kw=5.0)
    site = site_of(
        load=[0.0, 0.0], import_price=[0.5, 0.5], export_price=[0.1, 0.4], batteries=(battery,)
    )
    assert reasons_of(site) == ("HOLD_NO_GAIN", "DISCHARGE_TO_EXPORT")


def test_full_power_is_the_limit_only_while_more_would_pay() -> None:
    battery = replace(FREE, max_charge_power_kw=1.0, max_energy_kwh=0.8)
    assert reasons_of(flat([0.0, 3.0], [0.1, 0.4], battery))[0] == "CHARGE_FROM_GRID"
    roomy = replace(battery, max_energy_kwh=4.0)
    assert reasons_of(flat([0.0, 3.0], [0.1, 0.4], roomy))[0] == "POWER_LIMIT"


def test_grid_limit_decides() -> None:
    battery = replace(FREE, max_charge_power_kw=5.0)
    assert reasons_of(flat([1.0, 1.9], [0.1, 0.4], battery, max_import=2.0))[0] == "GRID_LIMIT"


def test_empty_battery_waits() -> None:
    """A flat price gives nothing to charge for; any energy would be used at once."""
    assert reasons_of(flat([1.0, 1.0], [0.3, 0.3], FREE)) == ("HOLD_EMPTY", "HOLD_EMPTY")


def test_full_battery_lets_surplus_go() -> None:
    full = replace(FREE, initial_energy_kwh=4.0, max_discharge_power_kw=5.0)
    pv = Pv("roof", np.array([2.0, 0.0]), curtailable=False)
    site = flat([0.5, 4.0], [0.3, 0.3], full, pv=(pv,))
    assert reasons_of(site) == ("HOLD_FULL", "DISCHARGE_TO_LOAD")


def test_small_difference_is_no_gain() -> None:
    assert reasons_of(flat([1.0, 1.0], [0.30, 0.35], FREE))[0] == "HOLD_NO_GAIN"


def test_required_final_energy_is_bought_and_kept() -> None:
    kept = replace(FREE, initial_energy_kwh=1.0, final_energy_kwh=1.0)
    assert reasons_of(flat([1.0, 1.0], [0.3, 0.3], kept)) == ("FINAL_ENERGY", "FINAL_ENERGY")
    bought = replace(FREE, max_charge_power_kw=5.0, final_energy_kwh=1.0)
    assert reasons_of(flat([1.0, 1.0], [0.3, 0.2], bought))[1] == "FINAL_ENERGY"
