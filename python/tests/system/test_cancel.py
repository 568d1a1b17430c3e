"""A cancel frees the machine: what computed is gone, and the task has ended."""

from __future__ import annotations

import json
import random
from typing import Any
from uuid import uuid4

import pytest

from gridpact.cli.client import Client
from tests.platform.processes import still_alive
from tests.system.under_test import PlatformUnderTest

pytestmark = pytest.mark.timeout(120)

LONG_PROBE = {"kind": "probe", "input": {"hold_ms": 60_000}}


def heavy_dispatch(slots: int = 2000, batteries: int = 4) -> dict[str, Any]:
    """A mixed-integer problem that takes minutes to prove the best plan of."""
    chance = random.Random(1)
    prices = [chance.uniform(-0.3, 0.4) for _ in range(slots)]
    battery = {
        "max_charge_power_kw": 5,
        "max_discharge_power_kw": 4,
        "charge_efficiency": 0.93,
        "discharge_efficiency": 0.91,
    }
    problem = {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 900,
        "slots": slots,
        "currency": "EUR",
        "batteries": [
            {
                "name": f"Battery {i}",
                "battery": battery | {"capacity_kwh": 10 + i},
                "initial_energy_kwh": 5,
            }
            for i in range(batteries)
        ],
        "pv": [
            {
                "name": "Roof",
                "curtailable": True,
                "available_power_kw": [chance.uniform(0, 8) for _ in range(slots)],
            }
        ],
        "loads": [{"name": "House", "power_kw": [chance.uniform(0, 6) for _ in range(slots)]}],
        "tariff": {
            "import_price_per_kwh": prices,
            "export_price_per_kwh": [price - 0.05 for price in prices],
        },
        "grid": {"max_import_power_kw": 9, "max_export_power_kw": 7},
        "options": {"time_limit_s": 600, "relative_gap": 0},
    }
    return {"kind": "dispatch", "input": problem}


@pytest.mark.parametrize("submission", [LONG_PROBE, heavy_dispatch()], ids=["probe", "dispatch"])
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


async def test_queued_task_ends_at_once(
    platform: PlatformUnderTest, client: Client, engine: str
) -> None:
    async with platform.watched() as watch:
        running = await submit(client, LONG_PROBE | {"engine": engine})
        await watch.until(running, "RUNNING")
        queued = await submit(client, LONG_PROBE | {"engine": engine})
        assert (await client.cancel(queued)).state == "CANCELLED"
        await client.cancel(running)
        await watch.until(running, "CANCELLED")
    (stored,) = await platform.stored([queued])
    assert (stored.state, stored.attempt_count) == ("CANCELLED", 0)
    await platform.until_queue_is_empty()


async def submit(client: Client, submission: dict[str, Any]) -> str:
    return (await client.submit(json.dumps(submission).encode(), str(uuid4()))).task_id
