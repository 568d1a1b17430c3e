"""The bridge's end of the WebSocket to a compute node (channel compute of asyncapi.yaml)."""

from __future__ import annotations

import asyncio
import hmac
import random
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import UNSET, UnsetType
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from gridpact.bridge.domain import (
    NODE_BUSY,
    Failed,
    HandedBack,
    Header,
    Lease,
    Opened,
    Outcome,
    Progress,
    Succeeded,
)
from gridpact.bridge.ports import NodeHost
from gridpact.contracts import messages
from gridpact.contracts.channels import (
    CONTRACT_VERSION,
    HEARTBEAT_INTERVAL_MS,
    LIMITS,
    RECEIVE_FROM_NODE,
)
from gridpact.kit.log import Log
from gridpact.kit.node_auth import bearer_of_bridge, proof_of_node
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import Message, decode, decode_one_of, encode

log = Log(__name__)

_OPEN_S = 5.0
_HEARTBEAT_S = HEARTBEAT_INTERVAL_MS / 1000
# Three silent intervals mean that the other side is gone.
_SILENCES = 3
_FIRST_RETRY_S = 0.05
# Short enough that a node is used at once when it has come back.
_LONGEST_RETRY_S = 1.0
_TRIES_TOLD = 40


class NodeLost(Exception):
    """The node is gone, silent, or does not read what it is sent."""


class NodeUnfit(Exception):
    """The other side is no node of ours, or does not keep to the contract."""


class NodeConnection:
    """A WorkingNode at the other end of a WebSocket.

    What waits to be written is at most what the node has room for: a task and a cancel for each.
    A node that does not read is dropped.
    """

    def __init__(self, socket: ClientConnection, welcome: messages.Welcome) -> None:
        self._socket = socket
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self.node_id = welcome.node_id
        self.engine: str = welcome.engine
        self.engine_version = welcome.engine_version
        self.kinds: Sequence[str] = tuple(welcome.kinds)
        self.capacity = welcome.capacity
        self.queue = welcome.queue
        self.silence_s = _SILENCES * welcome.heartbeat_interval_ms / 1000

    def send_task(self, opened: Opened, header: Header, body: bytes) -> None:
        """See WorkingNode."""
        self._send(
            messages.TaskMessage(
                task_id=opened.lease.task_id,
                kind=header.kind,
                attempt=opened.attempt,
                fencing_token=opened.lease.fencing_token,
                remaining_ms=max(1, opened.remaining_ms),
                encoding=header.encoding,  # pyright: ignore[reportArgumentType]  # checked on reading
                body=body,
                affinity_key=UNSET if header.affinity_key is None else header.affinity_key,
                traceparent=UNSET if header.traceparent is None else header.traceparent,
            )
        )

    def send_cancel(self, lease: Lease) -> None:
        """See WorkingNode."""
        self._send(messages.Cancel(task_id=lease.task_id, fencing_token=lease.fencing_token))

    def drop(self, why: str) -> None:
        """See WorkingNode."""
        log.warning("node-dropped", node_id=self.node_id, why=why)
        self._socket.transport.abort()

    def _send(self, message: Message) -> None:
        data = encode(message)
        if len(data) > LIMITS.message_bytes:
            words = f"the message has {len(data)} bytes, at most {LIMITS.message_bytes} can be sent"
            raise ContractError("MESSAGE_TOO_LARGE", words)
        self._outgoing.put_nowait(data)

    async def write(self) -> None:
        """Writes what is sent, until the connection is gone or the node does not read."""
        while True:
            data = await self._outgoing.get()
            try:
                async with asyncio.timeout(self.silence_s):
                    await self._socket.send(data)
            except TimeoutError:
                log.warning("node-not-reading", node_id=self.node_id, silence_s=self.silence_s)
                self._socket.transport.abort()
                return
            except ConnectionClosed:
                return

    async def beat(self) -> None:
        """Says every interval that the bridge is here."""
        sequence = 0
        while True:
            self._send(messages.Heartbeat(sequence=sequence))
            sequence += 1
            await asyncio.sleep(_HEARTBEAT_S)

    async def incoming(self) -> AsyncIterator[Message]:
        """What the node says, until the connection is closed or falls silent."""
        while True:
            try:
                async with asyncio.timeout(self.silence_s):
                    data = await self._socket.recv(decode=False)
            except TimeoutError as error:
                self._socket.transport.abort()
                raise NodeLost(f"silent for {self.silence_s:g} s") from error
            except ConnectionClosed as error:
                raise NodeLost(f"closed: {error}") from error
            yield decode_one_of(RECEIVE_FROM_NODE, data, LIMITS)


class NodeLink:
    """Keeps a connection to the node at ``url``, and tells ``host`` what the node does."""

    def __init__(self, url: str, secret: str, bridge_id: str, host: NodeHost) -> None:
        self._url = url
        self._secret = secret
        self._bridge_id = bridge_id
        self._host = host

    async def run(self) -> None:
        """Connects, and again with backoff and jitter whenever the connection is lost."""
        failed_count = 0
        while True:
            began = time.monotonic()
            try:
                async with self._connected() as node:
                    await self._serve(node)
            except (
                NodeLost,
                NodeUnfit,
                ContractError,
                InvalidHandshake,
                OSError,
                TimeoutError,
                ConnectionClosed,
            ) as error:
                # A node that breaks off soon after it joined would else use up attempts in no time.
                if time.monotonic() - began > _LONGEST_RETRY_S:
                    failed_count = 0
                retry_s = min(_FIRST_RETRY_S * 2 ** min(failed_count, 16), _LONGEST_RETRY_S)
                cause = f"{type(error).__name__}: {error}"
                # No waiting mends a node that breaks its contract: its operator has to know.
                if isinstance(error, (NodeUnfit, ContractError)):
                    log.warning("node-unfit", url=self._url, cause=cause)
                # A node may still be starting; one that stays away is told now and then.
                elif failed_count % _TRIES_TOLD == _TRIES_TOLD - 1:
                    log.warning("node-unreachable", url=self._url, cause=cause)
                failed_count += 1
                await asyncio.sleep(retry_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[NodeConnection]:
        bearer = bearer_of_bridge(self._secret, int(time.time()), secrets.token_hex(16))
        async with connect(
            self._url,
            additional_headers={"Authorization": bearer},
            compression=None,
            max_size=LIMITS.message_bytes,
            # What is read ahead of us; it may be large, and we are seldom behind.
            max_queue=4,
            # The contract has heartbeats of its own, which also tell that the front process lives.
            ping_interval=None,
            open_timeout=_OPEN_S,
            close_timeout=1.0,
            proxy=None,
        ) as socket:
            yield NodeConnection(socket, await self._welcomed(socket))

    async def _welcomed(self, socket: ClientConnection) -> messages.Welcome:
        nonce = secrets.token_hex(16)
        hello = messages.Hello(
            contract_version=CONTRACT_VERSION, bridge_id=self._bridge_id, nonce=nonce
        )
        await socket.send(encode(hello))
        async with asyncio.timeout(_OPEN_S):
            welcome = decode(messages.Welcome, await socket.recv(decode=False), LIMITS)
        if not hmac.compare_digest(welcome.proof, proof_of_node(self._secret, nonce)):
            raise NodeUnfit("the node does not know the secret")
        return welcome

    async def _serve(self, node: NodeConnection) -> None:
        self._host.joined(node)
        log.info(
            "node-joined",
            url=self._url,
            node_id=node.node_id,
            engine=node.engine,
            capacity=node.capacity,
        )
        talking = [asyncio.create_task(node.write()), asyncio.create_task(node.beat())]
        try:
            async for message in node.incoming():
                self._hear(node, message)
        except NodeLost as lost:
            log.warning("node-left", url=self._url, node_id=node.node_id, cause=str(lost))
            raise
        finally:
            self._host.left(node)
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)

    def _hear(self, node: NodeConnection, message: Message) -> None:
        match message:
            case messages.Accepted():
                self._host.accepted(Lease(message.task_id, message.fencing_token))
            case messages.Progress():
                progress = Progress(
                    fraction=message.fraction,
                    stage=message.stage,
                    objective=_or_none(message.objective),
                    bound=_or_none(message.bound),
                    relative_gap=_or_none(message.relative_gap),
                )
                self._host.progressed(Lease(message.task_id, message.fencing_token), progress)
            case messages.Result() | messages.Error():
                ended = outcome_of(message)
                if ended is None:
                    raise NodeUnfit(f"the node says: {message}")
                self._host.ended(*ended)
            case messages.Heartbeat():
                self._host.shared(node, message.others)
            case messages.Welcome():
                raise NodeUnfit("a second welcome")
            case _:
                raise AssertionError("the contract has no other message of a node")


def outcome_of(message: messages.Result | messages.Error) -> tuple[Lease, Outcome] | None:
    """What an answer means for its attempt; None for an error about the connection."""
    if isinstance(message, messages.Result):
        return (
            Lease(message.task_id, message.fencing_token),
            Succeeded(message.encoding, message.body, message.solve_ms),
        )
    if isinstance(message.task_id, UnsetType) or isinstance(message.fencing_token, UnsetType):
        return None
    lease = Lease(message.task_id, message.fencing_token)
    if message.retryable:
        # That the node has no room is not the task's fault.
        excused = message.reason == NODE_BUSY
        return lease, HandedBack(message.reason, message.message, excused)
    return lease, Failed(message.reason, message.message, tuple(message.violations))


def _or_none(value: float | UnsetType) -> float | None:
    return None if isinstance(value, UnsetType) else value
