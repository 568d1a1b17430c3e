"""Poison: what kills every worker, and what nobody can read. Then `gridpact dead-letters`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gridpact.broker.bootstrap import connected_broker
from gridpact.broker.port import Message
from gridpact.cli.__main__ import app
from gridpact.cli.access import client_of
from gridpact.contracts.channels import QUEUE_ADDRESS, QUEUE_MAX_ATTEMPTS
from gridpact.kit.settings import QueueSettings, read_settings
from gridpact.platform.error import PlatformError
from gridpact.platform.options import PlatformOptions
from gridpact.platform.rocketmq import find_java, find_libraries
from gridpact.platform.running import running_platform
from tests.system.test_thousand import submit
from tests.system.under_test import PlatformUnderTest

pytestmark = pytest.mark.timeout(300)

ENGINE = "python"
# Long enough for a worker to be killed amid it.
HOLD_MS = 4000


async def test_poison_is_listed_shown_and_replayed(platform: PlatformUnderTest) -> None:
    await tend(platform)


@pytest.mark.full
async def test_poison_is_listed_shown_and_replayed_on_rocketmq(tmp_path: Path) -> None:
    options = PlatformOptions(
        state_dir=tmp_path / "state", engine=ENGINE, broker="rocketmq", workers=1
    )
    try:
        find_java()
        find_libraries()
    except PlatformError as error:
        pytest.skip(str(error))
    async with running_platform(options) as running:
        await tend(PlatformUnderTest(running))


async def cli(platform: PlatformUnderTest, *arguments: str) -> tuple[int, str]:
    """Exit code and output of `gridpact dead-letters`."""
    command = ["dead-letters", *arguments, "--state-dir", str(platform.state_dir)]
    result = await asyncio.to_thread(CliRunner().invoke, app, command, env={"COLUMNS": "300"})
    return result.exit_code, result.output


async def listed(platform: PlatformUnderTest, count: int) -> list[dict[str, Any]]:
    """The dead letters, as soon as there are so many. Nothing announces them."""
    async with asyncio.timeout(60):
        while True:
            code, output = await cli(platform, "list", "--json")
            assert code == 0, output
            if len(letters := json.loads(output)) >= count:
                return letters


async def tend(platform: PlatformUnderTest) -> None:
    """Makes two dead letters, and does with them all that can be done."""
    assert (await cli(platform, "list"))[1].strip() == "no dead letters"
    topic = QUEUE_ADDRESS.format(engine=ENGINE, kind="probe")
    settings = read_settings(QueueSettings, platform.running.environment)
    async with connected_broker(settings) as broker:
        unreadable = Message(topic, b"\xc1 no MessagePack", "nobody", {"kind": "horoscope"})
        (unreadable_id,) = await broker.publish([unreadable])
    async with platform.watched() as watch, client_of(platform.running) as client:
        deadly = await submit(client, ENGINE, HOLD_MS)
        for attempt in range(1, QUEUE_MAX_ATTEMPTS + 1):
            await platform.until_attempt_is_at_work(deadly, attempt)
            for worker in platform.workers(ENGINE):
                worker.kill()
        await watch.until(deadly, "FAILED")
        neighbour = await submit(client, ENGINE, 1)
        await watch.until(neighbour, "SUCCEEDED")

        letters = {letter["key"]: letter for letter in await listed(platform, 2)}
        assert letters.keys() == {deadly, "nobody"}
        dead, unread = letters[deadly], letters["nobody"]
        assert (dead["task_id"], dead["topic"]) == (deadly, f"{ENGINE}-probe")
        assert "none of 5 attempts succeeded" in dead["error"]
        assert "WORKER_LOST" in dead["error"]
        assert unread["id"] == f"{ENGINE}-probe/{unreadable_id}"
        assert (unread["task_id"], unread["deliveries"]) == (None, QUEUE_MAX_ATTEMPTS)
        assert "task_id" in unread["error"]
        assert dead["bridge_id"] == unread["bridge_id"]

        code, shown = await cli(platform, "list", "--topic", topic)
        assert code == 0
        assert all(letter["id"] in shown for letter in letters.values())
        assert (await cli(platform, "list", "--topic", "auto-dispatch"))[1].startswith("no dead")
        code, shown = await cli(platform, "show", dead["id"])
        assert code == 0, shown
        assert '"hold_ms": 4000' in shown
        assert deadly in shown
        code, shown = await cli(platform, "show", unread["id"])
        assert code == 0, shown
        assert "cannot be read" in shown
        assert "c1 20 6e 6f" in shown

        code, said = await cli(platform, "replay", dead["id"], "--json")
        assert code == 0, said
        (replayed,) = json.loads(said)
        assert (replayed["outcome"], replayed["task_id"]) == ("submitted", deadly)
        await watch.until(replayed["new_task_id"], "SUCCEEDED")
        assert (await client.get_task(replayed["new_task_id"])).replay_of == deadly
        # The first one stays what it is, and its dead letter is gone.
        assert watch.states[deadly][-1] == "FAILED"
        assert [letter["key"] for letter in await listed(platform, 1)] == ["nobody"]
        code, said = await cli(platform, "replay", dead["id"])
        assert (code, "there is no dead letter" in said) == (2, True)

        # What nobody can read comes back after as many attempts.
        code, said = await cli(platform, "replay", "--all")
        assert (code, "is back on its topic" in said) == (0, True)
        (again,) = await listed(platform, 1)
        assert (again["id"], again["deliveries"]) == (unread["id"], QUEUE_MAX_ATTEMPTS)
    async with connected_broker(settings) as broker:
        assert await broker.consumer(topic).discard([unreadable_id]) == 1
