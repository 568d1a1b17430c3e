"""What the system tests see of a running platform, besides its API."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path

import httpx
import msgspec
import psutil
import psycopg
from httpx_sse import EventSource

from gridpact.broker.port import Backlog
from gridpact.broker.redis_streams import RedisStreamsBroker
from gridpact.contracts.channels import KINDS, LIMITS, MAX_ATTEMPTS, QUEUE_ADDRESS, QUEUE_ENGINES
from gridpact.contracts.rest import Login
from gridpact.kit.compression import decompress
from gridpact.platform.running import RunningPlatform
from gridpact.platform.state import Identity, ProcessRecord

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})

_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A row of tasks.tasks, and whether tasks.results has one too."""

    task_id: str
    state: str
    attempt_count: int
    has_result: bool


class PlatformUnderTest:
    """The processes, the database and the queue of a platform."""

    def __init__(self, running: RunningPlatform) -> None:
        self.running = running

    @property
    def engines(self) -> list[str]:
        names = (record.name for record in self._records())
        return [name.removeprefix("compute-") for name in names if name.startswith("compute-")]

    @property
    def state_dir(self) -> Path:
        return self.running.folder.path

    def process(self, name: str) -> psutil.Process:
        identity = self._record(name).identity
        process = identity and identity.process()
        assert process is not None, f"{name} does not run"
        return process

    def workers(self, engine: str) -> list[psutil.Process]:
        """The worker processes of a compute node, warm spares and half started ones included."""
        return self.process(f"compute-{engine}").children(recursive=True)

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends the signal; returns when its successor is ready."""
        before = self._record(name)
        assert before.identity is not None
        os.kill(before.identity.pid, number)
        async with asyncio.timeout(60):
            while not _is_ready_after(self._record(name), before.identity):  # noqa: ASYNC110  # a file
                await asyncio.sleep(_LOOK_AGAIN_S)

    def log(self, name: str) -> str:
        return (self.running.folder.logs / f"{name}.log").read_text(encoding="utf-8")

    async def stored(self, task_ids: Collection[str]) -> list[StoredTask]:
        url = self.running.environment["GRIDPACT_DATABASE_URL"]
        async with await psycopg.AsyncConnection.connect(url) as connection:
            rows = await connection.execute(
                "SELECT task_id::text, state, attempt_count, result.task_id IS NOT NULL"
                " FROM tasks.tasks LEFT JOIN tasks.results AS result USING (task_id)"
                " WHERE task_id = ANY(%s::uuid[])",
                [[*task_ids]],
            )
            return [StoredTask(*row) for row in await rows.fetchall()]

    async def until_attempt_is_at_work(self, task_id: str, number: int) -> None:
        """Returns when a worker has told how far it is with this attempt."""
        url = self.running.environment["GRIDPACT_DATABASE_URL"]
        async with (
            asyncio.timeout(60),
            await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
        ):
            at_work = False
            while not at_work:
                rows = await connection.execute(
                    "SELECT attempt_count >= %s AND progress IS NOT NULL FROM tasks.tasks"
                    " WHERE task_id = %s",
                    [number, task_id],
                )
                row = await rows.fetchone()
                at_work = row is not None and row[0]
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def counted_attempts(self, task_ids: Collection[str]) -> int:
        """How many attempts of the tasks count to their maximum."""
        url = self.running.environment["GRIDPACT_DATABASE_URL"]
        async with await psycopg.AsyncConnection.connect(url) as connection:
            rows = await connection.execute(
                "SELECT sum(attempt_count - excused_count)::int FROM tasks.tasks"
                " WHERE task_id = ANY(%s::uuid[])",
                [[*task_ids]],
            )
            row = await rows.fetchone()
        assert row is not None
        return row[0]

    async def newest_result(self) -> bytes:
        """The MsgPack that a worker sent for the task that was submitted last."""
        url = self.running.environment["GRIDPACT_DATABASE_URL"]
        async with await psycopg.AsyncConnection.connect(url) as connection:
            rows = await connection.execute(
                "SELECT encoding, body FROM tasks.results JOIN tasks.tasks USING (task_id)"
                " ORDER BY submitted_time DESC LIMIT 1"
            )
            row = await rows.fetchone()
        assert row is not None
        return decompress(row[0], row[1], LIMITS.decoded_bytes)

    async def until_queue_is_empty(self) -> None:
        """Returns when every message is acknowledged; fails when one became a dead letter."""
        async with asyncio.timeout(60):
            for engine, kind in product(QUEUE_ENGINES, KINDS):
                while (state := await self.backlog(engine, kind)) != _NOTHING:
                    assert state.dead_letter_count == 0
                    # A queue announces no acknowledgement.
                    await asyncio.sleep(_LOOK_AGAIN_S)

    async def backlog(self, engine: str, kind: str) -> Backlog:
        url = self.running.environment["GRIDPACT_REDIS_URL"]
        broker = RedisStreamsBroker(url, max_attempts=MAX_ATTEMPTS)
        try:
            return await broker.consumer(QUEUE_ADDRESS.format(engine=engine, kind=kind)).backlog()
        finally:
            await broker.close()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Watch]:
        """Everything that the API pushes while entered."""
        watch = Watch(self.running)
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(watch.listen())
            await watch.began.wait()
            yield watch
            listening.cancel()

    def _records(self) -> tuple[ProcessRecord, ...]:
        record = self.running.record()
        assert record is not None, "the platform has ended"
        return record.processes

    def _record(self, name: str) -> ProcessRecord:
        return next(record for record in self._records() if record.name == name)


_NOTHING = Backlog(0, 0, 0, timedelta(0))


def _is_ready_after(record: ProcessRecord, before: Identity) -> bool:
    return record.state == "ready" and record.identity not in (None, before)


class _Task(msgspec.Struct):
    task_id: str
    state: str
    progress: msgspec.Raw = msgspec.Raw()


class _Event(msgspec.Struct):
    task: _Task


class Watch:
    """The event stream of the organisation; resumed when it breaks."""

    def __init__(self, running: RunningPlatform) -> None:
        self._running = running
        self.began = asyncio.Event()
        self.states: dict[str, list[str]] = {}
        """The states of every task, in the order of their events; progress repeats RUNNING."""
        self._at_work: set[str] = set()
        self._changed = asyncio.Condition()

    async def until(self, task_id: str, state: str) -> None:
        """Returns when the task was seen in the state."""
        async with asyncio.timeout(100), self._changed:
            await self._changed.wait_for(lambda: state in self.states.get(task_id, ()))

    async def until_at_work(self, task_id: str) -> None:
        """Returns when a worker has told how far it is with the task."""
        async with asyncio.timeout(100), self._changed:
            await self._changed.wait_for(lambda: task_id in self._at_work)

    async def until_count(self, count: int) -> None:
        """Returns when so many tasks were seen to end."""
        try:
            async with asyncio.timeout(100), self._changed:
                await self._changed.wait_for(lambda: self.ended_count >= count)
        except TimeoutError:
            open_ = {id_: s for id_, s in self.states.items() if s[-1] not in TERMINAL}
            raise AssertionError(
                f"{self.ended_count} of {count} ended; {len(open_)} not: {open_}"
            ) from None

    @property
    def ended_count(self) -> int:
        return sum(states[-1] in TERMINAL for states in self.states.values())

    async def listen(self) -> None:
        secrets = self._running.secrets
        login = Login(email=secrets.admin_email, password=secrets.admin_password)
        headers = {"Accept": "text/event-stream"}
        async with httpx.AsyncClient(base_url=self._running.api_url) as http:
            session = await http.post("/v1/sessions", json=login.model_dump())
            headers["Authorization"] = f"Bearer {session.json()['access_token']}"
            while True:
                with suppress(httpx.RemoteProtocolError):
                    async with http.stream(
                        "GET", "/v1/events", headers=headers, timeout=60
                    ) as response:
                        response.raise_for_status()
                        await self._read(EventSource(response), headers)

    async def _read(self, source: EventSource, headers: dict[str, str]) -> None:
        self.began.set()
        async for event in source.aiter_sse():
            if not event.data:
                continue
            headers["Last-Event-ID"] = event.id
            task = msgspec.json.decode(event.data, type=_Event).task
            async with self._changed:
                self.states.setdefault(task.task_id, []).append(task.state)
                if task.progress:
                    self._at_work.add(task.task_id)
                self._changed.notify_all()
