"""A problem without a plan is answered with the inputs that exclude each other, and numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings

from gridpact.compute.model.conflict import infeasible
from gridpact.compute.model.site import Pv, Site
from gridpact.kit.violation import Violation
from tests.compute.sites import least_cost, sites
from tests.compute.test_plan import BATTERY, site_of


def relaxed(site: Site, violations: tuple[Violation, ...], *, by: float = 1.0) -> Site:
    """The site with every violation mended as its message says; ``by`` scales the change."""
    batteries = list(site.batteries)
    for violation in violations:
        found = re.match(r"must be at (least|most) ([-\d.e]+)", violation.message)
        assert found
        wanted = float(found[2])
        if violation.field.startswith("grid."):
            name = violation.field.removeprefix("grid.")
            given = getattr(site, name)
            site = replace(site, **{name: given + by * (wanted - given)})
        else:
            index = int(violation.field[len("batteries[") : violation.field.index("]")])
            assert violation.field.endswith(".final_energy_kwh")
            given = batteries[index].final_energy_kwh
            assert given is not None
            final = given + by * (wanted - given)
            batteries[index] = replace(batteries[index], final_energy_kwh=final)
    return replace(site, batteries=tuple(batteries))


@given(sites())
@settings(max_examples=150, deadline=None)
def test_each_way_out_leads_to_a_plan_and_half_of_it_does_not(site: Site) -> None:
    """Ways are offered as alternatives unless only all of them together help."""
    assume(least_cost(site) is None)
    error = infeasible(site)
    assert error.reason == "INFEASIBLE"
    assert error.violations
    grid = tuple(found for found in error.violations if found.field.startswith("grid."))
    final = tuple(found for found in error.violations if not found.field.startswith("grid."))
    alternatives = [grid, final] if ", or " in error.message else [error.violations]
    for way_out in alternatives:
        assert least_cost(relaxed(site, way_out)) is not None
        assert least_cost(relaxed(site, way_out, by=0.5)) is None


def test_names_the_slot_and_the_limit() -> None:
    site = site_of(
        load=[1.0, 4.0], import_price=[0.3, 0.3], export_price=[0.1, 0.1], max_import=3.0
    )
    error = infeasible(site)
    assert [found.field for found in error.violations] == ["grid.max_import_power_kw"]
    assert error.violations[0].message == "must be at least 4; it is 3 (slot 1)"


def test_offers_the_limit_or_the_final_energy() -> None:
    empty = replace(BATTERY, initial_energy_kwh=0.0, final_energy_kwh=1.6, max_energy_kwh=4.0)
    site = site_of(
        load=[2.0], import_price=[0.3], export_price=[0.1], batteries=(empty,), max_import=3.0
    )
    error = infeasible(site)
    assert {found.field: found.message for found in error.violations} == {
        "grid.max_import_power_kw": "must be at least 4; it is 3 (slot 0)",
        "batteries[0].final_energy_kwh": "must be at most 0.8; it is 1.6",
    }
    assert ", or " in error.message


@pytest.mark.parametrize("surplus_kw", [5.0, 8.0])
def test_names_the_export_limit(surplus_kw: float) -> None:
    roof = Pv("roof", np.array([surplus_kw]), curtailable=False)
    site = site_of(load=[1.0], import_price=[0.3], export_price=[0.1], pv=(roof,), max_export=2.0)
    assert infeasible(site).violations[0].message == (
        f"must be at least {surplus_kw - 1:g}; it is 2 (slot 0)"
    )
