"""What the command line shows of a unit commitment: when each unit runs, and what that costs."""

from __future__ import annotations

from collections import Counter

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from gridpact.contracts.rest import UnitCommitmentResult

MOST_ROWS = 40
MOST_SLOTS = 48
ON, OFF = "█", "·"


def unit_commitment_report(result: UnitCommitmentResult) -> RenderableType:
    """The cost and how sure it is, and a row for each unit that ever runs."""
    hours = result.slot_duration_s / 3600
    glance = Table.grid(padding=(0, 2))
    glance.add_column()
    glance.add_column(justify="right")
    glance.add_column()
    proven = f"[dim]at most {result.relative_gap:.3%} above the best plan[/]"
    glance.add_row("cost", f"[bold]{result.cost:,.2f}[/] {result.currency}", proven)
    for words, amount in (
        ("  production", result.production_cost),
        ("  no load", result.no_load_cost),
        ("  starts", result.startup_cost),
    ):
        glance.add_row(words, f"{amount:,.2f} {result.currency}")
    curtailed = sum(result.curtailed_power_mw) * hours
    renewable = sum(sum(unit.power_mw) for unit in result.renewable_units) * hours
    if result.renewable_units:
        glance.add_row("renewable", f"{renewable:,.1f} MWh", f"[dim]{curtailed:,.1f} curtailed[/]")
    prices = result.energy_price_per_mwh
    spread = f"{min(prices):,.2f} to {max(prices):,.2f} {result.currency}/MWh"
    glance.add_row("energy price", spread)

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("unit")
    shows_slots = result.slots <= MOST_SLOTS
    if shows_slots:
        table.add_column("on, slot by slot", no_wrap=True)
    for column in ("slots", "starts", "MWh", result.currency):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("mostly because")
    running = [unit for unit in result.thermal_units if any(unit.commitment)]
    for unit in running[:MOST_ROWS]:
        reasons = zip(unit.commitment, unit.reasons, strict=True)
        (why, _), *_ = Counter(reason for on, reason in reasons if on).most_common(1)
        bar = "".join(ON if on else OFF for on in unit.commitment)
        cost = unit.production_cost + unit.no_load_cost + unit.startup_cost
        table.add_row(
            escape(unit.name),
            *([bar] if shows_slots else []),
            str(sum(unit.commitment)),
            str(len(unit.starts)),
            f"{sum(unit.power_mw) * hours:,.1f}",
            f"{cost:,.2f}",
            why,
        )
    parts: list[RenderableType] = [glance, "", table]
    left = len(running) - MOST_ROWS
    if left > 0:
        parts.append(f"[dim]and {left} more units that run; --json shows all[/]")
    resting = len(result.thermal_units) - len(running)
    if resting:
        parts.append(f"[dim]{resting} of {len(result.thermal_units)} units never run[/]")
    return Group(*parts)
