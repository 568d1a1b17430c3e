"""A cancel frees the machine: what computed is gone, and the task has ended."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from gridpact.cli.client import Client
from tests.heavy import long_search
from tests.platform.processes import still_alive
from tests.system.under_test import PlatformUnderTest

pytestmark = pytest.mark.timeout(120)

LONG_PROBE = {"kind": "probe", "input": {"hold_ms": 60_000}}
HEAVY_DISPATCH = {"kind": "dispatch", "input": long_search()}


@pytest.mark.parametrize("submission", [LONG_PROBE, HEAVY_DISPATCH], ids=["probe", "dispatch"])
async def test_running_task_takes_its_worker_with_it(
    platform: PlatformUnderTest, client: Client, engine: str, submission: dict[str, Any]
) -> None:
    async with platform.watched() as watch:
        task_id = await submit(client, submission | {"engine": engine})
        await watch.until_at_work(task_id)
        workers = platform.workers(engine)
        assert (await client.cancel(task_id)).cancel_requested
        await watch.until(task_id, "CANCELLED")
        # The one that computed ends, a spare one does not.
        while len(alive := still_alive(workers, 0.1)) == len(workers):
            pass
        assert len(alive) == len(workers) - 1
        # The node has another worker for the next task.
        after = await submit(client, {"kind": "probe", "engine": engine, "input": {}})
        await watch.until(after, "SUCCEEDED")
        assert watch.states[task_id][-1] == "CANCELLED"
    (stored,) = await platform.stored([task_id])
    assert (stored.state, stored.attempt_count, stored.has_result) == ("CANCELLED", 1, False)
    await platform.until_queue_is_empty()


async def test_task_that_no_worker_has_taken_ends_at_once(
    platform: PlatformUnderTest, client: Client, engine: str
) -> None:
    async with platform.watched() as watch:
        running = await submit(client, LONG_PROBE | {"engine": engine})
        await watch.until_at_work(running)
        waiting = await submit(client, LONG_PROBE | {"engine": engine})
        await client.cancel(waiting)
        await watch.until(waiting, "CANCELLED")
        assert watch.states[running][-1] == "RUNNING"
        await client.cancel(running)
        await watch.until(running, "CANCELLED")
    (stored,) = await platform.stored([waiting])
    assert (stored.state, stored.has_result) == ("CANCELLED", False)
    # One of a kind that was quick so far may have been sent to the node in advance.
    assert stored.attempt_count <= 1
    await platform.until_queue_is_empty()


async def submit(client: Client, submission: dict[str, Any]) -> str:
    return (await client.submit(json.dumps(submission).encode(), str(uuid4()))).task_id
