"""Injects faults into running platforms and checks that nothing is lost, doubled or rewritten:
`make faults`, docs/reliability.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import uvloop

from bench.faults.report import rows, show
from bench.faults.run import Played, play
from bench.faults.scene import Fault
from bench.faults.stage import staged
from bench.faults.table import FAULTS
from bench.machine import RESULTS, commit, load, machine
from gridpact.platform.error import PlatformError
from gridpact.platform.rocketmq import find_java, find_libraries

SHORT_SEEDS = 2


def main() -> int:
    arguments = _arguments()
    try:
        wanted = _chosen(arguments.faults)
    except ValueError as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    brokers = ["redis", "rocketmq"] if arguments.broker == "both" else [arguments.broker]
    began = time.monotonic()
    on = machine()
    folder = Path(tempfile.mkdtemp(prefix="gridpact-faults-"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        played, missing = runner.run(_play_all(wanted, brokers, arguments, folder))
    entries = rows(played)
    on |= {"load_at_end": load(), "seconds": round(time.monotonic() - began)}
    report = {
        "seeds": arguments.seeds,
        "broker": " and ".join(brokers),
        "engine": arguments.engine,
        "command": "make faults " + _as_typed(arguments),
        "machine": on,
        "versions": {"gridpact": commit(), "python": platform.python_version()},
        "missing": missing,
        "faults": entries,
    }
    whole = arguments.faults == "all" and arguments.broker == "both"
    output = arguments.output or RESULTS / ("faults.json" if whole else "faults-partial.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    show(entries, f"{arguments.seeds} seeds, {on['seconds']} s")
    broken = [words for entry in entries for words in entry["violations"]]
    for words in (*missing, *broken):
        print(words)
    print(f"written: {output}")
    if broken or missing:
        print(f"histories and logs: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make faults",
        description=__doc__,
        epilog='With make: make faults SEEDS=30 FAULTS="4 5" BROKER=rocketmq',
    )
    numbers = ", ".join(str(fault.number) for fault in FAULTS)
    parser.add_argument("--faults", default="all", help=f"numbers, or `all`: {numbers}")
    parser.add_argument("--seeds", type=int, default=SHORT_SEEDS, help="how many; default 2")
    parser.add_argument("--first-seed", type=int, default=1, help="to repeat one that failed")
    parser.add_argument(
        "--broker",
        choices=("redis", "rocketmq", "both"),
        default="both",
        help="both: everything on Redis, and on RocketMQ what concerns the broker",
    )
    parser.add_argument("--engine", choices=("python", "julia"), default="python")
    parser.add_argument("--jobs", type=int, default=3, help="platforms at a time; default 3")
    parser.add_argument("--output", type=Path, help="default: bench/results/faults.json")
    return parser.parse_args()


def _chosen(text: str) -> list[Fault]:
    if text == "all":
        return [*FAULTS]
    known = {str(fault.number): fault for fault in FAULTS}
    numbers = text.replace(",", " ").split()
    if unknown := [number for number in numbers if number not in known]:
        raise ValueError(f"no fault {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[number] for number in numbers]


async def _play_all(
    wanted: Sequence[Fault], brokers: Sequence[str], arguments: argparse.Namespace, folder: Path
) -> tuple[list[Played], list[str]]:
    """Every fault for every seed, each seed and broker on a platform of its own."""
    played: list[Played] = []
    missing: list[str] = []
    if "rocketmq" in brokers and len(brokers) > 1:
        # Alone it is asked for by name: then its absence is an error.
        try:
            find_java()
            find_libraries()
        except PlatformError as error:
            print(f"SKIPPED [faults] RocketMQ: {error}", flush=True)
            brokers = [name for name in brokers if name != "rocketmq"]
    places = asyncio.Semaphore(arguments.jobs)

    async def play_seed(broker: str, seed: int, *, small_disk: bool) -> None:
        faults = [
            fault
            for fault in wanted
            if fault.fills_disk == small_disk
            and (broker == "redis" or fault.on_both_brokers or len(brokers) == 1)
        ]
        if not faults:
            return
        async with places:
            state = folder / f"{broker}-{seed}{'-disk' if small_disk else ''}"
            try:
                async with staged(state, broker, arguments.engine, small_disk=small_disk) as stage:
                    known: frozenset[str] = frozenset()
                    for fault in faults:
                        one = await play(stage, fault, seed, known, folder)
                        known |= one.keys
                        played.append(one)
                        _say(one)
            except PlatformError as error:
                if small_disk and os.geteuid() != 0:
                    print(f"SKIPPED [faults] a full disk needs root's rights: {error}", flush=True)
                else:
                    missing.append(f"{broker}, seed {seed}: {error}")

    async with asyncio.TaskGroup() as group:
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            for broker, small_disk in product(brokers, (False, True)):
                group.create_task(play_seed(broker, seed, small_disk=small_disk))
    return played, missing


def _say(one: Played) -> None:
    how = "FAILED" if one.violations else "ok"
    times = f"seen {one.detection_s or 0:.1f} s, healed {one.recovery_s or 0:.1f} s"
    print(
        f"{one.broker} seed {one.seed} fault {one.fault.number:>2}: {how}, {one.injected} hits, "
        f"{one.verdict.acknowledged} acknowledged, {times}",
        flush=True,
    )


def _as_typed(arguments: argparse.Namespace) -> str:
    typed = [f"SEEDS={arguments.seeds}"]
    if arguments.faults != "all":
        typed.append(f'FAULTS="{arguments.faults}"')
    if arguments.broker != "both":
        typed.append(f"BROKER={arguments.broker}")
    if arguments.engine != "python":
        typed.append(f"ENGINE={arguments.engine}")
    return " ".join(typed)


if __name__ == "__main__":
    sys.exit(main())
