"""What the command line shows of a replay and of a controller's step."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from gridpact.contracts.rest import MpcStepResult, ReplayResult

MOST_ROWS = 12


def replay_report(result: ReplayResult) -> RenderableType:
    """What it cost, and what was not followed and not kept."""
    glance = Table.grid(padding=(0, 2))
    glance.add_row("cost", f"[bold]{result.cost:,.2f}[/] {result.currency}")
    if result.cost_above_plan is not None:
        glance.add_row("above the plan", f"{result.cost_above_plan:+,.2f} {result.currency}")
    glance.add_row("without flexibility", f"{result.baseline_cost:,.2f} {result.currency}")
    glance.add_row("imported", f"{result.imported_energy_kwh:,.1f} kWh")
    glance.add_row("exported", f"{result.exported_energy_kwh:,.1f} kWh")
    parts: list[RenderableType] = [glance]
    if result.deviations:
        table = _table("not followed", "reason", "kWh", "slots", "first")
        for its in result.deviations[:MOST_ROWS]:
            energy = f"{its.energy_kwh:,.2f}"
            counts = str(its.slot_count), str(its.slot)
            table.add_row(escape(its.name), its.reason, energy, *counts)
        parts.append(table)
    if result.violations:
        table = _table("not kept", "of", "what happened", "slots", "first")
        for found in result.violations[:MOST_ROWS]:
            counts = str(found.slot_count), str(found.slot)
            words = escape(found.message)
            table.add_row(escape(found.field), escape(found.name or ""), words, *counts)
        parts.append(table)
    else:
        parts.append("[green]every limit was kept[/]")
    return Group(*parts)


def mpc_step_report(result: MpcStepResult) -> RenderableType:
    """What to do now, and why."""
    start = "from the last step" if result.warm else "from nothing"
    head = f"{result.plan.status}, cost {result.cost:,.2f} {result.plan.currency}"
    table = _table("set-points", "kW", "reason")
    for points, why in zip(result.set_points, result.reasons, strict=True):
        is_free = points.limited is not None and not any(points.limited)
        power = "free" if is_free else ", ".join(f"{kw:.3g}" for kw in points.power_kw[:4])
        table.add_row(escape(points.name), power, why.reason)
    return Group(f"[bold]{head}[/], {result.solve_ms:.1f} ms {start}", table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
