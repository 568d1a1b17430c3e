"""Processes that stand still, die silently with what they hold, or forget everything."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from bench.faults.clients import Unanswered
from bench.faults.history import now_s
from bench.faults.scene import Scene
from bench.faults.stage import NotInjected, until
from gridpact.broker.port import Backlog
from gridpact.contracts.channels import QUEUE_INVISIBILITY_MS
from gridpact.platform.addresses import PortClaims

_AN_HOUR_S = 3600.0


async def lease_holder_beyond_its_lease(scene: Scene) -> None:
    """7: bridge and node stand still; a second pair takes the task over; then they go on."""
    stage = scene.stage
    task_id = await scene.witness_at_work(hold_ms=3000)
    claims = PortClaims()
    (address,) = claims.claim(["another"]).values()
    mark = stage.mark("bridge")
    try:
        with stage.frozen("bridge", stage.node):
            await scene.must_be_hit(task_id)
            struck_s = now_s()
            node = stage.another("gridpact.compute", "--port", str(address.port), "--workers", "1")
            bridge = stage.another("gridpact.bridge", compute_urls=f"ws://{address}/compute")
            async with node, bridge:

                async def is_taken_over() -> bool:
                    return (await stage.task(task_id))[1] == 2

                await until(is_taken_over, "another attempt is opened", 40)
                scene.noticed_s = now_s()
                if scene.is_even:
                    await scene.users.until_ended(task_id)
                # Else the first result comes while the second attempt computes.
                for process in (*stage.tree("bridge"), *stage.tree(stage.node)):
                    process.resume()
                await stage.until_logged("bridge", "outcome-refused|lease-lost", mark)
                scene.strike()
                scene.struck_s = struck_s
                scene.heal()
                await scene.users.until_ended(task_id)
    finally:
        claims.close()
    attempts = await scene.attempts_of(task_id)
    scene.require(attempts == 2, f"{attempts} attempts, not the stale one and the good one")


async def bridge_or_broker_stands_still(scene: Scene) -> None:
    """8: first the bridge, then the broker; nothing notices, so everything must wait."""
    stage = scene.stage
    for name in ("bridge", stage.broker_process):
        with stage.frozen(name):
            if name == "bridge":
                task_id = await scene.witness()
            await asyncio.sleep(scene.chance.uniform(4.0, 7.0))
            if name == "bridge":
                state, _ = await stage.task(task_id)
                scene.require(state == "QUEUED", f"a task is {state} while the bridge stands still")
            scene.strike()
        scene.heal()
        await scene.load.until(5)


async def redis_forgets_everything(scene: Scene) -> None:
    """10: FLUSHALL while a task lies in the queue and another one is held."""
    stage = scene.stage
    held = await scene.witness_at_work(hold_ms=2000)
    with stage.frozen("bridge"):
        task_id = await scene.witness()

        async def is_published() -> bool:
            return not await stage.is_in_outbox(task_id)

        await until(is_published, "the task is published")
        async with stage.redis() as redis, stage.consumer() as consumer:
            before = _message_count(await consumer.backlog())
            scene.require(before >= 2, "nothing lay in the queue")
            await redis.flushall()
            after = _message_count(await consumer.backlog())
        if before > after:
            scene.strike(before - after)
    await scene.users.until_ended(task_id, within_s=90)
    scene.notice()
    await scene.users.until_ended(held)


def _message_count(backlog: Backlog) -> int:
    """With what the bridge holds, and what it has been sent while it stands still."""
    return backlog.visible_count + (backlog.invisible_count or 0)


async def consumer_dies_with_a_message(scene: Scene) -> None:
    """11: another consumer takes the message, and is never heard of again."""
    stage = scene.stage
    slow = await scene.witness(hold_ms=QUEUE_INVISIBILITY_MS + 3000)
    await stage.until_at_work(slow)
    invisible = timedelta(milliseconds=QUEUE_INVISIBILITY_MS)
    async with stage.consumer() as consumer:
        with stage.frozen("bridge"):
            # Who waits at the queue is sent what comes; it waits for a second.
            await asyncio.sleep(1.5)
            task_id = await scene.witness()

            async def is_taken() -> bool:
                taken = await consumer.receive(16, invisible, timedelta(seconds=1))
                return any(each.key == task_id for each in taken)

            await until(is_taken, "the other consumer takes the message")
            scene.strike()
    await stage.until_state(task_id, "SUCCEEDED")
    scene.notice()
    attempts = await scene.attempts_of(slow)
    scene.require(attempts == 1, f"a long task was claimed from its worker: {attempts} attempts")


async def tables_are_locked(scene: Scene) -> None:
    """13: somebody holds a lock for longer than anybody waits."""
    stage, users = scene.stage, scene.users
    before = len(users.refusals)
    async with stage.locked("tasks.tasks", "tasks.idempotency_keys"):
        scene.strike()

        async def is_refused() -> bool:
            return len(users.refusals) > before

        await until(is_refused, "a client is told to come again", 20)
        scene.notice()
    scene.heal()
    told = users.refusals[before:]
    scene.require(
        all(each.status == 503 and each.retry_after for each in told),
        f"clients were told {sorted({(each.status, each.retry_after) for each in told}, key=str)}",
    )


async def clock_is_set(scene: Scene) -> None:
    """23: the clock of the database, by which all leases are judged, jumps an hour and back."""
    stage = scene.stage
    hours = [1, -1] if scene.is_even else [-1, 1]
    for hour in hours:
        task_id = await scene.witness_at_work(hold_ms=3000)
        async with stage.clock_set_by(timedelta(hours=hour)):
            fresh = await scene.witness_at_work(hold_ms=500)
            ((far,),) = await stage.rows(
                "SELECT abs(extract(epoch FROM submitted_time - pg_catalog.clock_timestamp()))"
                "::float8 FROM tasks.tasks WHERE task_id = %s",
                fresh,
            )
            if far < _AN_HOUR_S / 2:
                raise NotInjected(f"the clock of the database is {far:.0f} s off")
            scene.strike()
            await scene.users.until_ended(fresh)
            await scene.users.until_ended(task_id)
            across = await scene.witness_at_work(hold_ms=2000)
        scene.heal()
        await scene.users.until_ended(across)


async def disk_is_full(scene: Scene) -> None:
    """14: not a byte is left for PostgreSQL, Redis, logs and records."""
    stage, users = scene.stage, scene.users
    known = await scene.witness()
    await users.until_ended(known)
    before = len(users.refusals)
    with stage.disk_full():
        scene.struck_s = now_s()

        async def is_refused() -> bool:
            return len(users.refusals) > before

        await until(is_refused, "a client is told to come again", 40)
        scene.notice()
        scene.strike()
        await asyncio.sleep(scene.chance.uniform(3.0, 6.0))
        with suppress(Unanswered):
            await users.read(known)
            scene.notes["reads_work"] = True
    scene.heal()
    scene.require(scene.notes.get("reads_work", False), "a task could not be read")
    told = {each.status for each in users.refusals[before:]}
    scene.require(told == {503}, f"clients were told {told}, not 503")
