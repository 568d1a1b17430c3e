"""Faults of the network between bridge and node, from the wire between them."""

from __future__ import annotations

from collections.abc import Callable

from bench.faults.clients import year
from bench.faults.history import now_s
from bench.faults.scene import Scene
from bench.faults.stage import NotInjected, rss_mib, until
from gridpact.contracts.channels import HEARTBEAT_INTERVAL_MS

# Three silent intervals, and one more until somebody looks.
_DETECTED_S = 4 * HEARTBEAT_INTERVAL_MS / 1000
# Of 5.6 MB each; as many are at the node at once as it has workers: two.
_LARGE_TASKS, _LOADS = 4, 20
_GROWTH_MIB = 128.0


async def blackhole(scene: Scene) -> None:
    """15: neither side hears anything of the other."""
    wire = scene.stage.node_wire
    await _silence(scene, lambda: (wire.there.hold(), wire.back.hold()))


async def one_way_cut(scene: Scene) -> None:
    """16: one of them hears the other and is not heard, by turns."""
    wire = scene.stage.node_wire
    await _silence(scene, (wire.there if scene.is_even else wire.back).hold)


async def _silence(scene: Scene, begin: Callable[[], object]) -> None:
    stage, wire = scene.stage, scene.stage.node_wire
    task_id = await scene.witness_at_work(hold_ms=3000)
    mark = stage.mark("bridge")
    held = wire.there.held_bytes + wire.back.held_bytes
    await scene.must_be_hit(task_id)
    begin()
    scene.struck_s = now_s()
    try:
        await stage.until_logged("bridge", "node-left", mark, within_s=2 * _DETECTED_S)
        scene.notice()
        if wire.there.held_bytes + wire.back.held_bytes == held:
            raise NotInjected("no byte was held back")
        scene.strike()
    finally:
        wire.heal()
        scene.heal()
    detection_s = now_s() - scene.struck_s
    scene.require(
        detection_s <= _DETECTED_S, f"a silent peer was noticed after {detection_s:.1f} s"
    )
    await scene.users.until_ended(task_id)


async def slow_network_and_slow_worker(scene: Scene) -> None:
    """17: late and little at a time, for longer than leases and invisibility last."""
    wire, database = scene.stage.node_wire, scene.stage.database_wire
    late = wire.there.late_bytes + wire.back.late_bytes
    for direction in (wire.there, wire.back):
        direction.latency_s = scene.chance.uniform(0.2, 0.4)
        direction.bytes_per_s = 30_000
    database.there.latency_s = scene.chance.uniform(0.005, 0.015)
    scene.struck_s = now_s()
    try:
        task_id = await scene.witness(hold_ms=12_000, result_bytes=15_000)
        state = await scene.users.until_ended(task_id)
        scene.require(state == "SUCCEEDED", f"the slow task ended {state}")
        if wire.there.late_bytes + wire.back.late_bytes > late and database.there.late_bytes:
            scene.strike()
    finally:
        wire.heal()
        database.heal()
        scene.heal()


async def broken_streams(scene: Scene) -> None:
    """18: single bytes, then frames that end in the middle, then resets; each way."""
    wire = scene.stage.node_wire
    for direction in (wire.there, wire.back):
        direction.slice_bytes = 1
        slices = direction.slice_count
        await scene.users.until_ended(await scene.witness(result_bytes=2000))
        direction.slice_bytes = 0
        if direction.slice_count - slices < 100:
            raise NotInjected("nothing was cut into single bytes")
        scene.strike()
        for how in ("truncate", "reset"):
            broken = direction.broken_count
            direction.breaks = how
            task_id = await scene.witness(hold_ms=20, result_bytes=500)
            await scene.users.until_ended(task_id)
            if direction.broken_count == broken:
                raise NotInjected(f"no frame was broken by {how}")
            scene.strike()
    scene.heal()


async def node_stops_reading(scene: Scene) -> None:
    """19: tasks of megabytes pile up before the node; the bridge must not keep all of them."""
    stage, users, wire = scene.stage, scene.users, scene.stage.node_wire
    bridge = stage.process("bridge")
    before_mib = peak_mib = rss_mib(bridge)
    mark = stage.mark("bridge")
    wishes = [year(scene.key(), scene.chance, stage.engine, _LOADS) for _ in range(_LARGE_TASKS)]

    async def is_given_up() -> bool:
        nonlocal peak_mib
        peak_mib = max(peak_mib, rss_mib(bridge))
        return bool(stage.logged("bridge", "node-left|node-not-reading", mark))

    # Small tasks would take the workers' places, and no large one would be sent.
    async with scene.load.paused():
        wire.there.hold()
        moved, held = wire.there.moved_bytes, wire.there.held_bytes
        scene.struck_s = now_s()
        try:
            large = [await users.submit(each) for each in wishes]

            async def are_sent() -> bool:
                return all([(await stage.task(task_id))[1] >= 1 for task_id in large[:2]])

            await until(are_sent, "two large tasks are sent to the node", 60)
            await until(is_given_up, "the bridge gives the node up", 60, 0.05)
            scene.notice()
            for task_id in large:
                await users.cancel(task_id)
            if wire.there.held_bytes > held and wire.there.moved_bytes == moved:
                scene.strike()
        finally:
            wire.heal()
            scene.heal()
    for task_id in large:
        await users.until_ended(task_id)
    scene.notes["bridge_growth_mib"] = round(peak_mib - before_mib)
    scene.require(
        peak_mib - before_mib < _GROWTH_MIB, f"the bridge grew by {peak_mib - before_mib:.0f} MiB"
    )
