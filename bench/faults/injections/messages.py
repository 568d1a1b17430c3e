"""Messages that cannot be served, and clients who want contradictory things."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

import psutil

from bench.faults.clients import Refusal, Unanswered, probe
from bench.faults.scene import Scene
from bench.faults.stage import NotInjected, until
from gridpact.broker.port import Consumer, DeadLetter, Message
from gridpact.contracts.channels import MAX_ATTEMPTS, QUEUE_MAX_ATTEMPTS

FAILS = frozenset({"FAILED"})
_DUPLICATES = 10
_ROUNDS = 12


async def poison(scene: Scene) -> None:
    """20: a message that nobody can read, then a task that kills every worker it is given to."""
    await _unreadable_message(scene)
    await _deadly_task(scene)


async def _unreadable_message(scene: Scene) -> None:
    stage = scene.stage
    key = scene.key()
    properties: Mapping[str, str] = {"task_id": "no identifier", "kind": "probe"}
    async with stage.broker() as broker:
        consumer = broker.consumer(stage.topic)
        mark = stage.mark("bridge")
        (message_id,) = await broker.publish([Message(stage.topic, b"\xc1", key, properties)])
        scene.strike()

        letter = await _dead_letter(consumer, key)
        scene.notice()
    refused = stage.logged("bridge", "message-refused", mark)
    scene.notes["deliveries_of_the_message"] = len(refused)
    scene.require(
        len(refused) == letter.attempts == QUEUE_MAX_ATTEMPTS,
        f"{len(refused)} deliveries of {message_id}, {letter.attempts} of them told",
    )


async def _deadly_task(scene: Scene) -> None:
    stage = scene.stage
    task_id = await scene.witness(hold_ms=60_000, ends=FAILS)
    for attempt in range(1, MAX_ATTEMPTS + 1):

        async def is_at_work(attempt: int = attempt) -> bool:
            rows = await stage.rows(
                "SELECT 1 FROM tasks.tasks WHERE task_id = %s AND attempt_count = %s"
                " AND progress IS NOT NULL",
                task_id,
                attempt,
            )
            return bool(rows)

        await until(is_at_work, f"attempt {attempt} is at work", 60)
        for worker in await stage.worker_at_work():
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        scene.strike()
    state = await scene.users.until_ended(task_id)
    attempts = (await stage.task(task_id))[1]
    scene.notes["attempts_of_the_task"] = attempts
    scene.require(
        (state, attempts) == ("FAILED", MAX_ATTEMPTS), f"it is {state} after {attempts} attempts"
    )
    async with stage.consumer() as consumer:
        letter = await _dead_letter(consumer, task_id)
    scene.require(bool(letter.error), "the dead letter of the task does not say why")


async def _dead_letter(consumer: Consumer, key: str) -> DeadLetter:
    """The dead letter of this key, when there is one."""

    async def found() -> DeadLetter | None:
        letters = await consumer.dead_letters(1000)
        return next((each for each in letters if each.key == key), None)

    return await until(found, f"the message of {key} is a dead letter", 60, 0.1)


async def contradictory_wishes(scene: Scene) -> None:
    """21: ten requests of one key at once; then a cancel about when the result comes."""
    users, engine = scene.users, scene.stage.engine
    for _ in range(3):
        wish = probe(scene.key(), result_bytes=11, engine=engine)
        told = await asyncio.gather(
            *(users.submit(wish, f"duplicate-{n}") for n in range(_DUPLICATES))
        )
        scene.strike()
        scene.require(len(set(told)) == 1, f"one key, {len(set(told))} tasks")
    ends: Counter[str] = Counter()
    refused = 0
    for _ in range(_ROUNDS):
        hold_ms = scene.chance.randint(50, 150)
        either = frozenset({"SUCCEEDED", "CANCELLED"})
        wish = probe(scene.key(), hold_ms=hold_ms, result_bytes=2, engine=engine, ends=either)
        task_id = await users.submit(wish)
        await asyncio.sleep(hold_ms / 1000 * scene.chance.uniform(0.5, 1.5))
        try:
            await users.cancel(task_id)
        except Refusal as refusal:
            refused += 1
            scene.require(refusal.status == 409, f"a late cancel is answered {refusal.status}")
        except Unanswered as error:
            scene.require(False, f"a cancel was not answered: {error}")
        scene.strike()
        ends[await users.until_ended(task_id)] += 1
    scene.notes |= {"won_by_cancel": ends["CANCELLED"], "won_by_result": ends["SUCCEEDED"]}
    scene.require(refused <= ends["SUCCEEDED"], "a cancel was refused for a task without a result")
    if not sum(ends.values()):
        raise NotInjected("no cancel met a result")
