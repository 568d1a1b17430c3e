"""The memory of a bridge, whatever waits for it and whoever does not read."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
from redis.asyncio import Redis
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gridpact.broker.redis_streams import RedisStreamsBroker
from gridpact.contracts import messages
from gridpact.contracts.channels import CONTRACT_VERSION, LIMITS
from gridpact.kit.node_auth import proof_of_node
from gridpact.kit.wire import decode, encode
from tests.bridge.fakes import SECRET, FakeNode, FakeOwner, result_of
from tests.bridge.test_bridge import publish, task_message, until
from tests.redis import RedisServer
from tests.running import running

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

log = logging.getLogger(__name__)

MIB = 1024 * 1024
WAITING = 100_000
DONE = 2000
LANES = ("auto", "julia")
KINDS = ("probe", "dispatch", "mpc-step")


@pytest.fixture(autouse=True)
async def empty_queue(redis_server: RedisServer) -> None:
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()


class BridgeProcess:
    """A bridge in a process of its own, watched."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.peak = 0

    @property
    def rss(self) -> int:
        return self._process.memory_info().rss

    async def watch(self) -> None:
        while True:
            self.peak = max(self.peak, self.rss)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def bridge_process(
    redis_server: RedisServer, owner: FakeOwner, node_url: str
) -> AsyncIterator[BridgeProcess]:
    async with owner.running() as address:
        settings = {
            "GRIDPACT_REDIS_URL": redis_server.url,
            "GRIDPACT_RPC_ADDRESS": str(address),
            "GRIDPACT_COMPUTE_URLS": node_url,
            "GRIDPACT_COMPUTE_SECRET": SECRET,
            "GRIDPACT_BRIDGE_SECRET": SECRET,
        }
        process = running([sys.executable, "-m", "gridpact.bridge"], settings)
        facts = await asyncio.to_thread(process.__enter__)
        bridge = BridgeProcess(int(facts["pid"]))
        watching = asyncio.create_task(bridge.watch())
        try:
            yield bridge
        finally:
            watching.cancel()
            await asyncio.to_thread(process.__exit__, None, None, None)


async def test_does_not_grow_with_what_waits(redis_server: RedisServer) -> None:
    owner, broker = FakeOwner(), RedisStreamsBroker(redis_server.url, max_attempts=5)
    await publish(broker, 1)
    async with (
        FakeNode(capacity=8, kinds=KINDS).running() as node,
        bridge_process(redis_server, owner, node.url) as bridge,
    ):
        first = await node.next_task()
        await node.say(result_of(first))
        await owner.until_ended(first.task_id)
        before = bridge.rss
        for i in range(WAITING // 1000):
            lane, kind = LANES[i % len(LANES)], KINDS[i % len(KINDS)]
            await publish(broker, 1000, lane=lane, kind=kind, body=b"\xc4\x00" + bytes(1022))
        node.answer = result_of
        # Those that were sent before nobody has answered yet.
        while not node.told.empty():
            task = node.told.get_nowait()
            assert isinstance(task, messages.TaskMessage)
            await node.say(result_of(task))
        async with asyncio.timeout(120), owner.changed:
            await owner.changed.wait_for(lambda: len(owner.tasks) >= DONE)
        grown = (bridge.peak - before) / MIB
        held = [await broker.consumer(f"compute-tasks-{lane}-{kind}").backlog()
                for lane in LANES for kind in KINDS]  # fmt: skip
        waiting = sum(state.visible_count for state in held)
    await broker.close()
    log.info("%d waiting: %.0f MiB, %.1f MiB more at the peak", waiting, before / MIB, grown)
    assert waiting > WAITING * 0.9
    assert sum(state.invisible_count or 0 for state in held) < 100
    assert grown < 24


async def test_does_not_grow_with_what_a_node_does_not_read(redis_server: RedisServer) -> None:
    """The node beats, so that it seems alive, but what is sent to it piles up."""
    capacity, body_bytes, count = 4, 4 * MIB, 60
    deaf = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        hello = decode(messages.Hello, await socket.recv(decode=False), LIMITS)
        await socket.send(
            encode(
                messages.Welcome(
                    contract_version=CONTRACT_VERSION,
                    node_id="deaf",
                    engine="julia",
                    engine_version="0.0.1",
                    kinds=["probe"],
                    capacity=capacity,
                    heartbeat_interval_ms=500,
                    proof=proof_of_node(SECRET, hello.nonce),
                )
            )
        )
        socket.transport.pause_reading()
        deaf.set()
        try:
            for sequence in range(1000):
                await socket.send(encode(messages.Heartbeat(sequence=sequence)))
                await asyncio.sleep(0.1)
        except ConnectionClosed:
            return

    owner, broker = FakeOwner(), RedisStreamsBroker(redis_server.url, max_attempts=5)
    async with serve(talk, "127.0.0.1", 0, max_size=LIMITS.message_bytes) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with bridge_process(redis_server, owner, f"ws://127.0.0.1:{port}/compute") as bridge:
            await deaf.wait()
            before = bridge.rss
            for i in range(count):
                message = task_message(f"00000000-0000-7000-8000-{i:012}", body=bytes(body_bytes))
                await broker.publish([message])
            # It is given up, and tried again, several times.
            await owner.until(lambda: sum(task.attempts for task in owner.tasks.values()) >= 12)
            assert any(task.endings for task in owner.tasks.values())
            grown = (bridge.peak - before) / MIB
            await until(broker, lambda state: state.visible_count >= count - 4 * capacity)
    await broker.close()
    log.info("%d MiB sent: %.1f MiB more at the peak", count * body_bytes // MIB, grown)
    # As many bodies as workers, each as the queue gave it, as it is sent and as it is written.
    assert grown < 3 * capacity * body_bytes / MIB + 32
