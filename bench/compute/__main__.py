"""Measures Gridpact's compute engines beside their peers: `make bench-compute`, bench/README.md."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.compute.cases import DEFAULT, OPTIONAL, Case, Entry, Maker, Setting, chosen
from bench.compute.inputs import house
from bench.compute.lane import Missing
from bench.compute.rounds import Report, compare, difference, order, summary
from bench.machine import PEER_PYTHON, RESULTS, ROOT, commit, load, machine
from bench.process import Side, SideError
from gridpact.platform.compute import compute_nodes
from gridpact.platform.error import PlatformError
from gridpact.platform.options import PlatformOptions

PEERS = {
    "highs": "bench.compute.peers.highs",
    "pypsa": "bench.compute.peers.pypsa_network",
    "lightsim2grid": "bench.compute.peers.lightsim2grid_flow",
    "pandapower": "bench.compute.peers.pandapower_flow",
}
LEAST_ROUNDS, MOST_SECONDS_OF_ROUNDS = 5, 40.0
THREADS = "one in every process (OpenMP, BLAS, numba, Julia, HiGHS)"


def main() -> int:
    arguments = _arguments()
    try:
        makers = list(chosen(arguments.cases))
        setting_of_house = house(arguments.house)
    except (KeyError, FileNotFoundError) as error:
        print(f"bench-compute: {error.args[0]}", file=sys.stderr)
        return 2
    began = time.monotonic()
    report = Report(
        {**machine(), "threads": THREADS}, {}, "make bench-compute" + _as_typed(arguments)
    )
    sides = _sides(report.missing)
    wrong: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="gridpact-bench-") as folder:
            setting = Setting(setting_of_house, Path(folder))
            for name, maker in makers:
                wrong += _run_case(name, maker, setting, sides, report, arguments.rounds)
        report.versions = _versions(sides)
    finally:
        for side in sides.values():
            side.stop()
    report.machine["load_at_end"] = load()
    report.machine["seconds"] = round(time.monotonic() - began)
    output = arguments.output or RESULTS / (
        "compute.json" if _is_whole(arguments) else "compute-partial.json"
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    _show(report, output, wrong)
    return 1 if wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench-compute",
        description=__doc__,
        epilog=f"cases: {', '.join(DEFAULT)}; on request: {', '.join(OPTIONAL) or 'none'}. "
        "With make: make bench-compute CASES=dispatch_672 ARGS='--rounds 50'",
    )
    parser.add_argument("--cases", default="default", help="names, or `default` or `all`")
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument(
        "--house",
        choices=("auto", "household", "demo"),
        default="auto",
        help="whose problem is planned: the measured household where its data is here, else demo/",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="default: bench/results/compute.json, or "
        "compute-partial.json where not all default cases ran as they should",
    )
    return parser.parse_args()


def _as_typed(arguments: argparse.Namespace) -> str:
    cases = "" if arguments.cases == "default" else f' CASES="{arguments.cases}"'
    more = [f"--rounds {arguments.rounds}"] if arguments.rounds else []
    more += [f"--house {arguments.house}"] if arguments.house != "auto" else []
    return cases + (f" ARGS='{' '.join(more)}'" if more else "")


def _is_whole(arguments: argparse.Namespace) -> bool:
    return arguments.cases in ("default", "all") and not arguments.rounds


def _sides(missing: list[str]) -> dict[str, Side]:
    here = {"PYTHONPATH": str(ROOT)}
    sides = {"python": Side([sys.executable, "-m", "bench.compute.python_side"], here)}
    if PEER_PYTHON.exists():
        python = str(PEER_PYTHON)
        sides |= {name: Side([python, "-m", module], here) for name, module in PEERS.items()}
    else:
        missing.append("every peer: bench/.venv is not here (scripts/setup-bench)")
    try:
        (node,) = compute_nodes(PlatformOptions(engine="julia"), print)
    except PlatformError as error:
        missing.append(f"the Julia engine: {error}")
    else:
        # The node's front process starts its workers with -O3 (julia/src/serve/pool.jl).
        flags = ["-O3" if flag == "-O1" else flag for flag in node.command[:-1]]
        command = [*flags, str(ROOT / "bench" / "compute" / "julia_side.jl")]
        sides["julia"] = Side(command, node.environment)
    return sides


@dataclass(slots=True)
class _Lane:
    """An entry whose process has prepared it."""

    entry: Entry
    side: Side
    times: dict[str, dict[int, float]]

    def call(self, number: int) -> None:
        ms = self.side.ask("call", self.entry.lane, str(self.entry.calls))["ms"]
        for measure, each in ms.items():
            of_round = median(each) if self.entry.differing else min(each)
            self.times.setdefault(measure, {})[number] = of_round


def _run_case(
    name: str,
    maker: Maker,
    setting: Setting,
    sides: dict[str, Side],
    report: Report,
    rounds: int | None,
) -> list[str]:
    """Measures one case into the report; what was wrong with answers comes back."""
    print(f"{name} …", end=" ", flush=True)
    began = time.monotonic()
    try:
        case = maker(setting)
    except Missing as why:
        report.missing.append(f"{name}: {why}")
        print(f"missing: {why}")
        return []
    missing, wrong = len(report.missing), []
    lanes = _prepared(case, sides, report.missing)
    if case.warm_ups:
        wrong += _compared(case, lanes)
    for lane in lanes.values():
        lane.side.forget_peak()
        lane.times.clear()  # those of the first call, which loads and compiles
    names = list(lanes)
    end = time.monotonic() + MOST_SECONDS_OF_ROUNDS
    for number in range(rounds or case.rounds):
        if rounds is None and number >= LEAST_ROUNDS and time.monotonic() > end:
            break  # a busy machine
        for each in order(names, number):
            if number % lanes[each].entry.every == 0:
                lanes[each].call(number)
    wrong += _compared(case, lanes)
    refused = {each for each, _ in wrong}
    for each, lane in lanes.items():
        if each in refused:
            continue
        for measure, times in lane.times.items():
            full = "_".join(filter(None, (case.name, each, measure)))
            report.times[full] = times
            if case.solves > 1:
                report.solves[full] = case.solves
            if lane.entry.side in ("julia", "python"):
                report.peak_memory_mib[full] = lane.side.peak_memory_mib()
    report.inputs[case.name] = case.input
    report.ratios += case.ratios
    print(f"{time.monotonic() - began:.0f} s, load {load()}")
    for why in report.missing[missing:]:
        print(f"  missing: {why}")
    return [f"{case.name}_{each}: {why}" for each, why in wrong]


def _prepared(case: Case, sides: dict[str, Side], missing: list[str]) -> dict[str, _Lane]:
    """The lanes that can run, each called already: the first call loads and compiles."""
    lanes: dict[str, _Lane] = {}
    for entry in case.entries:
        if entry.side not in sides:
            continue
        side = sides[entry.side]
        try:
            answer = side.ask("prepare", entry.lane, entry.source)
            if "missing" in answer:
                missing.append(f"{case.name}_{entry.name}: {answer['missing']}")
                continue
            lane = _Lane(entry, side, {})
            for number in range(case.warm_ups):
                lane.call(-1 - number)
        except SideError as error:
            missing.append(f"{case.name}_{entry.name}: {error}")
            del sides[entry.side]
            continue
        lanes[entry.name] = lane
    return lanes


def _compared(case: Case, lanes: dict[str, _Lane]) -> list[tuple[str, str]]:
    """Which lanes differ from what is known, or from the reference where nothing is."""
    known = case.known
    if known is None:
        if case.reference not in lanes:
            return [(name, f"nothing to compare with: no {case.reference}") for name in lanes]
        reference = lanes[case.reference]
        known = reference.side.ask("answer", reference.entry.lane)
    wrong: list[tuple[str, str]] = []
    for name, lane in lanes.items():
        found = lane.side.ask("answer", lane.entry.lane)
        far = {
            what: by for what, by in difference(found, known).items() if not by <= case.tolerance
        }
        if far:
            wrong.append((name, f"differs beyond {case.tolerance:g}: {far}"))
    return wrong


def _versions(sides: dict[str, Side]) -> dict[str, str]:
    versions = {"gridpact": commit(), "python": platform.python_version()}
    for side in sides.values():
        versions |= side.ask("versions")
    return versions


def _show(report: Report, output: Path, wrong: Iterable[str]) -> None:
    console = Console()
    console.width = max(console.width, 150)  # where it is no terminal too
    table = Table("case", "median ms", "min", "max", "peak MiB", title=_title(report))
    for name, times in report.times.items():
        peak = report.peak_memory_mib.get(name)
        table.add_row(
            name, *(f"{ms:.4g}" for ms in summary(times.values())), f"{peak:.0f}" if peak else ""
        )
    console.print(table)
    ratios = Table("ours ÷ peer", "ratio", "least", "most", "fastest peer", "rounds")
    for wanted in report.ratios:
        one = compare(wanted, report.times)
        if one is not None:
            numbers = (f"{value:.3g}" for value in (one.ratio, one.least, one.most))
            ratios.add_row(wanted.name, *numbers, one.peer, str(one.rounds))
    console.print(ratios)
    for line in report.missing:
        console.print(f"missing: {line}", markup=False)
    for line in wrong:
        console.print(f"WRONG ANSWER, not counted: {line}", markup=False)
    console.print(f"written: {output}", markup=False)


def _title(report: Report) -> str:
    machine = report.machine
    return (
        f"{machine['cores']} × {machine['cpu']}, load {machine['load_at_start']} before, "
        f"{machine['load_at_end']} after, {machine['seconds']} s"
    )


if __name__ == "__main__":
    sys.exit(main())
