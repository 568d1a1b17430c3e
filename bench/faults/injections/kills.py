"""Processes killed at the worst moment, which is made to last until the kill has hit.

A commit that waits for a lock, or a process that stands still, holds a moment open that otherwise
lasts a millisecond.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack, suppress

import psutil

from bench.faults.clients import Unanswered, probe
from bench.faults.history import now_s
from bench.faults.scene import Scene
from bench.faults.stage import until

# Between a client's request and its statement in the database.
_ON_ITS_WAY_S = 0.3
_KEYS = "tasks.idempotency_keys"
_CLAIMS_KEY = "INSERT INTO tasks.idempotency_keys"
_LEASE_S = 8.0


async def services_between_commit_and_publish(scene: Scene) -> None:
    """1: the broker stands still, so that the task is committed and not published."""
    stage = scene.stage
    with stage.frozen(stage.broker_process):
        task_id = await scene.witness()
        waiting = await stage.rows("SELECT count(*) FROM tasks.outbox")
        await until(lambda: stage.is_in_outbox(task_id), "the task waits in the outbox")
        killed = stage.kill("services")
        scene.strike(waiting[0][0])
        await scene.until_noticed("services", killed)
        scene.require(await stage.is_in_outbox(task_id), "the outbox lost a committed message")
    await stage.until_back("services", killed)


async def api_before_its_reply(scene: Scene) -> None:
    """2: the commit waits for a lock until the api stands still; it is killed once it is done."""
    stage, wish = scene.stage, probe(scene.key(), result_bytes=3)
    with ExitStack() as stillness:
        async with stage.locked(_KEYS):
            asking = asyncio.create_task(scene.users.submit(wish))
            await stage.until_waiting(_CLAIMS_KEY)
            await asyncio.sleep(_ON_ITS_WAY_S)
            stillness.enter_context(stage.frozen("api"))
        (committed,) = await until(lambda: stage.tasks_of(wish.key), "the task is committed")
        killed = stage.kill("api")
        scene.strike()
    await scene.until_noticed("api", killed)
    told = await asking
    scene.require(told == committed, f"the same key gave {committed} and then {told}")
    scene.require(await stage.tasks_of(wish.key) == [told], "one key made several tasks")


async def service_in_a_call(scene: Scene) -> None:
    """3: the call waits for a lock in the database."""
    stage, wish = scene.stage, probe(scene.key(), result_bytes=4)
    async with stage.locked(_KEYS):
        asking = asyncio.create_task(scene.users.submit_once(wish))
        await stage.until_waiting(_CLAIMS_KEY)
        await asyncio.sleep(_ON_ITS_WAY_S)
        killed = stage.kill("services")
        scene.strike()
        answers = len(scene.users.refusals)
        with suppress(Unanswered):
            await asking
            scene.require(False, "a call was answered by a service that had died")
        scene.notice()
    statuses = {each.status for each in scene.users.refusals[answers:]}
    scene.require(bool(statuses & {503, 504}), f"the caller was told {statuses}, not 503")
    await stage.until_back("services", killed)
    counts = await stage.rows(
        "SELECT (SELECT count(*) FROM tasks.idempotency_keys WHERE idempotency_key = %s),"
        " (SELECT count(*) FROM tasks.tasks WHERE label = %s)",
        wish.key,
        wish.key,
    )
    # The statement that has waited may still be committed, as nobody tells it that its caller died.
    scene.require(counts in ([(0, 0)], [(1, 1)]), f"half a task was left behind: {counts}")
    await scene.users.submit(wish)


async def bridge_between_send_and_acknowledgement(scene: Scene) -> None:
    """4: a worker is at the task."""
    stage = scene.stage
    task_id = await scene.witness_at_work(hold_ms=3000)
    killed = stage.kill("bridge")
    await stage.until_gone(killed)
    await scene.must_be_hit(task_id)
    scene.strike()
    await scene.until_noticed("bridge", killed)
    attempts = await scene.attempts_of(task_id)
    scene.require(attempts >= 2, f"the task was not delivered again: {attempts} attempts")


async def worker_at_work(scene: Scene) -> None:
    """5: the process that computes, or the whole node, by turns."""
    stage = scene.stage
    task_id = await scene.witness_at_work(hold_ms=3000)
    front = stage.process(stage.node)
    victims = await stage.worker_at_work() if scene.is_even else stage.tree(stage.node)
    marks = stage.mark("bridge"), stage.mark(stage.node)
    scene.notes["killed"] = len(victims)
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    await scene.must_be_hit(task_id)
    scene.strike()
    began = now_s()
    if scene.is_even:
        await stage.until_logged(stage.node, "worker-lost", marks[1])
    else:
        await stage.until_logged("bridge", "node-left", marks[0])
    scene.notice()

    async def is_reassigned() -> bool:
        return (await stage.task(task_id))[1] >= 2

    await until(is_reassigned, "another attempt is opened", 60)
    scene.notes["reassigned_s"] = round(now_s() - began, 2)
    if scene.is_even:
        scene.require(front.is_running(), "the front process died with its worker")
        scene.require(now_s() - began <= _LEASE_S, "the task was not reassigned within its lease")
    await scene.users.until_ended(task_id)


async def worker_after_its_result(scene: Scene) -> None:
    """6: the result has reached the bridge, and its commit waits for a lock."""
    stage, back = scene.stage, scene.stage.node_wire.back
    size = 15_000  # less than what is compressed, more than anything else on the wire
    task_id = await scene.witness_at_work(hold_ms=1000, result_bytes=size)
    async with stage.locked("tasks.results"):
        back.largest_bytes = 0

        async def has_passed() -> bool:
            return back.largest_bytes >= size

        await until(has_passed, "the result passes from the node to the bridge")
        await scene.must_be_hit(task_id)
        mark = stage.mark("bridge")
        for victim in stage.tree(stage.node):
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        await scene.must_be_hit(task_id)
        scene.strike()
        await stage.until_logged("bridge", "node-left", mark)
        scene.notice()
    attempts = await scene.attempts_of(task_id)
    scene.require(attempts == 1, f"a result that was there was computed again: {attempts} attempts")


async def broker_killed(scene: Scene) -> None:
    """9: a committed task waits in the outbox, others are on the queue or held."""
    stage = scene.stage
    held = await scene.witness_at_work(hold_ms=1500)
    with stage.frozen(stage.broker_process):
        task_id = await scene.witness()
        await until(lambda: stage.is_in_outbox(task_id), "the task waits in the outbox")
        killed = stage.kill(stage.broker_process)
        await stage.until_gone(killed)
        scene.strike()
        await scene.until_noticed(stage.broker_process, killed)
    await stage.until_back(stage.broker_process, killed, within_s=120)
    await scene.users.until_ended(task_id)
    await scene.users.until_ended(held)


async def database_in_a_transaction(scene: Scene) -> None:
    """12: the server, or only the process that serves the transaction, by turns."""
    stage, wish = scene.stage, probe(scene.key(), result_bytes=5)
    before = stage.process("postgres")
    async with stage.locked(_KEYS):
        asking = asyncio.create_task(scene.users.submit(wish))
        (backend, *_) = await stage.until_waiting(_CLAIMS_KEY)
        if scene.is_even:
            killed = stage.kill("postgres")
            await stage.until_gone(killed)
        else:
            os.kill(backend, signal.SIGKILL)
        scene.strike()
        answers = len(scene.users.refusals)

        async def is_told() -> bool:
            return len(scene.users.refusals) > answers or asking.done()

        await until(is_told, "a client hears of it", 40)
        scene.notice()
    if scene.is_even:
        await stage.until_back("postgres", killed, within_s=60)
    else:
        scene.require(before.is_running(), "the server died with one of its backends")
    await asking
    scene.require(len(await stage.tasks_of(wish.key)) == 1, "one key made several tasks")
