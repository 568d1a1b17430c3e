"""What `gridpact dead-letters` shows of a queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from gridpact.broker.port import Message
from gridpact.broker.redis_streams import RedisStreamsBroker
from gridpact.cli.__main__ import app
from gridpact.contracts.channels import QUEUE_ADDRESS, QUEUE_MAX_ATTEMPTS
from tests.redis import RedisServer

TOPIC = QUEUE_ADDRESS.format(engine="python", kind="probe")
ERROR = "none of 5 attempts succeeded"


@pytest.fixture
async def broker(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RedisStreamsBroker]:
    """A queue without messages, which the environment names to the command."""
    monkeypatch.setenv("GRIDPACT_REDIS_URL", redis_server.url)
    monkeypatch.setenv("GRIDPACT_RPC_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("GRIDPACT_BRIDGE_SECRET", "only-for-tests")
    broker = RedisStreamsBroker(redis_server.url, max_attempts=QUEUE_MAX_ATTEMPTS)
    yield broker
    consumer = broker.consumer(TOPIC)
    await consumer.discard([it.message_id for it in await consumer.dead_letters(10_000)])
    await broker.close()


async def said(state_dir: Path, *arguments: str) -> str:
    command = ["dead-letters", *arguments, "--state-dir", str(state_dir)]
    result = await asyncio.to_thread(CliRunner().invoke, app, command, env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    return result.output


async def bury(broker: RedisStreamsBroker, messages: Sequence[Message]) -> list[str]:
    """Makes dead letters of the messages; returns the names that the command gives them."""
    ids = await broker.publish(messages)
    consumer = broker.consumer(TOPIC)
    while deliveries := await consumer.receive(100, timedelta(minutes=1), timedelta(0)):
        for delivery in deliveries:
            assert await consumer.bury(delivery, ERROR, "bridge-1") is None
    return [f"python-probe/{id}" for id in ids]


def message(body: bytes, **headers: str) -> Message:
    task_id = str(uuid4())
    properties = {"task_id": task_id, "kind": "probe", "encoding": "identity", **headers}
    return Message(TOPIC, body, task_id, properties)


async def test_shows_the_newest_of_more_than_the_broker_reads_at_once(
    broker: RedisStreamsBroker, tmp_path: Path
) -> None:
    names = await bury(broker, [message(b"\x80") for _ in range(300)])
    (newest,) = await bury(broker, [message(b"\x81\xa7hold_ms\x07")])
    letters = json.loads(await said(tmp_path, "list", "--json", "--limit", "1000"))
    assert {letter["id"] for letter in letters} == {*names, newest}
    assert (await said(tmp_path, "list", "--limit", "1")).count("python-probe/") == 1
    shown: dict[str, Any] = json.loads(await said(tmp_path, "show", newest, "--json"))
    assert shown["input"]["hold_ms"] == 7


async def test_says_where_the_input_of_a_claimed_task_is(
    broker: RedisStreamsBroker, tmp_path: Path
) -> None:
    (name,) = await bury(broker, [message(b"\x80", claim_bytes="704512", encoding="zstd")])
    words = "the input (704512 bytes) is kept with the task; replay uses it"
    shown = await said(tmp_path, "show", name)
    assert words in shown
    assert "cannot be read" not in shown
    letter = json.loads(await said(tmp_path, "show", name, "--json"))
    assert (letter["input_bytes"], letter["input_kept"]) == (704512, words)
    assert "body_error" not in letter


async def test_counts_deliveries_and_no_attempts(
    broker: RedisStreamsBroker, tmp_path: Path
) -> None:
    (name,) = await bury(broker, [message(b"\x80")])
    (letter,) = json.loads(await said(tmp_path, "list", "--json"))
    assert letter["deliveries"] == 1
    assert "attempts" not in letter
    for shown in (await said(tmp_path, "list"), await said(tmp_path, "show", name)):
        assert "deliveries" in shown
        assert "attempts" not in shown.replace(ERROR, "")


def test_replay_names_its_ids_once_in_its_usage() -> None:
    result = CliRunner().invoke(app, ["dead-letters", "replay", "--help"], env={"COLUMNS": "200"})
    assert "replay [OPTIONS] [ID]...\n" in "\n".join(
        line.rstrip() for line in result.output.splitlines()
    )
