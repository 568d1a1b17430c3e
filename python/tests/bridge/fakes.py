"""The bridge's neighbours, played by the test: a compute node and the owner of tasks."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gridpact.contracts import messages
from gridpact.contracts.channels import CONTRACT_VERSION, LIMITS, SEND_TO_NODE
from gridpact.contracts.errors import Reason
from gridpact.contracts.proto.gridpact.identity.v1 import (
    IdentityServiceBase,
    IssueServiceTokenRequest,
    IssueServiceTokenResponse,
)
from gridpact.contracts.proto.gridpact.tasks import v1
from gridpact.kit.errors import GridpactError
from gridpact.kit.node_auth import proof_of_node
from gridpact.kit.rpc.status import StatusDetails, to_grpc
from gridpact.kit.settings import Address
from gridpact.kit.wire import Message, decode, decode_one_of, encode

SECRET = "only-for-tests"
SOON_S = 15.0
PART_BYTES = 1024 * 1024


class FakeNode:
    """A compute node on a real WebSocket; the test reads what it is told and says what it answers.

    `told` holds tasks and cancels in the order of arrival.
    """

    def __init__(
        self,
        engine: messages.Engine = "julia",
        capacity: int = 2,
        kinds: Sequence[str] = ("probe",),
        secret: str = SECRET,
        queue: int = 0,
    ) -> None:
        self._queue = queue
        self._engine: messages.Engine = engine
        self._capacity = capacity
        self._kinds = list(kinds)
        self._secret = secret
        self._socket: ServerConnection | None = None
        self.told: asyncio.Queue[messages.TaskMessage | messages.Cancel] = asyncio.Queue()
        self.met: asyncio.Semaphore = asyncio.Semaphore(0)
        """Released by every bridge that says hello."""
        self.at_work = 0
        self.most_at_work = 0
        self.answer: Callable[[messages.TaskMessage], Message] | None = None
        """Answers every task at once, where the test sets it."""
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeNode]:
        async with serve(
            self._talk, "127.0.0.1", 0, max_size=LIMITS.message_bytes, ping_interval=None
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"ws://127.0.0.1:{port}/compute"
            yield self

    async def next_task(self) -> messages.TaskMessage:
        told = await asyncio.wait_for(self.told.get(), SOON_S)
        assert isinstance(told, messages.TaskMessage)
        return told

    async def next_cancel(self) -> messages.Cancel:
        told = await asyncio.wait_for(self.told.get(), SOON_S)
        assert isinstance(told, messages.Cancel)
        return told

    async def say(self, message: Message) -> None:
        assert self._socket is not None
        if isinstance(message, messages.Result | messages.Error):
            self.at_work -= 1
        await self._socket.send(encode(message))

    async def die(self) -> None:
        """As a process that is killed: the connection is reset."""
        assert self._socket is not None
        self.at_work = 0
        self._socket.transport.abort()
        await self._socket.wait_closed()

    async def _talk(self, socket: ServerConnection) -> None:
        hello = decode(messages.Hello, await socket.recv(decode=False), LIMITS)
        self.met.release()
        self._socket = socket
        await socket.send(
            encode(
                messages.Welcome(
                    contract_version=CONTRACT_VERSION,
                    node_id=f"node-{self._engine}",
                    engine=self._engine,
                    engine_version="0.0.1",
                    kinds=self._kinds,
                    capacity=self._capacity,
                    queue=self._queue,
                    heartbeat_interval_ms=5000,
                    proof=proof_of_node(self._secret, hello.nonce),
                )
            )
        )
        try:
            async for data in socket:
                assert isinstance(data, bytes)
                await self._listen(decode_one_of(SEND_TO_NODE, data, LIMITS))
        except ConnectionClosed:
            return

    async def _listen(self, message: Message) -> None:
        match message:
            case messages.TaskMessage():
                self.at_work += 1
                self.most_at_work = max(self.most_at_work, self.at_work)
                if self.answer is not None:
                    await self.say(self.answer(message))
                else:
                    self.told.put_nowait(message)
            case messages.Cancel():
                self.told.put_nowait(message)
            case _:
                pass


def accepted(task: messages.TaskMessage) -> messages.Accepted:
    return messages.Accepted(task_id=task.task_id, fencing_token=task.fencing_token)


def result_of(task: messages.TaskMessage, body: bytes = b"\x80") -> messages.Result:
    return messages.Result(
        task_id=task.task_id,
        fencing_token=task.fencing_token,
        encoding="identity",
        solve_ms=1.5,
        body=body,
    )


def error_of(task: messages.TaskMessage, reason: str, *, retryable: bool) -> messages.Error:
    return messages.Error(
        task_id=task.task_id,
        fencing_token=task.fencing_token,
        reason=reason,
        message="for the test",
        retryable=retryable,
    )


@dataclass
class FakeTask:
    attempts: int = 0
    state: str = "QUEUED"
    cancel_requested: bool = False
    endings: list[v1.CompleteAttempt] = field(default_factory=list[v1.CompleteAttempt])


class FakeOwner(v1.DeliveryServiceBase, IdentityServiceBase):
    """The owner of tasks on a real gRPC socket, reduced to what the bridge sees of it.

    Unknown tasks are QUEUED. The test sets `refuse_opening[task_id]` (with
    `retry_after_ms`), `dead_letter_errors[task_id]`
    (a refusal says it, and the next attempt that is handed back is the last), `unavailable_count`
    (so many calls fail), `payloads` for claims, `now` (without it nothing begins early), and holds
    back commits by clearing `may_commit`.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, FakeTask] = {}
        self.refuse_opening: dict[str, str] = {}
        self.retry_after_ms = 200
        self.dead_letter_errors: dict[str, str] = {}
        self.unavailable_count = 0
        self.remaining_ms = 60_000
        self.now: datetime | None = None
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.commit_waits = asyncio.Event()
        self.payloads: dict[str, bytes] = {}
        self.fetched_bytes = 0
        self.may_fetch = asyncio.Event()
        self.may_fetch.set()
        self.calls: Counter[str] = Counter()
        self.changed = asyncio.Condition()
        self.progress: list[v1.ProgressReport] = []

    def __mapping__(self) -> dict[str, Handler]:
        return {
            **v1.DeliveryServiceBase.__mapping__(self),
            **IdentityServiceBase.__mapping__(self),
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Address]:
        server = Server([self], status_details_codec=StatusDetails())
        with socket.create_server(("127.0.0.1", 0)) as listening:
            address = Address("127.0.0.1", listening.getsockname()[1])
            await server.start(sock=listening.dup())
        try:
            yield address
        finally:
            server.close()
            await server.wait_closed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds, looked at after every call."""
        async with asyncio.timeout(SOON_S), self.changed:
            await self.changed.wait_for(condition)

    async def until_ended(self, *task_ids: str) -> None:
        ends = ("SUCCEEDED", "FAILED", "CANCELLED")
        await self.until(lambda: all(self.task(each).state in ends for each in task_ids))

    def task(self, task_id: str) -> FakeTask:
        return self.tasks.setdefault(task_id, FakeTask())

    async def issue_service_token(
        self, message: IssueServiceTokenRequest
    ) -> IssueServiceTokenResponse:
        assert (message.service, message.secret) == ("bridge", SECRET)
        return IssueServiceTokenResponse(access_token="token", expires_in_s=600)

    async def open_attempts(self, message: v1.OpenAttemptsRequest) -> v1.OpenAttemptsResponse:
        await self._begin("open")
        answer = v1.OpenAttemptsResponse(
            attempts=[self._open(item) for item in message.attempts], now=self.now
        )
        await self._end()
        return answer

    def _open(self, item: v1.OpenAttempt) -> v1.OpenedAttempt:
        task_id = item.task_id
        reason = self.refuse_opening.get(task_id)
        if reason is not None:
            refusal = v1.Refusal(reason=reason, retry_after_ms=self.retry_after_ms)
            error = self.dead_letter_errors.get(task_id, "")
            return v1.OpenedAttempt(task_id=task_id, refusal=refusal, dead_letter_error=error)
        task = self.task(task_id)
        if task.state not in ("QUEUED", "RUNNING"):
            return v1.OpenedAttempt(task_id=task_id, refusal=v1.Refusal(reason="TASK_TERMINAL"))
        if item.begun_early and task.attempts > 0:
            return v1.OpenedAttempt(task_id=task_id, refusal=v1.Refusal(reason="LEASE_STALE"))
        task.attempts += 1
        task.state = "RUNNING"
        return v1.OpenedAttempt(
            task_id=task_id,
            fencing_token=task.attempts,
            attempt=task.attempts,
            lease_ms=10_000,
            remaining_ms=self.remaining_ms,
            cancel_requested=task.cancel_requested,
        )

    async def fetch_payload(self, message: v1.FetchPayloadRequest) -> v1.FetchPayloadResponse:
        await self._begin("fetch")
        assert message.lease is not None
        await self.may_fetch.wait()
        if self._refusal(message.lease) is not None:
            raise to_grpc(GridpactError(Reason.LEASE_STALE, "for the test"))
        payload = self.payloads.get(message.lease.task_id)
        if payload is None:
            raise to_grpc(GridpactError(Reason.PAYLOAD_LOST, "for the test"))
        part = payload[message.offset : message.offset + PART_BYTES]
        self.fetched_bytes += len(part)
        await self._end()
        return v1.FetchPayloadResponse(part=part, total_bytes=len(payload))

    async def renew_leases(self, message: v1.RenewLeasesRequest) -> v1.RenewLeasesResponse:
        await self._begin("renew")
        answer = v1.RenewLeasesResponse(
            leases=[
                v1.RenewedLease(
                    task_id=lease.task_id,
                    lease_ms=10_000,
                    cancel_requested=self.task(lease.task_id).cancel_requested,
                    refusal=self._refusal(lease),
                )
                for lease in message.leases
            ]
        )
        await self._end()
        return answer

    async def report_progress(self, message: v1.ReportProgressRequest) -> v1.ReportProgressResponse:
        await self._begin("report")
        self.progress += message.reports
        await self._end()
        return v1.ReportProgressResponse()

    async def complete_attempts(
        self, messages: AsyncIterator[v1.CompleteAttemptsRequest]
    ) -> AsyncIterator[v1.CompleteAttemptsResponse]:
        async for message in messages:
            await self._begin("complete")
            self.commit_waits.set()
            await self.may_commit.wait()
            answer = v1.CompleteAttemptsResponse(
                attempts=[self._complete(item) for item in message.attempts], now=self.now
            )
            await self._end()
            yield answer

    def _complete(self, item: v1.CompleteAttempt) -> v1.CompletedAttempt:
        assert item.lease is not None
        task = self.task(item.lease.task_id)
        reason = self.refuse_opening.get(item.lease.task_id)
        if item.early_start is not None and reason is not None:
            return v1.CompletedAttempt(
                task_id=item.lease.task_id,
                refusal=v1.Refusal(reason=reason, retry_after_ms=self.retry_after_ms),
            )
        if item.early_start is not None and task.state == "QUEUED":
            if task.attempts > 0:
                refusal = v1.Refusal(reason="LEASE_STALE")
                return v1.CompletedAttempt(task_id=item.lease.task_id, refusal=refusal)
            task.attempts, task.state = 1, "RUNNING"
        refusal = self._refusal(item.lease)
        if refusal is None:
            task.endings.append(item)
            if item.handed_back is not None:
                lost = item.lease.task_id in self.dead_letter_errors
                task.state = "FAILED" if lost else "QUEUED"
            elif item.succeeded is not None:
                task.state = "SUCCEEDED"
            else:
                task.state = "FAILED" if item.failed is not None else "CANCELLED"
        return v1.CompletedAttempt(
            task_id=item.lease.task_id,
            refusal=refusal,
            task_ended=task.state not in ("QUEUED", "RUNNING"),
            dead_letter_error=self.dead_letter_errors.get(item.lease.task_id, ""),
        )

    def _refusal(self, lease: v1.Lease) -> v1.Refusal | None:
        task = self.task(lease.task_id)
        if task.state != "RUNNING":
            return v1.Refusal(reason="TASK_TERMINAL")
        if lease.fencing_token != task.attempts:
            return v1.Refusal(reason="LEASE_STALE")
        return None

    async def _begin(self, call: str) -> None:
        if self.unavailable_count > 0:
            self.unavailable_count -= 1
            raise GRPCError(Status.UNAVAILABLE, "for the test")
        self.calls[call] += 1

    async def _end(self) -> None:
        async with self.changed:
            self.changed.notify_all()
