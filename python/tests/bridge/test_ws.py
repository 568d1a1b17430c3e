"""The bridge's end of the WebSocket, against a node that the test plays badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gridpact.bridge import ws
from gridpact.bridge.domain import Header, Lease, Opened, Outcome, Progress, Succeeded
from gridpact.bridge.ports import WorkingNode
from gridpact.bridge.ws import NodeLink
from gridpact.contracts import messages
from gridpact.contracts.channels import CONTRACT_VERSION, LIMITS, SEND_TO_NODE
from gridpact.kit.node_auth import proof_of_node
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import Message, decode, decode_one_of, encode

SECRET = "only-for-tests"
SOON_S = 10.0
TASK_ID = "01981f6e-7c00-7000-8000-000000000004"
LEASE = Lease(TASK_ID, 7)
HEADER = Header(TASK_ID, "probe", "identity", None, affinity_key="site-1")
OPENED = Opened(LEASE, attempt=1, remaining_ms=60_000, cancel_requested=False)
RESULT = messages.Result(
    task_id=TASK_ID, fencing_token=7, encoding="identity", solve_ms=1.0, body=b"\x80"
)

Item = TypeVar("Item")

Behaviour = Callable[[ServerConnection], Awaitable[None]]


@dataclass
class Host:
    """A NodeHost that remembers what it was told."""

    joined_nodes: asyncio.Queue[WorkingNode] = field(default_factory=asyncio.Queue[WorkingNode])
    left_nodes: asyncio.Queue[WorkingNode] = field(default_factory=asyncio.Queue[WorkingNode])
    outcomes: asyncio.Queue[tuple[Lease, Outcome]] = field(
        default_factory=asyncio.Queue[tuple[Lease, Outcome]]
    )
    reports: list[tuple[Lease, Progress]] = field(default_factory=list[tuple[Lease, Progress]])

    def joined(self, node: WorkingNode) -> None:
        self.joined_nodes.put_nowait(node)

    def left(self, node: WorkingNode) -> None:
        self.left_nodes.put_nowait(node)

    def shared(self, node: WorkingNode, others_count: int) -> None:
        pass

    def accepted(self, lease: Lease) -> None:
        pass

    def progressed(self, lease: Lease, progress: Progress) -> None:
        self.reports.append((lease, progress))

    def ended(self, lease: Lease, outcome: Outcome) -> None:
        self.outcomes.put_nowait((lease, outcome))


@pytest.fixture
def host() -> Host:
    return Host()


@asynccontextmanager
async def linked(host: Host, behaviour: Behaviour) -> AsyncIterator[asyncio.Semaphore]:
    """A link to a node of this behaviour; the semaphore counts the connections to it."""
    visits = asyncio.Semaphore(0)

    async def serve_bridge(socket: ServerConnection) -> None:
        visits.release()
        await behaviour(socket)

    async with serve(serve_bridge, "127.0.0.1", 0, ping_interval=None, close_timeout=0.1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        link = NodeLink(f"ws://127.0.0.1:{port}/compute", SECRET, "bridge-1", host)
        running = asyncio.create_task(link.run())
        try:
            yield visits
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def soon(queue: asyncio.Queue[Item]) -> Item:
    return await asyncio.wait_for(queue.get(), SOON_S)


async def welcome(
    socket: ServerConnection, *, secret: str = SECRET, heartbeat_interval_ms: int = 5000
) -> None:
    hello = decode(messages.Hello, await socket.recv(decode=False), LIMITS)
    answer = messages.Welcome(
        contract_version=CONTRACT_VERSION,
        node_id="node-1",
        engine="julia",
        engine_version="0.0.1",
        kinds=["probe"],
        capacity=2,
        heartbeat_interval_ms=heartbeat_interval_ms,
        proof=proof_of_node(secret, hello.nonce),
    )
    await socket.send(encode(answer))


async def listen(socket: ServerConnection) -> Message:
    """The next message that is no heartbeat."""
    while True:
        message = decode_one_of(SEND_TO_NODE, await socket.recv(decode=False), LIMITS)
        if not isinstance(message, messages.Heartbeat):
            return message


class TestMeeting:
    async def test_passes_tasks_there_and_outcomes_back(self, host: Host) -> None:
        async def compute(socket: ServerConnection) -> None:
            await welcome(socket)
            task = await listen(socket)
            assert isinstance(task, messages.TaskMessage)
            assert (task.body, task.remaining_ms) == (b"\x81\xa1x\x01", 60_000)
            assert task.affinity_key == "site-1"
            cancel = await listen(socket)
            assert isinstance(cancel, messages.Cancel)
            await socket.send(
                encode(
                    messages.Progress(
                        task_id=TASK_ID,
                        fencing_token=7,
                        fraction=0.5,
                        stage="solve",
                        objective=12.5,
                        bound=12.25,
                        relative_gap=0.02,
                    )
                )
            )
            await socket.send(encode(RESULT))
            await socket.wait_closed()

        async with linked(host, compute):
            node = await soon(host.joined_nodes)
            assert (node.node_id, node.engine, node.capacity) == ("node-1", "julia", 2)
            node.send_task(OPENED, HEADER, b"\x81\xa1x\x01")
            node.send_cancel(LEASE)
            assert await soon(host.outcomes) == (LEASE, Succeeded("identity", b"\x80", 1.0))
            assert host.reports == [(LEASE, Progress(0.5, "solve", 12.5, 12.25, 0.02))]

    @pytest.mark.parametrize("secret", ["another", ""])
    async def test_ends_when_the_node_does_not_know_the_secret(
        self, host: Host, secret: str
    ) -> None:
        async with linked(host, lambda socket: welcome(socket, secret=secret)) as visits:
            await visits_of(visits, 3)
        assert host.joined_nodes.empty()

    async def test_with_a_node_that_is_unfit_is_told_each_time(
        self, host: Host, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with linked(host, lambda socket: welcome(socket, secret="another")) as visits:
            await visits_of(visits, 3)
        # The link comes again only after it has told why it left.
        causes = causes_of(caplog)
        assert len(causes) >= 2
        assert set(causes) == {"NodeUnfit: the node does not know the secret"}

    async def test_ends_when_the_first_message_is_no_welcome(self, host: Host) -> None:
        async def impatient(socket: ServerConnection) -> None:
            await socket.send(encode(RESULT))
            await socket.wait_closed()

        async with linked(host, impatient) as visits:
            await visits_of(visits, 3)
        assert host.joined_nodes.empty()

    async def test_is_tried_again_until_the_node_answers(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ws, "_OPEN_S", 0.1)
        tries = 0

        async def late(socket: ServerConnection) -> None:
            nonlocal tries
            tries += 1
            if tries > 2:
                await welcome(socket)
            await socket.wait_closed()

        async with linked(host, late):
            await soon(host.joined_nodes)
        assert tries == 3


class TestLoss:
    async def test_of_a_node_is_told_once_and_it_joins_again(self, host: Host) -> None:
        async def forgetful(socket: ServerConnection) -> None:
            await welcome(socket)
            socket.transport.abort()

        async with linked(host, forgetful):
            for _ in range(3):
                node = await soon(host.joined_nodes)
                assert await soon(host.left_nodes) is node

    async def test_is_noticed_by_silence(self, host: Host) -> None:
        async def silent(socket: ServerConnection) -> None:
            await welcome(socket, heartbeat_interval_ms=100)
            await socket.wait_closed()

        async with linked(host, silent):
            assert await soon(host.joined_nodes) is await soon(host.left_nodes)

    async def test_is_not_assumed_while_heartbeats_come(self, host: Host) -> None:
        async def calm(socket: ServerConnection) -> None:
            await welcome(socket, heartbeat_interval_ms=100)
            for sequence in range(10):
                await socket.send(encode(messages.Heartbeat(sequence=sequence)))
                await asyncio.sleep(0.1)  # what heartbeats are
            await socket.send(encode(RESULT))
            await socket.wait_closed()

        async with linked(host, calm):
            await soon(host.joined_nodes)
            assert await soon(host.outcomes) == (LEASE, Succeeded("identity", b"\x80", 1.0))
            assert host.left_nodes.empty()

    async def test_is_what_a_node_gets_that_does_not_read(self, host: Host) -> None:
        async def deaf(socket: ServerConnection) -> None:
            await welcome(socket, heartbeat_interval_ms=100)
            socket.transport.pause_reading()
            try:
                while True:
                    await socket.send(encode(messages.Heartbeat(sequence=0)))
                    await asyncio.sleep(0.1)  # what heartbeats are
            except ConnectionClosed:
                return

        async with linked(host, deaf):
            node = await soon(host.joined_nodes)
            # More than the buffers of two sockets hold.
            for _ in range(2):
                node.send_task(OPENED, HEADER, bytes(15 * 1024 * 1024))
            assert await soon(host.left_nodes) is node
            # What is sent to whom nobody hears any more is dropped in silence.
            node.send_cancel(LEASE)

    @pytest.mark.parametrize(
        "said",
        [
            b"",
            b"no MsgPack",
            b"\x81\xa4type\xa6sneeze",
            b"\x81\xa4type\xa8progress",
            encode(messages.Error(reason="INTERNAL", message="hic", retryable=False)),
        ],
        ids=["nothing", "garbage", "unknown", "incomplete", "its own error"],
    )
    async def test_is_what_a_node_gets_that_breaks_the_contract_and_it_is_told(
        self, host: Host, said: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def rude(socket: ServerConnection) -> None:
            await welcome(socket)
            await socket.send(said)
            await socket.wait_closed()

        async with linked(host, rude) as visits:
            assert await soon(host.joined_nodes) is await soon(host.left_nodes)
            await visits_of(visits, 2)
        assert host.outcomes.empty()
        assert causes_of(caplog)[0].startswith(("ContractError: ", "NodeUnfit: the node says: "))

    async def test_is_what_a_node_gets_that_sends_too_much_at_once(self, host: Host) -> None:
        async def verbose(socket: ServerConnection) -> None:
            await welcome(socket)
            await socket.send(b"\x80" * (LIMITS.message_bytes + 1))
            await socket.wait_closed()

        async with linked(host, verbose) as visits:
            assert await soon(host.joined_nodes) is await soon(host.left_nodes)
            await visits_of(visits, 2)
        assert host.outcomes.empty()


class TestTooLarge:
    async def test_task_is_refused_and_the_connection_stays(self, host: Host) -> None:
        async def compute(socket: ServerConnection) -> None:
            await welcome(socket)
            assert isinstance(await listen(socket), messages.Cancel)
            await socket.send(encode(RESULT))
            await socket.wait_closed()

        async with linked(host, compute):
            node = await soon(host.joined_nodes)
            with pytest.raises(ContractError, match="16777216"):
                node.send_task(OPENED, HEADER, bytes(LIMITS.message_bytes))
            node.send_cancel(LEASE)
            await soon(host.outcomes)
            assert host.left_nodes.empty()


async def visits_of(visits: asyncio.Semaphore, count: int) -> None:
    async with asyncio.timeout(SOON_S):
        for _ in range(count):
            await visits.acquire()


def causes_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the link has told of nodes that do not keep to the contract."""
    unfit = [record for record in caplog.records if record.getMessage() == "node-unfit"]
    return [record.__dict__["gridpact_fields"]["cause"] for record in unfit]
