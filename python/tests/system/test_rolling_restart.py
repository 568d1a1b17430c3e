"""Two bridges at the same nodes, ended in order one after the other amid the work."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import ExitStack

import pytest

from gridpact.cli.access import client_of
from tests.running import running
from tests.system.test_thousand import all_have_one_result, all_were_told_once, submit
from tests.system.under_test import PlatformUnderTest

pytestmark = pytest.mark.timeout(180)

TASKS = 240
# Longer than a bridge that drains waits for: it must hand the task back.
LONG_MS = 6000


async def test_rolling_restart_of_two_bridges_loses_and_doubles_nothing(
    platform: PlatformUnderTest,
) -> None:
    command = (sys.executable, "-m", "gridpact.bridge")
    engines = platform.engines
    async with platform.watched() as watch, client_of(platform.running) as client:
        with ExitStack() as second:
            second.enter_context(running(command, platform.running.environment))
            task_ids = [
                await submit(client, ("auto", *engines)[i % (len(engines) + 1)], i % 20)
                for i in range(TASKS)
            ]
            await watch.until_count(TASKS // 4)
            # With one worker an engine, this is at work at one of the two bridges.
            long_one = await submit(client, engines[0], LONG_MS)
            await watch.until_at_work(long_one)
            await platform.kill("bridge", signal.SIGTERM)
            # It ends with status 0, or the test fails.
            await asyncio.to_thread(second.close)
            task_ids += [await submit(client, "auto", 1) for _ in range(20)]
            second.enter_context(running(command, platform.running.environment))
            await watch.until_count(len(task_ids) + 1)
    stored = await all_have_one_result(platform, [*task_ids, long_one])
    all_were_told_once(watch, [*task_ids, long_one])
    attempts = {task.task_id: task.attempt_count for task in stored}
    assert attempts[long_one] >= 2
    # Whoever lost a race for a worker, or had one when its bridge stopped, was tried again.
    assert await platform.counted_attempts([long_one]) == 1
