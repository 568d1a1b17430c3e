"""What the command line shows: plans as a table and a chart, failures as a problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gridpact.cli.chart import Series, sparkline
from gridpact.contracts.rest import DispatchInput, DispatchResult, Problem, TaskFailure, Violation
from gridpact.kit.instants import parse_instant

MOST_ROWS = 32
MOST_VIOLATIONS = 20
ROW_DURATIONS_H = (1, 3, 6, 24, 168, 730, 8760)
WIDTH_OF_ALL_COLUMNS = 110
CHART_LABELS_WIDTH = 40  # beside the drawing: what it shows, and from where to where

REASONS = {
    "CHARGE_FROM_SURPLUS": "stores surplus",
    "CHARGE_FROM_GRID": "buys cheap",
    "DISCHARGE_TO_LOAD": "serves load",
    "DISCHARGE_TO_EXPORT": "sells",
    "HOLD_FULL": "full",
    "HOLD_EMPTY": "empty",
    "HOLD_NO_GAIN": "no gain",
    "GRID_LIMIT": "grid limit",
    "POWER_LIMIT": "full power",
    "FINAL_ENERGY": "final energy",
    "RECOVER": "back into its window",
    "GROUP_LIMIT": "group limit",
    "PEAK_PRICE": "avoids a peak",
    "RESERVE": "holds reserve",
    "PREVIOUS_PLAN": "as planned before",
    "AWAY": "away",
    "DEPARTURE": "for departure",
    "CHEAPEST": "cheapest time",
    "DEARER": "waits",
    "NO_CHOICE": "no choice",
    "OUTSIDE": "outside its window",
    "HEAT_DEMAND": "heat is needed",
    "CHEAPER_THAN_GRID": "cheaper than grid",
    "DEARER_THAN_GRID": "dearer than grid",
    "MIN_POWER": "least power",
    "MIN_UP": "least time on",
    "MIN_DOWN": "least time off",
    "RAMP_LIMIT": "ramp",
    "START_COST": "a start costs more",
}

COMPONENTS = (
    ("energy_import", "imports"),
    ("energy_export", "exports"),
    ("grid_fees", "grid fees"),
    ("tiers", "tiers"),
    ("demand_charges", "demand charges"),
    ("generation", "generation"),
    ("starts", "starts"),
    ("wear", "battery wear"),
    ("co2", "CO₂"),
)


class _Explained(Protocol):
    """The plan of an asset that has a reason in each slot."""

    @property
    def power_kw(self) -> list[float]: ...
    @property
    def reasons(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class PlanView:
    """A dispatch plan beside the input that it answers, as arrays; powers in kW."""

    result: DispatchResult
    load_power_kw: Series
    import_price_per_kwh: Series
    time_zone: ZoneInfo

    @classmethod
    def of(cls, wanted: DispatchInput, result: DispatchResult, time_zone: ZoneInfo) -> PlanView:
        load = np.sum([load.power_kw for load in wanted.loads], axis=0)
        price = np.array(wanted.tariff.import_price_per_kwh)
        return cls(result, load, price, time_zone)

    @property
    def pv_power_kw(self) -> Series:
        """What PV delivers, not negative."""
        return 0.0 - self._sum([plan.power_kw for plan in self.result.pv])

    @property
    def battery_power_kw(self) -> Series:
        return self._sum([plan.power_kw for plan in self.result.batteries])

    @property
    def other_power_kw(self) -> dict[str, Series]:
        """What every other kind of asset takes, where there are any; generation is negative."""
        result = self.result
        kinds = {
            "vehicles": [plan.power_kw for plan in result.electric_vehicles],
            "flexible": [plan.power_kw for plan in (*result.flexible_loads, *result.cycles)],
            "heat": [plan.power_kw for plan in result.heat_pumps],
            "generators": [plan.power_kw for plan in result.generators],
        }
        return {kind: self._sum(series) for kind, series in kinds.items() if series}

    @property
    def explained(self) -> tuple[str, Sequence[_Explained]]:
        """What the last column tells the reasons of: batteries, or else what there is."""
        result = self.result
        some_of = {
            "batteries": result.batteries,
            "vehicles": result.electric_vehicles,
            "heat pumps": result.heat_pumps,
            "generators": result.generators,
            "loads": result.flexible_loads,
        }
        words, plans = next((found for found in some_of.items() if found[1]), ("", ()))
        if len(plans) == 1:
            words = "battery" if words == "batteries" else words.removesuffix("s")
        return words and f"the {words}", plans

    @property
    def stored_energy_kwh(self) -> Series:
        return self._sum([plan.energy_kwh for plan in self.result.batteries])

    @property
    def grid_power_kw(self) -> Series:
        return np.array(self.result.grid_power_kw)

    @property
    def slot_hours(self) -> float:
        return self.result.slot_duration_s / 3600

    def start_of(self, slot: int) -> datetime:
        """The start of a slot in the time zone of the view."""
        start = parse_instant(self.result.start_time)
        return (start + timedelta(seconds=slot * self.result.slot_duration_s)).astimezone(
            self.time_zone
        )

    def _sum(self, series: list[list[float]]) -> Series:
        return np.sum(series, axis=0) if series else np.zeros(self.result.slots)


def plan_report(view: PlanView, console: Console) -> RenderableType:
    """The plan as a table, a chart and its costs, as wide as the console; first what it breaks."""
    chart = _chart(view, max(8, console.width - CHART_LABELS_WIDTH), console.encoding)
    relaxed = _relaxed(view.result)
    table = _table(view, console.width)
    return Group(*relaxed, table, Text(), chart, Text(), _costs(view.result))


def _relaxed(result: DispatchResult) -> list[RenderableType]:
    """Each limit that the plan does not keep, with what one unit more would save."""
    if result.status != "RELAXED":
        return []
    lines: list[RenderableType] = [
        Text("RELAXED: no plan keeps every limit; this one breaks", style="bold yellow")
    ]
    for violation in result.violations:
        whose = f" ({violation.name})" if violation.name else ""
        price = f"{violation.price_per_unit:.4f} {result.currency}/{violation.unit}"
        words = f"  {violation.field}{whose} {violation.message}; one more would save {price}"
        lines.append(Text(words))
    return [*lines, Text()]


def _table(view: PlanView, width: int) -> Table:
    """One row a slot, or a summary of as many slots as keep the table short."""
    result = view.result
    per_row = _slots_per_row(result.slots, view.slot_hours)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("time", no_wrap=True)
    energy_or_power = "kW" if per_row == 1 else "kWh"
    others = view.other_power_kw
    if len(others) > 1 and width < WIDTH_OF_ALL_COLUMNS:
        others = {"other": sum(others.values(), np.zeros(result.slots))}
    powers = {"load": view.load_power_kw, **others}
    if result.pv:
        powers["PV"] = view.pv_power_kw
    if result.batteries:
        powers["battery"] = view.battery_power_kw
    powers["grid"] = view.grid_power_kw
    for name in powers:
        table.add_column(f"{name}\n{energy_or_power}", justify="right", no_wrap=True)
    if result.batteries:
        table.add_column("stored\nkWh", justify="right", no_wrap=True)
    table.add_column(f"price\n{result.currency}/kWh", justify="right", no_wrap=True)
    whose, explained = view.explained
    table.add_column(whose)

    weight = 1.0 if per_row == 1 else view.slot_hours
    flows = [weight * series for series in powers.values()]
    stored, price = view.stored_energy_kwh, view.import_price_per_kwh
    previous_day = None
    for start in range(0, result.slots, per_row):
        slots = slice(start, start + per_row)
        time = view.start_of(start)
        day = f"{time:%a %d %b}" if time.date() != previous_day else ""
        previous_day = time.date()
        table.add_row(
            f"{day:<10} {time:%H:%M}",
            *(f"{series[slots].sum():.2f}" for series in flows),
            *([f"{stored[slots][-1]:.2f}"] if result.batteries else []),
            f"{price[slots].mean():.4f}",
            ", ".join(_reason(plan, slots) for plan in explained),
        )
    return table


def _slots_per_row(slots: int, slot_hours: float) -> int:
    if slots <= MOST_ROWS:
        return 1
    for hours in ROW_DURATIONS_H:
        per_row = round(hours / slot_hours)
        if per_row and slots <= MOST_ROWS * per_row:
            return per_row
    return slots


def _reason(plan: _Explained, slots: slice) -> str:
    """The reason behind most of the energy moved in these slots, or else the most frequent."""
    reasons, power = plan.reasons[slots], plan.power_kw[slots]
    moved: dict[str, float] = {}
    for reason, power_kw in zip(reasons, power, strict=True):
        moved[reason] = moved.get(reason, 0.0) + abs(power_kw) + 1e-6
    reason = max(moved, key=lambda each: moved[each])
    return REASONS.get(reason, reason)


def _chart(view: PlanView, width: int, encoding: str) -> Table:
    grid, battery = view.grid_power_kw, view.battery_power_kw
    result = view.result
    of_batteries = (
        ("charging", np.maximum(battery, 0), "kW"),
        ("discharging", np.maximum(-battery, 0), "kW"),
        ("stored", view.stored_energy_kwh, "kWh"),
    )
    lines: tuple[tuple[str, Series, str], ...] = (
        ("price", view.import_price_per_kwh, f"{result.currency}/kWh"),
        ("load", view.load_power_kw, "kW"),
        *((name, _drawn_upwards(series), "kW") for name, series in view.other_power_kw.items()),
        *([("PV", view.pv_power_kw, "kW")] if result.pv else []),
        *(of_batteries if result.batteries else ()),
        ("import", np.maximum(grid, 0), "kW"),
        ("export", np.maximum(-grid, 0), "kW"),
    )
    chart = Table.grid(padding=(0, 1))
    for style in ("bold", "cyan", "dim"):
        chart.add_column(style=style, no_wrap=True)
    for name, series, unit in lines:
        # A price is read by its differences, everything else by its height above nothing.
        lowest = float(series.min()) if name == "price" else min(0.0, float(series.min()))
        highest = float(series.max())
        drawn = sparkline(series, width, lowest=lowest, highest=highest, encoding=encoding)
        chart.add_row(name, drawn, f"{lowest:.4g} to {highest:.4g} {unit}")
    return chart


def _drawn_upwards(power_kw: Series) -> Series:
    """What only generates is drawn as an amount, as PV is."""
    return 0.0 - power_kw if power_kw.max() <= 0 else power_kw


def _costs(result: DispatchResult) -> Table:
    def money(amount: float) -> str:
        return f"{amount:.4f} {result.currency}"

    costs = Table.grid(padding=(0, 2))
    costs.add_column()
    costs.add_column(justify="right")
    costs.add_row("cost", f"[bold]{money(result.cost)}[/]")
    for member, words in COMPONENTS:
        component = getattr(result.costs, member) if result.costs else 0.0
        if component:
            costs.add_row(f"  {words}", money(component))
    without = money(result.baseline_cost)
    if not result.baseline_within_grid_limits:
        without += " (beyond the grid limits)"
    costs.add_row("without flexibility", without)
    costs.add_row("  savings", f"[bold green]{money(result.savings)}[/]")
    if result.rule_based_cost is not None and result.rule_based_savings is not None:
        costs.add_row("batteries by rule", money(result.rule_based_cost))
        costs.add_row("  savings", f"[bold green]{money(result.rule_based_savings)}[/]")
    if (told := result.uncertainty) is not None:
        costs.add_row("all that is above is of", escape(told.scenario))
        costs.add_row(f"mean of {len(told.scenarios)} scenarios", money(told.expected_cost))
        costs.add_row("  of the worst cases (CVaR)", money(told.cvar))
    if result.status == "TIME_LIMIT":
        costs.add_row("not proven best", f"at most {result.relative_gap:.2%} better")
    return costs


def show_problem(console: Console, problem: Problem) -> None:
    """A problem of the API."""
    _show_failure(console, problem.title, problem.reason, problem.detail, problem.violations or [])
    if problem.trace_id:
        console.print(f"  trace {problem.trace_id}", style="dim")


def show_task_failure(console: Console, failure: TaskFailure) -> None:
    """Why a task ended without a result."""
    _show_failure(console, "The task failed", failure.reason, failure.message, failure.violations)


def show_error(console: Console, message: str) -> None:
    """Something that went wrong before or beside the API."""
    console.print(f"[bold red]error[/] {escape(message)}", highlight=False, soft_wrap=True)


def _show_failure(
    console: Console, title: str, reason: str, detail: str | None, violations: list[Violation]
) -> None:
    words = f"[bold red]{escape(title)}[/] [dim]{escape(reason)}[/]"
    console.print(words, highlight=False, soft_wrap=True)
    if detail:
        console.print(f"  {escape(detail)}", highlight=False, soft_wrap=True)
    told = violations[:MOST_VIOLATIONS]
    for violation in told:
        if detail and f"{violation.field} {violation.message}".strip() in detail:
            continue
        where = f"[bold]{escape(violation.field)}[/] " if violation.field else ""
        console.print(
            f"  {where}{escape(violation.message)} [dim]({escape(violation.rule)})[/]",
            highlight=False,
            soft_wrap=True,
        )
    if left := len(violations) - len(told):
        console.print(f"  and {left} more", style="dim", highlight=False)
