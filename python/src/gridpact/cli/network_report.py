"""What the command line shows of a power flow: what a network engineer looks at first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from gridpact.contracts.rest import PlanCheckResult, PowerFlowResult

MOST_ROWS = 12


def power_flow_report(result: PowerFlowResult) -> RenderableType:
    """Convergence, losses, the worst voltages and loading, and what is outside its limits."""
    glance = Table.grid(padding=(0, 2))
    glance.add_column()
    glance.add_column(justify="right")
    glance.add_column()
    diverged = {divergence.slot for divergence in result.divergences}
    converged = [slot for slot in range(result.slots) if slot not in diverged]
    slots = result.by_slot
    style = "red" if diverged else "green"
    glance.add_row("converged", f"[bold {style}]{len(converged)} of {result.slots}[/] slots")
    # With many slots, those that show the most of each.
    losses = max(converged, key=lambda slot: slots.losses_mw[slot])
    glance.add_row("losses", f"{slots.losses_mw[losses]:.4f} MW", _at(result, losses))
    low = min(converged, key=lambda slot: slots.lowest_voltage_pu[slot])
    high = max(converged, key=lambda slot: slots.highest_voltage_pu[slot])
    live = [voltage > 0 for voltage in result.extremes.highest_voltage_pu]
    lowest = [
        v if on else 9.0 for v, on in zip(result.extremes.lowest_voltage_pu, live, strict=True)
    ]
    bus = result.bus_names[lowest.index(min(lowest))]
    glance.add_row("lowest voltage", f"{min(lowest):.4f} p.u.", _at(result, low, bus))
    highest = result.extremes.highest_voltage_pu
    bus = result.bus_names[highest.index(max(highest))]
    glance.add_row("highest voltage", f"{max(highest):.4f} p.u.", _at(result, high, bus))
    loading = result.extremes.highest_loading_percent
    if max(loading) > 0:
        branch = loading.index(max(loading))
        slot = int(result.extremes.highest_loading_slot[branch])
        where = _at(result, slot, result.branch_names[branch])
        glance.add_row("highest loading", f"{max(loading):.1f} %", where)
    dead = sum(len(island.buses) for island in result.islands if not island.energised)
    if dead:
        glance.add_row("without supply", f"[yellow]{dead}[/] buses")
    return Group(glance, *_violations(result))


def plan_check_report(result: PlanCheckResult) -> RenderableType:
    """The verdict on a plan, the assets to blame, and the power flow with it."""
    broken = result.violated_slot_count
    verdict = (
        "[bold green]the network carries the plan[/]"
        if result.within_limits
        else f"[bold red]limits break in {broken} {'slot' if broken == 1 else 'slots'}[/], "
        f"in {result.violated_without_plan_slot_count} of them without the plan too"
    )
    table = _table("slot", "where", "value", "without plan", "because of")
    for found in result.voltage_violations[:MOST_ROWS]:
        idle = found.voltage_without_plan_pu
        table.add_row(
            str(found.slot),
            escape(found.bus),
            f"{found.voltage_pu:.4f} p.u.",
            "" if idle is None else f"{idle:.4f}",
            _culprits(found.assets, found.voltage_changes_pu, rising=found.limit == "MAX"),
        )
    for overload in result.overloads[:MOST_ROWS]:
        idle = overload.loading_without_plan_percent
        table.add_row(
            str(overload.slot),
            escape(overload.branch),
            f"{overload.loading_percent:.1f} %",
            "" if idle is None else f"{idle:.1f}",
            _culprits(overload.assets, overload.loading_changes_percent, rising=True),
        )
    parts: list[RenderableType] = [verdict]
    if table.row_count:
        parts += ["", table, ""]
    return Group(*parts, power_flow_report(result.power_flow))


def _culprits(assets: Sequence[str], changes: Sequence[float], *, rising: bool) -> str:
    """The assets whose schedule moved the quantity towards its limit; the others help."""
    harmful = [name for name, it in zip(assets, changes, strict=True) if (it > 0) is rising]
    return escape(", ".join(harmful[:3]))


def _violations(result: PowerFlowResult) -> Iterable[RenderableType]:
    table = _table("outside its limit", "limit", "worst", "slot", "slots")
    rows = [
        (found.bus, f"{found.limit_pu:.4g} p.u.", f"{found.worst_voltage_pu:.4f} p.u.", found)
        for found in result.voltage_violations
    ]
    loaded = [
        (found.branch, "100 %", f"{found.worst_loading_percent:.1f} %", found)
        for found in result.overloads
    ]
    reactive = [
        (
            found.generator,
            f"{found.limit_mvar:.4g} Mvar",
            f"{found.worst_reactive_power_mvar:.4g} Mvar",
            found,
        )
        for found in result.reactive_limits
    ]
    every = [*rows, *loaded, *reactive]
    for name, limit, worst, found in every[:MOST_ROWS]:
        table.add_row(escape(name), limit, worst, str(found.worst_slot), str(found.slot_count))
    if every:
        yield ""
        yield table
    if len(every) > MOST_ROWS:
        yield f"[dim]and {len(every) - MOST_ROWS} more; --json shows all[/]"
    for divergence in result.divergences[:MOST_ROWS]:
        yield f"[red]slot {divergence.slot} does not converge[/], worst at {escape(divergence.bus)}"


def _at(result: PowerFlowResult, slot: int, name: str = "") -> str:
    """Where and when; a snapshot has no when."""
    when = f"slot {slot}" if result.slots > 1 else ""
    return f"[dim]{escape(' '.join(part for part in (name, when) if part))}[/]"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 or column == "because of" else "right")
    return table
