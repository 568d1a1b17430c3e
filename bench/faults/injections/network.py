"""Faults of the network between bridge and node, from the wire between them."""

from __future__ import annotations

import asyncio

from bench.faults.history import now_s
from bench.faults.scene import Scene
from bench.faults.stage import NotInjected, rss_mib
from gridpact.contracts.channels import HEARTBEAT_INTERVAL_MS

# Three silent intervals, and one more until somebody looks.
_DETECTED_S = 4 * HEARTBEAT_INTERVAL_MS / 1000
_BUFFER_MIB = 64.0


async def blackhole(scene: Scene) -> None:
    """15: neither side hears anything of the other."""
    wire = scene.stage.node_wire
    await _silence(scene, lambda: (wire.there.hold(), wire.back.hold()))


async def one_way_cut(scene: Scene) -> None:
    """16: one of them hears the other and is not heard, by turns."""
    wire = scene.stage.node_wire
    await _silence(scene, (wire.there if scene.is_even else wire.back).hold)


async def _silence(scene: Scene, begin) -> None:
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
    wire = scene.stage.node_wire
    late = wire.there.late_bytes + wire.back.late_bytes
    for direction in (wire.there, wire.back):
        direction.latency_s = scene.chance.uniform(0.2, 0.4)
        direction.bytes_per_s = 30_000
    scene.struck_s = now_s()
    try:
        task_id = await scene.witness(hold_ms=12_000, result_bytes=15_000)
        state = await scene.users.until_ended(task_id)
        scene.require(state == "SUCCEEDED", f"the slow task ended {state}")
        if wire.there.late_bytes + wire.back.late_bytes > late:
            scene.strike()
    finally:
        wire.heal()
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
    """19: what the bridge sends piles up; it must give up instead of keeping all of it."""
    stage, wire = scene.stage, scene.stage.node_wire
    bridge = stage.process("bridge")
    before_mib = rss_mib(bridge)
    mark = stage.mark("bridge")
    wire.there.hold()
    held = wire.there.held_bytes
    scene.struck_s = now_s()
    try:
        task_ids = [await scene.witness(result_bytes=size) for size in range(1, 9)]
        await stage.until_logged("bridge", "node-left|node-not-reading", mark)
        scene.notice()
        if wire.there.held_bytes > held:
            scene.strike()
    finally:
        wire.heal()
        scene.heal()
    for task_id in task_ids:
        await scene.users.until_ended(task_id)
    growth_mib = rss_mib(bridge) - before_mib
    scene.require(growth_mib < _BUFFER_MIB, f"the bridge grew by {growth_mib:.0f} MiB")
    await asyncio.sleep(0)
