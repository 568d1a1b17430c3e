"""Measures how fast tasks get through Gridpact beside Celery and taskiq: `make bench-queue`."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import PEER_PYTHON, RESULTS, commit, load, machine
from bench.process import SideError
from bench.queue.systems import System, celery, gridpact, settled, taskiq
from gridpact.platform.error import PlatformError

NAMES = ("gridpact-redis", "gridpact-rocketmq", "celery", "taskiq")
# So many tasks run before anything is timed: caches, connections, prepared statements.
WARM_UP = 500


def main() -> int:
    arguments = _arguments()
    report = asyncio.run(_measured(arguments))
    whole = arguments.systems == ",".join(NAMES) and not report["missing"]
    name = "queue.json" if whole else "queue-partial.json"
    output = arguments.output or RESULTS / name
    output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _show(report, output)
    faulty = [name for name, one in report["systems"].items() if one["lost"] or one["doubled"]]
    return 1 if faulty else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-queue", description=__doc__)
    parser.add_argument("--systems", default=",".join(NAMES), help="default: %(default)s")
    parser.add_argument("--tasks", type=int, default=10_000, help="of a burst (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--paced", type=int, default=300, help="of a round (%(default)s)")
    parser.add_argument("--rate", type=float, default=50.0, help="paced, a second (%(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        help="default: bench/results/queue.json, or queue-partial.json where a system is missing",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.systems.split(",")) - set(NAMES)
    if unknown:
        parser.error(f"no system {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return arguments


@dataclass(slots=True)
class Figures:
    """What was measured of one system."""

    rates: list[float] = field(default_factory=list[float])
    ms: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    cpu_s: dict[str, float] = field(default_factory=dict[str, float])
    burst_count: int = 0
    submitted: int = 0
    lost: int = 0
    doubled: int = 0

    def as_json(self, rate: float) -> dict[str, Any]:
        us = {name: seconds * 1e6 / self.burst_count for name, seconds in self.cpu_s.items()}
        entries = {name: _percentiles(ms) for name, ms in self.ms.items()}
        return {
            "tasks_per_s": round(median(self.rates), 1),
            "tasks_per_s_of_rounds": [round(each, 1) for each in self.rates],
            **entries.pop("client"),
            "paced_per_s": rate,
            **{f"entering_by_{name}": one for name, one in entries.items()},
            "submitted": self.submitted,
            "lost": self.lost,
            "doubled": self.doubled,
            "cpu_us_per_task": {name: round(each, 1) for name, each in us.items()}
            | {"all": round(sum(us.values()), 1)},
        }


async def _measured(arguments: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    on = machine()
    missing: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gridpact-bench-") as folder:
        async with AsyncExitStack() as stack:
            systems = await _started(arguments.systems.split(","), Path(folder), stack, missing)
            figures = {system.name: Figures() for system in systems}
            for system in systems:
                _warm_up(system, figures[system.name])
            for number in range(arguments.rounds):
                turned = systems[number % len(systems) :] + systems[: number % len(systems)]
                for system in turned:
                    _round(system, figures[system.name], arguments)
                    print(f"round {number + 1}, {system.name}: load {load()}", flush=True)
            for system in systems:
                _check_books(system, figures[system.name])
            versions: dict[str, str] = {"gridpact": commit(), "python": platform.python_version()}
            for system in systems:
                versions |= system.client.ask("versions")
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
    usual = {"systems": ",".join(NAMES), "tasks": 10_000, "rounds": 3, "paced": 300, "rate": 50.0}
    words = [
        f"--{name} {getattr(arguments, name)}"
        for name, value in usual.items()
        if getattr(arguments, name) != value
    ]
    return f" ARGS='{' '.join(words)}'" if words else ""


async def _started(
    names: list[str], folder: Path, stack: AsyncExitStack, missing: list[str]
) -> list[System]:
    systems: list[System] = []
    for name in names:
        try:
            match name:
                case "gridpact-redis":
                    systems.append(await stack.enter_async_context(gridpact("redis", folder)))
                case "gridpact-rocketmq":
                    systems.append(await stack.enter_async_context(gridpact("rocketmq", folder)))
                case _ if not PEER_PYTHON.exists():
                    missing.append(f"{name}: bench/.venv is not here (scripts/setup-bench)")
                case "celery":
                    systems.append(stack.enter_context(celery(folder)))
                case _:
                    systems.append(stack.enter_context(taskiq(folder)))
        except PlatformError as error:
            missing.append(f"{name}: {error}")
    return systems


def _warm_up(system: System, figures: Figures) -> None:
    for words in (("burst", str(WARM_UP)), ("paced", "20", "50")):
        for client in (system.client, *system.other_clients.values()):
            _count(figures, int(words[1]), client.ask(*words))


def _round(system: System, figures: Figures, arguments: argparse.Namespace) -> None:
    settled()
    before = system.cpu_s()
    outcome = system.client.ask("burst", str(arguments.tasks))
    settled()
    for name, seconds in system.cpu_s().items():
        used = seconds - before.get(name, 0.0)
        figures.cpu_s[name] = figures.cpu_s.get(name, 0.0) + used
    figures.burst_count += arguments.tasks
    figures.rates.append((arguments.tasks - outcome["lost"]) / outcome["seconds"])
    _count(figures, arguments.tasks, outcome)
    for entry, client in {"client": system.client, **system.other_clients}.items():
        outcome = client.ask("paced", str(arguments.paced), str(arguments.rate))
        figures.ms.setdefault(entry, []).extend(outcome["ms"])
        _count(figures, arguments.paced, outcome)


def _count(figures: Figures, submitted: int, outcome: dict[str, Any]) -> None:
    figures.submitted += submitted
    figures.lost += outcome["lost"]
    figures.doubled += outcome["doubled"]


def _check_books(system: System, figures: Figures) -> None:
    """What the client saw, against what the system has stored."""
    stored = system.stored()
    if stored is not None:
        figures.lost = max(figures.lost, figures.submitted - stored.succeeded)
        figures.doubled += stored.repeated + abs(stored.submitted - figures.submitted)


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
