"""The memory of a bridge that has more to do than its nodes take."""

from __future__ import annotations

import sys
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from gridpact.broker.port import Message
from gridpact.broker.redis_streams import RedisStreamsBroker
from gridpact.contracts import messages
from gridpact.contracts.channels import BODY_BYTES, QUEUE_ADDRESS
from tests.bombs import peak_bytes
from tests.bridge.fakes import SECRET, FakeNode, FakeOwner
from tests.redis import RedisServer
from tests.running import running

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

WAITING = 100_000
MIB = 1024 * 1024
TOPIC = QUEUE_ADDRESS.format(engine="auto", kind="probe")


class DeafNode(FakeNode):
    """Stops reading when it is told the first task."""

    async def _listen(self, message: object) -> None:
        if isinstance(message, messages.TaskMessage):
            assert self._socket is not None
            self._socket.transport.pause_reading()


class EveryPayload(dict[str, bytes]):
    """A payload of the largest size for whatever task."""

    _payload = bytes(BODY_BYTES)

    def get(self, key: str, default: object = None) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._payload


async def test_is_bounded_with_many_large_tasks_and_a_node_that_stops_reading(
    redis_server: RedisServer,
) -> None:
    async with Redis.from_url(redis_server.url) as redis:
        # What other tests have left there is larger than any message of ours.
        await redis.flushall()
    broker = RedisStreamsBroker(redis_server.url, max_attempts=5)
    for _ in range(WAITING // 1000):
        await broker.publish([claim() for _ in range(1000)])
    owner = FakeOwner()
    owner.payloads = EveryPayload()
    async with DeafNode(capacity=64).running() as node, owner.running() as address:
        settings = {
            "GRIDPACT_REDIS_URL": redis_server.url,
            "GRIDPACT_RPC_ADDRESS": str(address),
            "GRIDPACT_COMPUTE_URLS": node.url,
            "GRIDPACT_COMPUTE_SECRET": SECRET,
            "GRIDPACT_BRIDGE_SECRET": SECRET,
        }
        with running([sys.executable, "-m", "gridpact.bridge"], settings) as facts:
            # Longer than until the node is dropped for its silence and has joined again.
            await owner.until(lambda: owner.calls["fetch"] > 20)
            renewed = owner.calls["renew"]
            for seen in range(renewed + 1, renewed + 12):
                await owner.until(lambda seen=seen: owner.calls["renew"] >= seen)
            waiting = (await broker.consumer(TOPIC).backlog()).visible_count
            peak = peak_bytes(facts["pid"])
    await broker.close()
    assert waiting > WAITING - 1000
    assert peak < 256 * MIB


def claim() -> Message:
    task_id = str(uuid4())
    headers = {"task_id": task_id, "kind": "probe", "encoding": "identity"}
    return Message(TOPIC, b"\x80", task_id, {**headers, "claim_bytes": str(BODY_BYTES)})
