"""Gridpact's client: tasks enter by gRPC, results are pushed by the API's event stream.

Many tasks enter in one ``SubmitTasks``; a single one by ``SubmitTask``, or by ``POST /v1/tasks``
where the first argument of the process is ``rest``. A result is known when the stream
``GET /v1/events`` has told that the task SUCCEEDED: it is checked, stored and committed then.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from uuid import uuid4

import msgspec
import uvloop

from bench.queue.load import Outcome, Pace, serve
from gridpact.cli.client import Client
from gridpact.contracts.proto.gridpact.tasks import v1
from gridpact.contracts.rest import Login
from gridpact.kit.rpc.client import RpcChannel
from gridpact.kit.settings import Address

_TIME_LIMIT_S = 120.0
_BATCH_COUNT = 256
# How many SubmitTasks are under way at once: one is checked while the other is committed.
_SUBMITTING = 2

_INPUT = msgspec.msgpack.encode({"hold_ms": 0})
_SUBMISSION = msgspec.json.encode({"kind": "probe", "engine": "python", "input": {"hold_ms": 0}})
_TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


class _Task(msgspec.Struct):
    task_id: str
    state: str


class _Event(msgspec.Struct):
    task: _Task


class GridpactClient:
    """One client of a running platform."""

    def __init__(self, *, by_rest: bool) -> None:
        self._by_rest = by_rest
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._api = Address.parse(os.environ["GRIDPACT_API_ADDRESS"])
        self._rpc = Address.parse(os.environ["GRIDPACT_RPC_ADDRESS"])

    def burst(self, count: int) -> Outcome:
        return self._runner.run(self._burst(count))

    def singly(self, count: int, rate: float) -> Outcome:
        return self._runner.run(self._singly(count, rate))

    def versions(self) -> Mapping[str, str]:
        return {
            "python": platform.python_version(),
            "grpclib": version("grpclib"),
            "uvicorn": version("uvicorn"),
            "psycopg": version("psycopg"),
            "redis (Gridpact's client)": version("redis"),
        }

    async def _burst(self, count: int) -> Outcome:
        async with self._connected() as (_, tasks, known):
            left = iter(range(0, count, _BATCH_COUNT))

            async def submit() -> None:
                for start in left:
                    size = min(_BATCH_COUNT, count - start)
                    wanted = [_wanted() for _ in range(size)]
                    answer = await tasks.submit_tasks(v1.SubmitTasksRequest(tasks=wanted))
                    known.expect([submitted.task_id for submitted in answer.tasks])

            began = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(_SUBMITTING):
                    group.create_task(submit())
            await known.all()
            seconds = time.perf_counter() - began
            return known.outcome(seconds)

    async def _singly(self, count: int, rate: float) -> Outcome:
        ms: list[float] = []
        async with self._connected() as (api, tasks, known):
            pace = Pace(rate)
            for _ in range(count):
                await asyncio.sleep(pace.wait_s())
                began = time.perf_counter()
                if self._by_rest:
                    task_id = (await api.submit(_SUBMISSION, str(uuid4()))).task_id
                else:
                    answer = await tasks.submit_task(_wanted())
                    assert answer.task is not None
                    task_id = answer.task.task_id
                known.expect([task_id])
                await known.all()
                ms.append((time.perf_counter() - began) * 1e3)
            outcome = known.outcome(0.0)
        outcome.ms = ms
        return outcome

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Client, v1.TasksServiceStub, Known]]:
        login = Login(
            email=os.environ["BENCH_ADMIN_EMAIL"], password=os.environ["BENCH_ADMIN_PASSWORD"]
        )
        async with Client(f"http://{self._api}") as stranger:
            token = (await stranger.log_in(login)).access_token

        async def credentials() -> str:
            return token

        channel = RpcChannel(self._rpc, credentials=credentials, deadline_s=30.0)
        known = Known()
        listening = asyncio.create_task(_listen(self._api, token, known))
        try:
            await known.listening.wait()
            async with Client(f"http://{self._api}", token) as api:
                yield api, v1.TasksServiceStub(channel), known
        finally:
            listening.cancel()
            channel.close()


class Known:
    """Which tasks are known to have ended, against which were submitted."""

    def __init__(self) -> None:
        self.listening = asyncio.Event()
        self._ends: Counter[str] = Counter()
        self._failed = 0
        self._expected: set[str] = set()
        self._missing: set[str] = set()
        self._changed = asyncio.Event()

    def expect(self, task_ids: list[str]) -> None:
        """These were submitted; the stream may have told their ends already."""
        self._expected.update(task_ids)
        self._missing.update(task_id for task_id in task_ids if not self._ends[task_id])

    def hear(self, task_id: str, state: str) -> None:
        """The stream told a state."""
        if state in _TERMINAL:
            self._ends[task_id] += 1
            self._failed += state != "SUCCEEDED"
            self._missing.discard(task_id)
            self._changed.set()

    async def all(self) -> None:
        """Returns when every end is known, or after the time limit."""
        try:
            async with asyncio.timeout(_TIME_LIMIT_S):
                while self._missing:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass

    def outcome(self, seconds: float) -> Outcome:
        doubled = sum(self._ends[task_id] - 1 for task_id in self._expected - self._missing)
        return Outcome(seconds, lost=len(self._missing) + self._failed, doubled=doubled)


def _wanted() -> v1.SubmitTaskRequest:
    return v1.SubmitTaskRequest(
        idempotency_key=str(uuid4()), kind="probe", input=_INPUT, engine_choice="python"
    )


async def _listen(api: Address, token: str, known: Known) -> None:
    """Follows the organisation's events; resumes where the server ended the stream."""
    last_event_id = ""
    decoder = msgspec.json.Decoder(_Event)
    while True:
        async for name, value in _lines(api, token, last_event_id, known.listening):
            if name == b"data":
                task = decoder.decode(value).task
                known.hear(task.task_id, task.state)
            elif name == b"id":
                last_event_id = value.decode()


async def _lines(
    api: Address, token: str, last_event_id: str, listening: asyncio.Event
) -> AsyncIterator[tuple[bytes, bytes]]:
    """The fields of the stream's events; a client of few words, to cost the machine little."""
    reader, writer = await asyncio.open_connection(api.host, api.port, limit=1 << 24)
    resume = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id else ""
    request = (
        f"GET /v1/events HTTP/1.1\r\nHost: {api}\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {token}\r\n{resume}\r\n"
    )
    try:
        writer.write(request.encode())
        status, _, _ = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        assert b" 200 " in status, status
        rest = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            chunk = await reader.readexactly(size + 2)
            listening.set()
            *lines, rest = (rest + chunk[:-2]).split(b"\n")
            for line in lines:
                name, _, value = line.partition(b": ")
                yield name, value
    finally:
        writer.close()


if __name__ == "__main__":
    serve(GridpactClient(by_rest="rest" in sys.argv[1:]))
