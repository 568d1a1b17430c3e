"""taskiq: the broker with its no-op task, which its worker loads, and its client."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import uvloop
from taskiq import TaskiqResultTimeoutError
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from bench.queue.load import Executions, Outcome, Pace, serve

_TIME_LIMIT_S = 60.0
# How often the client asks for a result: taskiq pushes none. Often where nothing else is done.
_BURST_INTERVAL_S = 0.01
_PACED_INTERVAL_S = 0.0005
# How many calls are under way at once.
_SUBMITTING = 64
_WAITING = 16

_url = os.environ["BENCH_REDIS_URL"]
# Of taskiq's brokers on Redis the fastest, and the one without acknowledgements.
broker = ListQueueBroker(_url).with_result_backend(RedisAsyncResultBackend(_url))
_executions = itertools.count(1)


@broker.task(task_name="noop")
async def noop() -> int:
    """Does nothing; says the how-manieth execution it is, so that doubled ones are found."""
    return next(_executions)


class TaskiqClient:
    """Submits by ``kiq``; asks for the results in the order in which they come."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._runner.run(broker.startup())
        self._executions = Executions()

    def burst(self, count: int) -> Outcome:
        return self._executions.checked(self._runner.run(self._burst(count)), count)

    def singly(self, count: int, rate: float) -> Outcome:
        return self._executions.checked(self._runner.run(self._singly(count, rate)), count)

    def versions(self) -> Mapping[str, str]:
        return {"taskiq": version("taskiq"), "taskiq-redis": version("taskiq-redis")}

    async def _burst(self, count: int) -> Outcome:
        outcome = Outcome()
        submitted: asyncio.Queue[Any] = asyncio.Queue()
        left_to_submit, left_to_await = iter(range(count)), iter(range(count))

        async def submit() -> None:
            for _ in left_to_submit:
                submitted.put_nowait(await noop.kiq())

        async def collect() -> None:
            for _ in left_to_await:
                await self._await(await submitted.get(), _BURST_INTERVAL_S, outcome)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(_SUBMITTING):
                group.create_task(submit())
            for _ in range(_WAITING):
                group.create_task(collect())
        outcome.seconds = time.perf_counter() - began
        return outcome

    async def _singly(self, count: int, rate: float) -> Outcome:
        outcome, pace = Outcome(), Pace(rate)
        for _ in range(count):
            await asyncio.sleep(pace.wait_s())
            began = time.perf_counter()
            await self._await(await noop.kiq(), _PACED_INTERVAL_S, outcome)
            outcome.ms.append((time.perf_counter() - began) * 1e3)
        return outcome

    async def _await(self, task: Any, interval_s: float, outcome: Outcome) -> None:
        try:
            result = await task.wait_result(check_interval=interval_s, timeout=_TIME_LIMIT_S)
        except TaskiqResultTimeoutError:
            outcome.lost += 1
        else:
            self._executions.note(result.return_value)


if __name__ == "__main__":
    serve(TaskiqClient())
