"""A year of quarter hours through the whole platform, and results as large as they may be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
import numpy as np
import pytest
import pytest_asyncio

from gridpact.cli.access import client_of
from gridpact.contracts.rest import Task
from gridpact.platform.options import PlatformOptions
from gridpact.platform.rocketmq import find_java, find_libraries
from gridpact.platform.running import running_platform
from tests.system.under_test import PlatformUnderTest

pytestmark = pytest.mark.timeout(180)

SLOTS = 35_040
SITE = {
    "start_time": "2026-01-01T00:00:00Z",
    "slot_duration_s": 900,
    "slots": SLOTS,
    "currency": "EUR",
}
BATTERY = {
    "capacity_kwh": 10,
    "max_charge_power_kw": 5,
    "max_discharge_power_kw": 5,
    "charge_efficiency": 1,
    "discharge_efficiency": 1,
}
GOLDEN = Path(__file__).parents[3] / "contract-tests" / "golden" / "power-flow"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rocketmq_platform(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[PlatformUnderTest]:
    find_java()
    find_libraries()
    state_dir = tmp_path_factory.mktemp("rocketmq-platform") / "state"
    options = PlatformOptions(state_dir=state_dir, workers=1, broker="rocketmq")
    async with running_platform(options) as running:
        yield PlatformUnderTest(running)


@pytest.fixture(params=["redis", pytest.param("rocketmq", marks=pytest.mark.full)])
def each_platform(request: pytest.FixtureRequest) -> PlatformUnderTest:
    """A platform on each broker."""
    name = "platform" if request.param == "redis" else "rocketmq_platform"
    return cast("PlatformUnderTest", request.getfixturevalue(name))


def year(seed: int, low: float, high: float) -> list[float]:
    """Values that no compression makes much smaller."""
    return np.random.default_rng(seed).uniform(low, high, SLOTS).tolist()


def replay_of_a_year() -> dict[str, Any]:
    """Six series: two loads, available PV, two prices, and the set-points of a battery."""
    return {
        "site": {
            **SITE,
            "batteries": [{"name": "Battery", "battery": BATTERY, "initial_energy_kwh": 5}],
            "pv": [{"name": "Roof", "available_power_kw": year(1, 0, 8)}],
            "loads": [
                {"name": "House", "power_kw": year(2, 0, 6)},
                {"name": "Workshop", "power_kw": year(3, 0, 9)},
            ],
            "tariff": {
                "import_price_per_kwh": year(4, 0.1, 0.4),
                "export_price_per_kwh": year(5, 0, 0.09),
            },
            "grid": {"max_import_power_kw": 30, "max_export_power_kw": 30},
        },
        "schedule": [{"name": "Battery", "power_kw": [1.5, -1.5] * (SLOTS // 2)}],
    }


def parked(vehicles: int) -> dict[str, Any]:
    """A small input with a large result: vehicles that stand for a year."""
    flat = [0.25] * SLOTS
    return {
        "site": {
            **SITE,
            "batteries": [],
            "electric_vehicles": [
                {
                    "name": f"Van {i}",
                    "battery": BATTERY,
                    "stays": [{"start_slot": 0, "end_slot": SLOTS, "initial_energy_kwh": i % 10}],
                }
                for i in range(vehicles)
            ],
            "loads": [{"name": "House", "power_kw": flat}],
            "tariff": {"import_price_per_kwh": flat, "export_price_per_kwh": flat},
            "grid": {"max_import_power_kw": 30, "max_export_power_kw": 30},
        },
        "schedule": [],
    }


def flows_of_a_year() -> dict[str, Any]:
    """Six profiles over the loads of the IEEE case of 14 buses."""
    wanted = json.loads((GOLDEN / "ieee-14.submission.json").read_text())["input"]
    for i, load in enumerate(wanted["network"]["loads"]):
        load["profile"] = f"Profile {i % 6}"
    profiles = [
        {"name": f"Profile {i}", "unit": "FACTOR", "values": year(i, 0.5, 1.1)} for i in range(6)
    ]
    times = {name: SITE[name] for name in ("start_time", "slot_duration_s", "slots")}
    return {"network": wanted["network"], **times, "profiles": profiles}


async def ended(
    platform: PlatformUnderTest, engine: str, kind: str, wanted: dict[str, Any]
) -> tuple[Task, httpx.Response]:
    """How the task ended, and what the API gives for its result."""
    content = json.dumps({"kind": kind, "engine": engine, "input": wanted}).encode()
    async with client_of(platform.running) as client:
        task = await client.submit(content, str(uuid4()))
        async with aclosing(client.follow(task.task_id)) as updates:
            async for update in updates:
                task = update.task
    secrets = platform.running.secrets
    login = {"email": secrets.admin_email, "password": secrets.admin_password}
    async with httpx.AsyncClient(base_url=platform.running.api_url, timeout=60) as http:
        session = (await http.post("/v1/sessions", json=login)).json()
        headers = {"Authorization": f"Bearer {session['access_token']}"}
        return task, await http.get(f"/v1/tasks/{task.task_id}/result", headers=headers)


async def test_replay_of_a_year_comes_back(each_platform: PlatformUnderTest, engine: str) -> None:
    wanted = replay_of_a_year()
    task, response = await ended(each_platform, engine, "replay", wanted)
    assert (task.state, task.attempt_count) == ("SUCCEEDED", 1)
    result = response.json()
    power = np.array([load["power_kw"] for load in wanted["site"]["loads"]]).sum(axis=0)
    power += np.array(wanted["schedule"][0]["power_kw"])
    power -= np.array(wanted["site"]["pv"][0]["available_power_kw"])
    assert np.allclose(result["grid_power_kw"], power)
    assert result["deviations"] == []


@pytest.mark.full
async def test_flows_of_a_year_come_back(each_platform: PlatformUnderTest, engine: str) -> None:
    task, response = await ended(each_platform, engine, "power-flow", flows_of_a_year())
    assert (task.state, task.attempt_count) == ("SUCCEEDED", 1)
    assert len(response.json()["by_slot"]["losses_mw"]) == SLOTS


@pytest.mark.full
async def test_result_up_to_the_limit_comes_back(platform: PlatformUnderTest, engine: str) -> None:
    task, response = await ended(platform, engine, "replay", parked(119))
    assert (task.state, task.failure) == ("SUCCEEDED", None)
    assert len(response.json()["assets"]) == 119


@pytest.mark.full
async def test_result_above_the_limit_ends_the_task_in_words(
    platform: PlatformUnderTest, engine: str
) -> None:
    """Two series of each vehicle, and the one of the grid, are just above 64 MiB."""
    task, response = await ended(platform, engine, "replay", parked(120))
    assert (task.state, task.attempt_count) == ("FAILED", 1)
    assert task.failure is not None
    assert task.failure.reason == "RESULT_TOO_LARGE"
    assert response.json()["reason"] == "RESULT_NOT_READY"
