"""Adds the seeds up: bench/results/faults.json, and a table for the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.faults.run import Played

_SUMS = (
    "acknowledged",
    "lost",
    "duplicate_deliveries",
    "duplicate_effects",
    "terminal_rewrites",
    "indeterminate",
    "recovered",
    "unexpected",
)
# Of each seed; the histories have all of them.
_VIOLATIONS_TOLD = 10


def rows(played: Sequence[Played]) -> list[dict[str, Any]]:
    """One entry a fault and broker: counts are sums over the seeds, times and sizes the worst."""
    groups: dict[tuple[int, str, str], list[Played]] = defaultdict(list)
    for each in played:
        groups[each.fault.number, each.broker, each.engine].append(each)
    return [_row(groups[group]) for group in sorted(groups)]


def _row(group: Sequence[Played]) -> dict[str, Any]:
    first = group[0]
    return {
        "fault": first.fault.number,
        "name": first.fault.name,
        "holds": first.fault.holds,
        "broker": first.broker,
        "engine": first.engine,
        "seeds": len(group),
        "seeds_fired": sum(each.injected > 0 for each in group),
        "injected": sum(each.injected for each in group),
        **{name: sum(getattr(each.verdict, name) for each in group) for name in _SUMS},
        "detection_s": _worst(each.detection_s for each in group),
        "recovery_s": _worst(each.recovery_s for each in group),
        "recovery_median_s": _middle(each.recovery_s for each in group),
        "p99_ms": _worst(each.p99_ms for each in group),
        "peak_rss_mib": _worst(each.peak_rss_mib for each in group),
        "bridge_peak_rss_mib": _worst(each.bridge_rss_mib for each in group),
        "violations": [
            f"seed {each.seed}: {words.splitlines()[0]}"
            for each in group
            for words in each.violations[:_VIOLATIONS_TOLD]
        ],
        "notes": [each.notes for each in group if each.notes],
    }


def _worst(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(max(known), 2) if known else None


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 2) if known else None


def show(entries: Sequence[dict[str, Any]], title: str) -> None:
    """The entries as a table."""
    console = Console()
    console.width = max(console.width, 150)  # where it is no terminal too
    table = Table(title=title)
    columns = {
        "fault": "fault",
        "broker": "broker",
        "name": "name",
        "seeds_fired": "fired",
        "injected": "hits",
        "acknowledged": "acked",
        "lost": "lost",
        "duplicate_deliveries": "again",
        "duplicate_effects": "doubled",
        "terminal_rewrites": "rewritten",
        "indeterminate": "unknown",
        "detection_s": "seen s",
        "recovery_s": "healed s",
        "p99_ms": "p99 ms",
        "peak_rss_mib": "MiB",
    }
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for entry in entries:
        cells = [_cell(entry[name]) for name in columns]
        cells[3] += f"/{entry['seeds']}"
        table.add_row(*cells, style="bold red" if entry["violations"] else None)
    console.print(table)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
