"""Which inputs exclude each other where no plan exists: docs/compute/dispatch.md, "No plan"."""

from __future__ import annotations

import math

import numpy as np

from gridpact.compute.model.dispatch import Slack
from gridpact.compute.model.plan import TOLERANCE, NoPlanError, Solved, Stop, search
from gridpact.compute.model.site import Series, Site
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.violation import Violation

SEARCH = Stop(time_limit_s=10.0, relative_gap=1e-6)


def infeasible(site: Site) -> GridpactError:
    """INFEASIBLE, naming each way out of a problem without a plan, with the numbers."""
    ways_out = [
        violations
        for slack in (Slack(True, False), Slack(False, True))
        if (violations := _way_out(site, slack))
    ] or [_way_out(site, Slack(True, True))]
    named = [violation for violations in ways_out for violation in violations]
    if not named:
        words = "no plan satisfies every limit, and the conflict was not found in time"
        return GridpactError(Reason.INFEASIBLE, words)
    ways = ", or ".join(
        " and ".join(f"{violation.field} {violation.message}" for violation in violations)
        for violations in ways_out
    )
    words = f"no plan satisfies every limit: {ways}"
    return GridpactError(Reason.INFEASIBLE, words[:4096], violations=named[:100])


def _way_out(site: Site, slack: Slack) -> list[Violation]:
    """What must give way when only ``slack`` may; nothing where that does not lead to a plan."""
    try:
        found = search(site, SEARCH, slack=slack)
    except NoPlanError:
        return []
    except GridpactError as error:
        if error.reason is Reason.TASK_TIMEOUT:
            return []
        raise
    return [*_grid_violations(found), *_final_energy_violations(found)]


def _grid_violations(found: Solved) -> list[Violation]:
    site, formulation = found.site, found.formulation
    if not len(formulation.grid_slack):
        return []
    net = found.net_kw(formulation.flows[0])
    limits: tuple[tuple[str, float, Series], ...] = (
        ("max_import_power_kw", site.max_import_power_kw, net),
        ("max_export_power_kw", site.max_export_power_kw, -net),
    )
    violations: list[Violation] = []
    for name, limit, power in limits:
        needed = float(power.max())
        if needed > limit + TOLERANCE:
            first = int(np.argmax(power > limit + TOLERANCE))
            words = f"must be at least {_up(needed)}; it is {limit:g} (slot {first})"
            violations.append(Violation(f"grid.{name}", "feasible", words))
    return violations


def _final_energy_violations(found: Solved) -> list[Violation]:
    violations: list[Violation] = []
    for index, missed in enumerate(found.formulation.final_slack):
        final = found.site.batteries[index].final_energy_kwh
        if final is None or not len(missed):
            continue
        below, above = found.solution.value(missed)
        if max(below, above) <= TOLERANCE:
            continue
        reachable = (
            f"at most {_down(final - below)}" if below > above else f"at least {_up(final + above)}"
        )
        words = f"must be {reachable}; it is {final:g}"
        violations.append(Violation(f"batteries[{index}].final_energy_kwh", "feasible", words))
    return violations


def _up(value: float) -> str:
    """Rounded to 1e-6 so that the number is still enough."""
    return f"{math.ceil(value * 1e6 - 1e-3) / 1e6:.10g}"


def _down(value: float) -> str:
    return f"{math.floor(value * 1e6 + 1e-3) / 1e6:.10g}"
