"""Plays one fault on a stage, and judges what its users saw."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.faults.checker import Verdict, judge
from bench.faults.clients import Load, Users, Wish, dispatch, probe
from bench.faults.history import History
from bench.faults.scene import Fault, Scene
from bench.faults.stage import MemoryWatch, NotInjected, Stage
from bench.machine import ROOT

_WARM_COUNT = 5
_SETTLE_S = 90.0
_SHOWN_LINES = 25
# One plan in so many probes.
_EVERY_PLAN = 40


@dataclass(slots=True)
class Played:
    """One fault of one seed. ``violations`` is empty when everything held and the fault fired."""

    fault: Fault
    broker: str
    engine: str
    seed: int
    injected: int
    verdict: Verdict
    detection_s: float | None
    recovery_s: float | None
    peak_rss_mib: float
    bridge_rss_mib: float
    p99_ms: float | None
    violations: list[str] = field(default_factory=list[str])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    keys: frozenset[str] = frozenset()


async def play(
    stage: Stage, fault: Fault, seed: int, earlier: frozenset[str], folder: Path
) -> Played:
    """Runs the fault to its end; nothing that goes wrong in it is raised."""
    name = f"f{fault.number:02d}-s{seed}-{stage.broker_name}"
    history = History()
    secrets = stage.running.secrets
    login = {"email": secrets.admin_email, "password": secrets.admin_password}
    users = Users(stage.running.api_url, login, history, earlier)
    chance = random.Random(f"{seed} {fault.number}")  # noqa: S311  # reproducible, not secret
    memory = MemoryWatch(stage)
    load = Load(
        users, _wishes(name, stage.engine, chance, with_plans=fault.with_plans), fault.rate, seed
    )
    scene = Scene(stage, users, load, name, seed, chance)
    watching = asyncio.create_task(memory.run())
    try:
        await stage.until_ready()
        async with users.listening():
            async with load.running():
                await load.until(_WARM_COUNT)
                await _inject(fault, scene)
                stage.node_wire.heal()
                stage.database_wire.heal()
                with suppress(TimeoutError):
                    await load.until(_WARM_COUNT)
            await users.read_all(_SETTLE_S)
            if not await stage.until_queue_is_empty():
                scene.violations.append("the queue is not empty when every task has ended")
    except Exception as error:  # a harness that dies of one fault tells nothing of the others
        scene.violations.append(f"the run broke off: {_told(error)}")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    verdict = judge(history)
    scene.violations += [f"{each.what}: {' '.join(each.about)}" for each in verdict.violations]
    if fault.delivers_once and verdict.duplicate_deliveries:
        scene.violations.append(f"{verdict.duplicate_deliveries} false redeliveries")
    recovery_s = _recovery_s(scene, users)
    if recovery_s is not None and recovery_s > fault.heals_s:
        scene.violations.append(f"recovered after {recovery_s:.1f} s, not {fault.heals_s:g} s")
    if not verdict.acknowledged:
        scene.violations.append("nothing was acknowledged")
    played = Played(
        fault,
        stage.broker_name,
        stage.engine,
        seed,
        scene.hits,
        verdict,
        _between(scene.struck_s, scene.noticed_s),
        recovery_s,
        memory.peak_mib,
        memory.bridge_peak_mib,
        _p99_ms(load, users),
        scene.violations,
        scene.notes,
        frozenset(history.wanted),
    )
    if played.violations:
        _tell(played, history, stage, folder / f"{name}.jsonl")
    return played


async def _inject(fault: Fault, scene: Scene) -> None:
    try:
        async with asyncio.timeout(fault.within_s):
            await fault.inject(scene)
    except NotInjected as error:
        scene.hits = 0
        scene.violations.append(f"the fault did not hit: {error}")
    except Exception as error:  # whatever it was, the invariants are judged all the same
        scene.violations.append(f"the injection broke off: {_told(error)}")
    if not scene.hits and not scene.violations:
        scene.violations.append("the fault did not hit")


def _told(error: Exception) -> str:
    return "".join(traceback.format_exception_only(error)).strip() + "\n" + traceback.format_exc()


def _wishes(
    name: str, engine: str, chance: random.Random, *, with_plans: bool
) -> Callable[[int], Wish]:
    example = json.loads((ROOT / "demo" / "example.json").read_text(encoding="utf-8"))

    def wish(number: int) -> Wish:
        key = f"{name}-{number}"
        if with_plans and number % _EVERY_PLAN == _EVERY_PLAN - 1:
            return dispatch(key, example, engine)
        # The length of its padding tells a result from its neighbours'.
        return probe(
            key,
            hold_ms=chance.choice((0, 0, 1, 5, 20)),
            result_bytes=number % 97,
            engine=chance.choice(("auto", engine)),
        )

    return wish


def _between(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else max(0.0, end_s - start_s)


def _recovery_s(scene: Scene, users: Users) -> float | None:
    """From the fault, or its end if it lasted, until all that it kept waiting has ended, and
    something that was submitted after it as well."""
    origin_s = scene.healed_s or scene.struck_s
    if origin_s is None:
        return None
    ends = {
        key: (users.submitted_s[key], users.ended_s.get(task_id, float("inf")))
        for key, task_id in users.tasks.items()
    }
    waiting = [end for begin, end in ends.values() if begin < origin_s < end]
    fresh = [end for begin, end in ends.values() if begin >= origin_s]
    if not fresh:
        return None
    return max([min(fresh), *(end for end in waiting if end != float("inf"))]) - origin_s


def _p99_ms(load: Load, users: Users) -> float | None:
    """Of the background tasks, from their first request to the news of their end."""
    times = sorted(
        users.ended_s[task_id] - users.submitted_s[key]
        for key in load.keys
        if (task_id := users.tasks.get(key)) in users.ended_s
    )
    return 1000 * times[int(0.99 * (len(times) - 1))] if times else None


def _tell(played: Played, history: History, stage: Stage, file: Path) -> None:
    """Says what broke, with the lines that show it."""
    history.write(file)
    fault = played.fault
    words = [
        f"FAULT {fault.number} ({fault.name}), seed {played.seed}, {played.broker}:",
        *(f"  {each}" for each in played.violations),
    ]
    about = [name for each in played.verdict.violations for name in each.about]
    lines = history.of(about)
    words += [f"    {each}" for each in lines[:_SHOWN_LINES]]
    if len(lines) > _SHOWN_LINES:
        words.append(f"    and {len(lines) - _SHOWN_LINES} more")
    words.append(f"  the whole history: {file}; the logs: {stage.logs}")
    print("\n".join(words), file=sys.stderr, flush=True)
