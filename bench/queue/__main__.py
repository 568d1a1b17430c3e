"""Measures how fast tasks get through Gridpact beside Celery and taskiq: `make bench-queue`."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import RESULTS, commit, load, machine
from bench.process import Side, SideError
from bench.queue.systems import SYSTEMS, Start, Stored, System, settled
from gridpact.platform.error import PlatformError

# So many tasks run after each start before anything is timed: connections, caches, prepared
# statements, and RocketMQ's virtual machine, which compiles what it runs often.
WARM_UP_BURST = 2000
WARM_UP_SINGLY = 50
_WITH_PAUSES = "with_pauses"


def main() -> int:
    arguments = _arguments()
    report = asyncio.run(measured(arguments))
    whole = arguments.systems == ",".join(SYSTEMS) and not report["missing"]
    name = "queue.json" if whole else "queue-partial.json"
    output = arguments.output or RESULTS / name
    output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _show(report, output)
    faulty = [name for name, one in report["systems"].items() if one["lost"] or one["doubled"]]
    return 1 if faulty else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-queue", description=__doc__)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="default: %(default)s")
    parser.add_argument("--tasks", type=int, default=10_000, help="of a burst (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--singly", type=int, default=300, help="one at a time, of a round (%(default)s)"
    )
    parser.add_argument(
        "--rate", type=float, default=50.0, help="with pauses, a second (%(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="default: bench/results/queue.json, or queue-partial.json where a system is missing",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.systems.split(",")) - set(SYSTEMS)
    if unknown:
        parser.error(f"no system {', '.join(sorted(unknown))}; there are {', '.join(SYSTEMS)}")
    return arguments


@dataclass(slots=True)
class Books:
    """The tasks of one start of a system, those that warmed it up included."""

    submitted: int = 0
    lost: int = 0
    doubled: int = 0

    def count(self, submitted: int, outcome: Mapping[str, Any]) -> None:
        """Adds what the client saw."""
        self.submitted += submitted
        self.lost += outcome["lost"]
        self.doubled += outcome["doubled"]

    def compare(self, stored: Stored) -> None:
        """Sets what the client saw against what the system has stored."""
        self.lost = max(self.lost, self.submitted - stored.succeeded)
        self.doubled += stored.repeated + abs(stored.submitted - self.submitted)


@dataclass(slots=True)
class Figures:
    """What was measured of one system."""

    rates: list[float] = field(default_factory=list[float])
    ms: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    cpu_s: dict[str, float] = field(default_factory=dict[str, float])
    burst_count: int = 0
    books: list[Books] = field(default_factory=list[Books])

    def as_json(self, rate: float) -> dict[str, Any]:
        us = {name: seconds * 1e6 / self.burst_count for name, seconds in self.cpu_s.items()}
        entries = {name: _percentiles(ms) for name, ms in self.ms.items()}
        return {
            "tasks_per_s": round(median(self.rates), 1),
            "tasks_per_s_of_rounds": [round(each, 1) for each in self.rates],
            **entries.pop("client"),
            "with_pauses": {"per_s": rate, **entries.pop(_WITH_PAUSES)},
            **{f"entering_by_{name}": one for name, one in entries.items()},
            "submitted": sum(each.submitted for each in self.books),
            "lost": sum(each.lost for each in self.books),
            "doubled": sum(each.doubled for each in self.books),
            "cpu_us_per_task": {name: round(each, 1) for name, each in us.items()}
            | {"all": round(sum(us.values()), 1)},
        }


async def measured(
    arguments: argparse.Namespace, systems: Mapping[str, Start] = SYSTEMS
) -> dict[str, Any]:
    """The report. Each system is alone while it is measured: it starts for its turn, with empty
    stores, and stops after it. Each round begins with another system, so that slow changes of the
    machine hit all alike. A system that does not start, even once, is left out and ``missing``."""
    began = time.monotonic()
    on = machine()
    names = arguments.systems.split(",")
    figures = {name: Figures() for name in names}
    versions: dict[str, str] = {"gridpact": commit(), "python": platform.python_version()}
    missing: list[str] = []
    for number in range(arguments.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if name not in figures:
                continue
            try:
                with tempfile.TemporaryDirectory(prefix="gridpact-bench-") as folder:
                    async with systems[name](Path(folder)) as system:
                        _turn(system, figures[name], arguments)
                        versions |= system.client.ask("versions")
            except PlatformError as error:
                del figures[name]
                missing.append(f"{name}: {error}")
            else:
                print(f"round {number + 1}, {name}: load {load()}", flush=True)
    on |= {"load_at_end": load(), "seconds": round(time.monotonic() - began)}
    return {
        "machine": on,
        "versions": versions,
        "command": "make bench-queue" + _as_typed(arguments),
        "tasks": f"{arguments.rounds} bursts of {arguments.tasks}, one worker",
        "systems": {name: each.as_json(arguments.rate) for name, each in figures.items()},
        "missing": missing,
    }


def _as_typed(arguments: argparse.Namespace) -> str:
    usual = {
        "systems": ",".join(SYSTEMS),
        "tasks": 10_000,
        "rounds": 3,
        "singly": 300,
        "rate": 50.0,
    }
    words = [
        f"--{name} {getattr(arguments, name)}"
        for name, value in usual.items()
        if getattr(arguments, name) != value
    ]
    return f" ARGS='{' '.join(words)}'" if words else ""


def _turn(system: System, figures: Figures, arguments: argparse.Namespace) -> None:
    """Warms the system up, measures it, and checks its books."""
    books = Books()
    entries = {"client": system.client, **system.other_clients}
    _burst(system, books, WARM_UP_BURST)
    for client in entries.values():
        _singly(client, books, WARM_UP_SINGLY, arguments.rate)
    settled()
    before = system.cpu_s()
    figures.rates.append(_burst(system, books, arguments.tasks))
    settled()
    for name, seconds in system.cpu_s().items():
        used = seconds - before.get(name, 0.0)
        figures.cpu_s[name] = figures.cpu_s.get(name, 0.0) + used
    figures.burst_count += arguments.tasks
    for entry, client in entries.items():
        ms = _singly(client, books, arguments.singly, math.inf)
        figures.ms.setdefault(entry, []).extend(ms)
    ms = _singly(system.client, books, arguments.singly, arguments.rate)
    figures.ms.setdefault(_WITH_PAUSES, []).extend(ms)
    stored = system.stored()
    if stored is not None:
        books.compare(stored)
    figures.books.append(books)


def _burst(system: System, books: Books, count: int) -> float:
    """Results a second."""
    outcome = system.client.ask("burst", str(count))
    books.count(count, outcome)
    return (count - outcome["lost"]) / outcome["seconds"]


def _singly(client: Side, books: Books, count: int, rate: float) -> list[float]:
    outcome = client.ask("singly", str(count), str(rate))
    books.count(count, outcome)
    return outcome["ms"]


def _percentiles(ms: list[float]) -> dict[str, float]:
    of_hundred = quantiles(ms, n=100, method="inclusive")
    return {"p50_ms": round(median(ms), 2), "p99_ms": round(of_hundred[98], 2)}


def _show(report: dict[str, Any], output: Path) -> None:
    on = report["machine"]
    title = f"{on['cores']} × {on['cpu']}, load {on['load_at_start']} before, {on['seconds']} s"
    console = Console()
    table = Table("system", "tasks/s", "p50 ms", "p99 ms", "lost", "doubled", title=title)
    for name, one in report["systems"].items():
        shown = (one["tasks_per_s"], one["p50_ms"], one["p99_ms"], one["lost"], one["doubled"])
        table.add_row(name, *map(str, shown))
        slow = one["with_pauses"]
        name = f"  with pauses, {slow['per_s']:g}/s"
        table.add_row(name, "", str(slow["p50_ms"]), str(slow["p99_ms"]))
        if "entering_by_rest" in one:
            rest = one["entering_by_rest"]
            table.add_row("  entering by REST", "", str(rest["p50_ms"]), str(rest["p99_ms"]))
    console.print(table)
    cpu = Table("CPU µs a task", *report["systems"])
    names = dict.fromkeys(n for one in report["systems"].values() for n in one["cpu_us_per_task"])
    for name in names:
        every = (one["cpu_us_per_task"].get(name) for one in report["systems"].values())
        cpu.add_row(name, *("" if each is None else f"{each:.0f}" for each in every))
    console.print(cpu)
    for line in report["missing"]:
        console.print(f"missing: {line}", markup=False)
    console.print(f"written: {output}", markup=False)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(f"bench-queue: {error}")
