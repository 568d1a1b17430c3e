"""A thousand tasks from eight clients: every one gets its result once, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar
from uuid import uuid4

import pytest

from gridpact.cli.access import client_of
from gridpact.cli.client import ApiError, Client, UnreachableError
from gridpact.compute.serve.pool import QUEUE_OF_WORKER
from tests.system.under_test import PlatformUnderTest, StoredTask, Watch

Answer = TypeVar("Answer")

pytestmark = pytest.mark.timeout(180)

CLIENTS = 8
TASKS_EACH = 125
# How many tasks of a client are under way at once.
UNDER_WAY = 16

# Long enough that a process can be killed while the task is at work for certain.
WITNESS_HOLD_MS = 4000


async def test_thousand_tasks_have_a_thousand_results(platform: PlatformUnderTest) -> None:
    async with platform.watched() as watch, thousand_tasks(platform) as work:
        await watch.until_count(CLIENTS * TASKS_EACH)
    stored = await all_have_one_result(platform, work.task_ids)
    all_were_told_once(watch, work.task_ids)
    assert {task.attempt_count for task in stored} == {1}


async def test_killed_processes_lose_and_double_nothing(platform: PlatformUnderTest) -> None:
    first, last = platform.engines[0], platform.engines[-1]
    await survives(platform, (last, kill_bridge), (first, kill_workers), (last, kill_front))


@pytest.mark.full
@pytest.mark.parametrize("number", range(5))
async def test_killed_bridge_loses_and_doubles_nothing(
    platform: PlatformUnderTest, engine: str, number: int
) -> None:
    del number
    await survives(platform, (engine, kill_bridge))


@pytest.mark.full
async def test_killed_worker_loses_and_doubles_nothing(
    platform: PlatformUnderTest, engine: str
) -> None:
    await survives(platform, (engine, kill_workers))


@pytest.mark.full
async def test_killed_front_loses_and_doubles_nothing(
    platform: PlatformUnderTest, engine: str
) -> None:
    await survives(platform, (engine, kill_front))


@pytest.mark.full
@pytest.mark.parametrize("name", ["relay", "services", "api", "redis", "postgres"])
async def test_killed_server_loses_and_doubles_nothing(
    platform: PlatformUnderTest, name: str
) -> None:
    """Clients whose request fails repeat it under the same key until it is answered."""
    async with thousand_tasks(platform) as work:
        await work.until_done(CLIENTS * TASKS_EACH // 3)
        await platform.kill(name)
        assert work.done_count < CLIENTS * TASKS_EACH
    await all_have_one_result(platform, work.task_ids)


Fault = Callable[[PlatformUnderTest, str], Awaitable[None]]
"""Strikes while a task is at work at this engine."""


async def kill_bridge(platform: PlatformUnderTest, _: str) -> None:
    await platform.kill("bridge")


async def kill_workers(platform: PlatformUnderTest, engine: str) -> None:
    for worker in platform.workers(engine):
        worker.kill()


async def kill_front(platform: PlatformUnderTest, engine: str) -> None:
    await platform.kill(f"compute-{engine}")


async def survives(platform: PlatformUnderTest, *faults: tuple[str, Fault]) -> None:
    """Each fault strikes amid the work, and hits a task for certain: a witness that runs long."""
    total = CLIENTS * TASKS_EACH + len(faults)
    witnesses: list[str] = []
    async with platform.watched() as watch, thousand_tasks(platform) as work:
        async with client_of(platform.running) as client:
            for number, (engine, fault) in enumerate(faults, start=1):
                await watch.until_count(number * total // (len(faults) + 2))
                witness = await submit(client, engine, WITNESS_HOLD_MS)
                witnesses.append(witness)
                await watch.until_at_work(witness)
                assert watch.ended_count < total - len(faults)
                await fault(platform, engine)
        await watch.until_count(total)
    task_ids = [*work.task_ids, *witnesses]
    stored = await all_have_one_result(platform, task_ids)
    all_were_told_once(watch, task_ids)
    attempts = {task.task_id: task.attempt_count for task in stored}
    assert all(attempts[witness] >= 2 for witness in witnesses)
    # Only what was begun was tried again: of a lost worker, what it had, and one on its way; of a
    # lost bridge or front, what it had sent in advance, or had done and not told, too.
    lost_queues = [fault for _, fault in faults if fault in (kill_bridge, kill_front)]
    most = 2 * len(faults) + 2 * QUEUE_OF_WORKER * len(lost_queues)
    assert sum(attempts.values()) - total <= most * len(platform.engines)


class Work:
    """What the clients have submitted, and how much of it has come back."""

    def __init__(self) -> None:
        self.task_ids: list[str] = []
        self.done_count = 0
        self._changed = asyncio.Condition()

    async def done(self, task_id: str) -> None:
        self.task_ids.append(task_id)
        async with self._changed:
            self.done_count += 1
            self._changed.notify_all()

    async def until_done(self, count: int) -> None:
        async with asyncio.timeout(100), self._changed:
            await self._changed.wait_for(lambda: self.done_count >= count)


@asynccontextmanager
async def thousand_tasks(platform: PlatformUnderTest) -> AsyncIterator[Work]:
    """Eight clients submit and follow tasks. Leaving waits for every result."""
    work = Work()
    async with asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            clients.create_task(one_client(platform, number, work))
        yield work


async def one_client(platform: PlatformUnderTest, number: int, work: Work) -> None:
    under_way = asyncio.Semaphore(UNDER_WAY)
    choices = ("auto", *platform.engines)

    async def one_task(client: Client, i: int) -> None:
        async with under_way:
            task_id = await submit(client, choices[i % len(choices)], i % 5)
            result = await answered(lambda: result_of(client, task_id))
            assert result["held_ms"] >= i % 5
            await work.done(task_id)

    async with client_of(platform.running) as client, asyncio.TaskGroup() as tasks:
        for i in range(TASKS_EACH):
            tasks.create_task(one_task(client, number + i))


async def submit(client: Client, engine: str, hold_ms: int) -> str:
    submission = {"kind": "probe", "engine": engine, "input": {"hold_ms": hold_ms}}
    content, key = json.dumps(submission).encode(), str(uuid4())
    return (await answered(lambda: client.submit(content, key))).task_id


async def result_of(client: Client, task_id: str) -> dict[str, float]:
    """The result that is pushed to whoever follows the task."""
    async with aclosing(client.follow(task_id)) as updates:
        async for update in updates:
            if update.result is not None:
                return json.loads(update.result)
    raise AssertionError(f"task {task_id} has ended without a result")


async def answered(request: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer to a request that is repeated while a server of the platform is away."""
    while True:
        try:
            return await request()
        except UnreachableError:
            pass
        except ApiError as error:
            if error.problem.status not in (503, 504):
                raise
        await asyncio.sleep(0.2)


async def all_have_one_result(
    platform: PlatformUnderTest, task_ids: Collection[str]
) -> list[StoredTask]:
    """What the database and the queue say of the tasks when all is done."""
    stored = await platform.stored(task_ids)
    assert sorted(task.task_id for task in stored) == sorted(task_ids)
    assert Counter(task.state for task in stored) == {"SUCCEEDED": len(task_ids)}
    assert all(task.has_result for task in stored)
    await platform.until_queue_is_empty()
    # What PostgreSQL says to whoever would rewrite a terminal state.
    assert "it cannot become" not in platform.log("services")
    return stored


def all_were_told_once(watch: Watch, task_ids: Collection[str]) -> None:
    """Of every task the event stream told the end, once, and nothing after it."""
    for task_id in task_ids:
        assert watch.states[task_id].index("SUCCEEDED") == len(watch.states[task_id]) - 1
