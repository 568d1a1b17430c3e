"""The front process of a node: it talks to bridges and never computes.

Each `task` becomes an attempt that waits for a worker and holds it until its `result` or `error` is
sent. Messages of the worker are passed on as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from uuid import uuid4

from msgspec import UNSET
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from gridpact.compute.serve.auth import Doorkeeper
from gridpact.compute.serve.frames import Tag
from gridpact.compute.serve.pool import Pool, WorkerLostError
from gridpact.compute.solve.deadline import out_of_time
from gridpact.contracts.channels import (
    COMPUTE_ADDRESS,
    CONTRACT_VERSION,
    HEARTBEAT_INTERVAL_MS,
    KINDS,
    LIMITS,
    SEND_TO_NODE,
)
from gridpact.contracts.errors import REASONS, Reason
from gridpact.contracts.messages import (
    Accepted,
    Cancel,
    Error,
    Heartbeat,
    Hello,
    TaskMessage,
    Welcome,
)
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import Log
from gridpact.kit.node_auth import proof_of_node
from gridpact.kit.settings import Address
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import decode_one_of, encode

log = Log(__name__)

HEARTBEAT_SECONDS = HEARTBEAT_INTERVAL_MS / 1000
SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS
NEWS_SECONDS = 0.02
HELLO_SECONDS = 10.0
POLICY_VIOLATION = 1008
ACCEPTED_SECONDS = 0.01

AttemptKey = tuple[str, int]
"""Task id and fencing token."""


CANCEL_ASKED = "the bridge asked for it"


@asynccontextmanager
async def serving(
    address: Address, secret: str, workers: int, worker_memory_mib: int
) -> AsyncGenerator[Mapping[str, object]]:
    """A node that serves while the context is open; yields facts for the log."""
    node_id = f"compute-python-{uuid4().hex[:12]}"
    doorkeeper = Doorkeeper(secret)
    pool = Pool(workers, worker_memory_mib)
    conversations: set[Conversation] = set()

    async def converse(socket: ServerConnection) -> None:
        await Conversation(socket, pool, node_id, secret, conversations).run()

    def let_in(socket: ServerConnection, request: Request) -> Response | None:
        return _refusal(doorkeeper, socket, request)

    try:
        await pool.run()
        async with serve(
            converse,
            address.host,
            address.port,
            process_request=let_in,
            compression=None,  # bodies are compressed where it pays
            max_size=LIMITS.message_bytes,
            max_queue=(4, 1),
            ping_interval=None,  # heartbeats are messages of the contract
            open_timeout=HELLO_SECONDS,
            close_timeout=1.0,
            server_header=None,
        ) as server:
            yield {
                "address": _address_of(server),
                "workers": workers,
                "worker_memory_mib": worker_memory_mib,
                "node_id": node_id,
            }
    finally:
        await pool.close()


def _refusal(doorkeeper: Doorkeeper, socket: ServerConnection, request: Request) -> Response | None:
    """The HTTP answer to whoever may not come in; None lets the handshake go on."""
    if len(request.headers.get_all("Host")) != 1:
        return socket.respond(HTTPStatus.BAD_REQUEST, "no single Host\n")
    if request.headers.get("Origin") is not None:
        return socket.respond(HTTPStatus.FORBIDDEN, "browsers have no business here\n")
    if request.path != COMPUTE_ADDRESS:
        return socket.respond(HTTPStatus.NOT_FOUND, f"the address is {COMPUTE_ADDRESS}\n")
    authorizations = request.headers.get_all("Authorization")
    if len(authorizations) != 1 or not doorkeeper.admits(authorizations[0]):
        response = socket.respond(HTTPStatus.UNAUTHORIZED, "no valid token\n")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    return None


def _address_of(server: Server) -> str:
    host, port = next(iter(server.sockets)).getsockname()[:2]
    return str(Address(host, port))


class Conversation:
    """One connection of a bridge, from `hello` to the end.

    ``conversations`` are those of the node: each hears how many workers the others use.
    """

    def __init__(
        self,
        socket: ServerConnection,
        pool: Pool,
        node_id: str,
        secret: str,
        conversations: set[Conversation],
    ) -> None:
        self._socket = socket
        self._pool = pool
        self._node_id = node_id
        self._secret = secret
        self._attempts: dict[AttemptKey, asyncio.Task[None]] = {}
        self._conversations = conversations
        self._others_changed = asyncio.Event()
        self._sequence = 0

    async def run(self) -> None:
        """Returns when the connection is closed; the workers of its attempts are killed then."""
        try:
            await self._welcome()
            self._conversations.add(self)
            # What others were doing before is news.
            self._others_changed.set()
            async with asyncio.TaskGroup() as group:
                beats = (group.create_task(self._beat()), group.create_task(self._tell_of_others()))
                await self._listen(group)
                for beat in beats:
                    beat.cancel()
                for attempt in self._attempts.values():
                    attempt.cancel()
        except* ConnectionClosed:
            log.info("bridge-gone", code=self._socket.close_code)
        except* GridpactError as errors:
            await self._give_up(errors.exceptions[0])
        finally:
            self._conversations.discard(self)
            self._news_for_others()

    async def _welcome(self) -> None:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                hello, _ = await self._receive()
        except TimeoutError:
            raise GridpactError(Reason.PROTOCOL_VIOLATION, "no hello in time") from None
        if not isinstance(hello, Hello):
            raise GridpactError(Reason.PROTOCOL_VIOLATION, "the first message must be hello")
        await self._socket.send(
            encode(
                Welcome(
                    contract_version=CONTRACT_VERSION,
                    node_id=self._node_id,
                    engine="python",
                    engine_version=version("gridpact"),
                    kinds=list(KINDS),
                    capacity=self._pool.capacity,
                    queue=self._pool.queue,
                    heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
                    proof=proof_of_node(self._secret, hello.nonce),
                )
            )
        )
        log.info("bridge-welcome", bridge_id=hello.bridge_id)

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    message, data = await self._receive()
            except TimeoutError:
                log.warning("bridge-silent")
                await self._socket.close(POLICY_VIOLATION, "silent")
                return
            match message:
                case TaskMessage():
                    self._begin(group, message, data)
                    # A task that is cancelled before its first step would never answer.
                    await asyncio.sleep(0)
                case Cancel():
                    self._cancel(message)
                case Heartbeat():
                    pass
                case Hello():
                    raise GridpactError(Reason.PROTOCOL_VIOLATION, "hello comes once")

    async def _receive(self) -> tuple[Hello | TaskMessage | Cancel | Heartbeat, bytes]:
        data = await self._socket.recv()
        if isinstance(data, str):
            raise GridpactError(Reason.PROTOCOL_VIOLATION, "messages are binary")
        try:
            return decode_one_of(SEND_TO_NODE, data, LIMITS), data
        except ContractError as error:
            raise GridpactError.of(error) from error

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._beat_once()

    async def _beat_once(self) -> None:
        busy = sum(len(it._attempts) for it in self._conversations)
        heartbeat = Heartbeat(
            sequence=self._sequence,
            busy=min(busy, self._pool.capacity),
            others=self._others_count,
        )
        self._sequence += 1
        await self._socket.send(encode(heartbeat))

    async def _tell_of_others(self) -> None:
        """Beats whenever other bridges use more or fewer workers; not for every single change."""
        told_count = 0
        while True:
            await self._others_changed.wait()
            self._others_changed.clear()
            if self._others_count != told_count:
                told_count = self._others_count
                await self._beat_once()
            await asyncio.sleep(NEWS_SECONDS)

    @property
    def _others_count(self) -> int:
        count = sum(len(it._attempts) for it in self._conversations if it is not self)
        # The rest of them waits for a worker.
        return min(count, self._pool.capacity)

    def _news_for_others(self) -> None:
        for conversation in self._conversations:
            if conversation is not self:
                conversation._others_changed.set()

    def _begin(self, group: asyncio.TaskGroup, task: TaskMessage, data: bytes) -> None:
        key = (task.task_id, task.fencing_token)
        if key in self._attempts:
            log.warning("attempt-twice", task_id=task.task_id, fencing_token=task.fencing_token)
            return
        self._attempts[key] = group.create_task(self._attempt(group, key, task, data))
        self._news_for_others()

    def _cancel(self, wanted: Cancel) -> None:
        attempt = self._attempts.get((wanted.task_id, wanted.fencing_token))
        if attempt is not None:
            attempt.cancel(CANCEL_ASKED)

    async def _attempt(
        self, group: asyncio.TaskGroup, key: AttemptKey, task: TaskMessage, data: bytes
    ) -> None:
        """Runs a task on a worker and sends its last message, exactly one."""
        last: bytes | None = None
        try:
            async with asyncio.timeout(task.remaining_ms / 1000):
                last = await self._compute(group, task, data)
        except TimeoutError:
            left_s = task.remaining_ms / 1000
            error = GridpactError(Reason.TASK_TIMEOUT, out_of_time(left_s), timeout_s=left_s)
            last = self._error(task, error)
        except WorkerLostError:
            log.warning("worker-lost", task_id=task.task_id)
            last = self._error(task, GridpactError(Reason.WORKER_LOST, "the worker died"))
        except GridpactError as error:
            last = self._error(task, error)
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (CANCEL_ASKED,):
                raise
            last = self._error(task, GridpactError(Reason.CANCELLED, "cancelled"))
        finally:
            # From here on a cancel finds nothing: the answer is decided.
            del self._attempts[key]
            self._news_for_others()
        await self._socket.send(last)

    async def _compute(self, group: asyncio.TaskGroup, task: TaskMessage, data: bytes) -> bytes:
        if task.kind not in KINDS:
            # Before anything else: trying again, as NODE_BUSY would ask for, does not help.
            words = f"this node does not know the kind {task.kind}"
            raise GridpactError(Reason.KIND_UNKNOWN, words, kind=task.kind)
        key = None if task.affinity_key is UNSET else task.affinity_key
        async with self._pool.worker(key) as worker:
            # That the answer will come need not be said of one that comes at once.
            accepting = asyncio.get_running_loop().call_later(
                ACCEPTED_SECONDS, self._accept, group, task
            )
            try:
                await worker.send(data)
                while True:
                    tag, message = await worker.receive()
                    if tag is Tag.LAST:
                        return message
                    await self._socket.send(message)
            finally:
                accepting.cancel()

    def _accept(self, group: asyncio.TaskGroup, task: TaskMessage) -> None:
        accepted = Accepted(task_id=task.task_id, fencing_token=task.fencing_token)
        group.create_task(self._socket.send(encode(accepted)))

    def _error(self, task: TaskMessage, error: GridpactError) -> bytes:
        return encode(
            Error(
                task_id=task.task_id,
                fencing_token=task.fencing_token,
                reason=error.reason,
                message=error.message,
                retryable=REASONS[error.reason].retryable,
            )
        )

    async def _give_up(self, error: BaseException) -> None:
        """Says what is wrong with the connection and closes it."""
        assert isinstance(error, GridpactError)
        log.warning("bridge-refused", reason=error.reason, message=error.message)
        message = Error(
            reason=error.reason,
            message=error.message,
            retryable=False,
            violations=list(error.violations[:100]),
        )
        try:
            await self._socket.send(encode(message))
            await self._socket.close(POLICY_VIOLATION, error.reason)
        except ConnectionClosed:
            log.info("bridge-gone", code=self._socket.close_code)
