"""A platform that runs, with everything that can be done to it: signals, wires, locks, its queue.

The platform is that of `gridpact up`, started for this and gone afterwards. Nothing here needs more
rights than the user has who started it.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import psycopg
from redis.asyncio import Redis

from bench.faults.wire import Wire
from gridpact.broker.bootstrap import connected_broker
from gridpact.broker.port import Broker, Consumer
from gridpact.contracts.channels import QUEUE_ADDRESS
from gridpact.kit.settings import Address, RelaySettings, read_settings
from gridpact.platform.error import PlatformError
from gridpact.platform.lineage import dies_with_parent
from gridpact.platform.options import Broker as BrokerName
from gridpact.platform.options import Engine, PlatformOptions
from gridpact.platform.postgres import DATABASE
from gridpact.platform.running import RunningPlatform, running_platform
from gridpact.platform.state import Identity, ProcessRecord, StateFolder

LOOK_AGAIN_S = 0.01
_SETTLE_S = 60.0
_SMALL_DISK_MIB = 512
_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gridpact'"
)
_WATCH_S = 0.5
_REPORTS = 3


class NotInjected(Exception):
    """A fault did not hit: the run does not count."""


async def until(
    holds: Callable[[], Awaitable[Any]],
    what: str,
    within_s: float = 20.0,
    every_s: float = LOOK_AGAIN_S,
) -> Any:
    """What ``holds`` gives as soon as it gives something true; NotInjected when it never does."""
    ends = time.monotonic() + within_s
    while not (found := await holds()):
        if time.monotonic() > ends:
            raise NotInjected(f"within {within_s:g} s it never came to this: {what}")
        # Nothing announces these states from outside.
        await asyncio.sleep(every_s)
    return found


class Stage:
    """A running platform under faults."""

    def __init__(self, running: RunningPlatform, engine: str, wires: Mapping[str, Wire]) -> None:
        self.running = running
        self.engine = engine
        self.node = f"compute-{engine}"
        self.node_wire = wires[self.node]
        self.database_wire = wires["postgres"]
        self._connection: psycopg.AsyncConnection[Any] | None = None

    @property
    def broker_name(self) -> str:
        return self.running.broker

    @property
    def broker_process(self) -> str:
        """The process whose death is the broker's."""
        return "rocketmq" if self.broker_name == "rocketmq" else "redis"

    @property
    def logs(self) -> Path:
        return self.running.folder.logs

    @property
    def topic(self) -> str:
        """Where the probes for the stage's engine are queued."""
        return QUEUE_ADDRESS.format(engine=self.engine, kind="probe")

    # Processes

    def record(self, name: str) -> ProcessRecord:
        record = self.running.record()
        assert record is not None, "the platform has ended"
        return next(each for each in record.processes if each.name == name)

    def names(self) -> list[str]:
        record = self.running.record()
        assert record is not None, "the platform has ended"
        return [each.name for each in record.processes if each.state != "done"]

    def process(self, name: str) -> psutil.Process:
        identity = self.record(name).identity
        process = identity and identity.process()
        if process is None:
            raise NotInjected(f"{name} does not run")
        return process

    def tree(self, name: str) -> list[psutil.Process]:
        process = self.process(name)
        return [process, *process.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """The worker processes of the node, those that stand by included."""
        return self.process(self.node).children(recursive=True)

    async def worker_at_work(self) -> list[psutil.Process]:
        """The worker that holds a long probe: the one that reports progress and reads nothing.

        All of them where that does not tell, as with the Julia engine, whose probes are silent.
        """
        before = {worker: _calls(worker) for worker in self.workers()}
        await asyncio.sleep(_WATCH_S)
        reporting: list[psutil.Process] = []
        for worker, (reads, writes) in before.items():
            reads_now, writes_now = _calls(worker)
            if reads_now == reads and writes_now >= writes + _REPORTS:
                reporting.append(worker)
        return reporting if len(reporting) == 1 else [*before]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> Identity:
        """Signals the process; who it was."""
        identity = self.record(name).identity
        if identity is None or identity.process() is None:
            raise NotInjected(f"{name} does not run")
        os.kill(identity.pid, number)
        return identity

    async def until_back(self, name: str, before: Identity, within_s: float = 60.0) -> None:
        """Returns when a successor of the process is ready."""

        async def is_back() -> bool:
            record = self.record(name)
            return record.state == "ready" and record.identity not in (None, before)

        await until(is_back, f"{name} is back", within_s, 0.05)

    async def until_gone(self, identity: Identity) -> None:
        async def is_gone() -> bool:
            return identity.process() is None

        await until(is_gone, f"process {identity.pid} is gone")

    async def until_ready(self) -> None:
        """Returns when every process is ready."""

        async def are_ready() -> bool:
            record = self.running.record()
            return record is not None and all(
                each.state in ("ready", "done") for each in record.processes
            )

        await until(are_ready, "every process is ready", _SETTLE_S, 0.05)

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """The processes and all they started stand still while entered (SIGSTOP)."""
        with stopped([process for name in names for process in self.tree(name)]):
            yield

    @asynccontextmanager
    async def another(
        self, module: str, *arguments: str, **settings: str
    ) -> AsyncIterator[psutil.Process]:
        """One more process of the platform, with settings of its own, ready when entered."""
        own = {f"GRIDPACT_{name.upper()}": value for name, value in settings.items()}
        log = self.logs / f"another-{module.rpartition('.')[2]}.log"
        mark = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: ASYNC220  # it only forks
                dies_with_parent((sys.executable, "-m", module, *arguments)),
                env={**os.environ, **self.running.environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            await self.until_logged(log.stem, r"\bevent=ready\b", mark, within_s=60)
            yield psutil.Process(process.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, 8)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)

    # Logs

    def mark(self, name: str) -> int:
        """Where the log of a process ends now."""
        file = self.logs / f"{name}.log"
        return file.stat().st_size if file.exists() else 0

    def logged(self, name: str, pattern: str, mark: int) -> list[str]:
        """The lines after the mark that match."""
        with (self.logs / f"{name}.log").open(encoding="utf-8", errors="replace") as file:
            file.seek(mark)
            return [line for line in file if re.search(pattern, line)]

    async def until_logged(
        self, name: str, pattern: str, mark: int, within_s: float = 40.0
    ) -> list[str]:
        async def lines() -> list[str]:
            return self.logged(name, pattern, mark)

        return await until(lines, f"{name} logs {pattern}", within_s, 0.05)

    # The database

    async def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query gives; a connection that is lost is made anew."""
        for last in (False, True):
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = await self._connect(autocommit=True)
                cursor = await self._connection.execute(query.encode(), values)
                return await cursor.fetchall()
            except psycopg.OperationalError:
                self._connection = None
                if last:
                    raise
        raise AssertionError

    async def task(self, task_id: str) -> tuple[str, int]:
        """State and number of attempts, as committed."""
        rows = await self.rows(
            "SELECT state, attempt_count FROM tasks.tasks WHERE task_id = %s", task_id
        )
        return (rows[0][0], rows[0][1]) if rows else ("", 0)

    async def until_state(self, task_id: str, state: str, within_s: float = 30.0) -> None:
        async def is_so() -> bool:
            return (await self.task(task_id))[0] == state

        await until(is_so, f"task {task_id} is {state}", within_s)

    async def until_at_work(self, task_id: str, within_s: float = 40.0) -> None:
        """Returns when a worker has told how far it is with the task."""

        async def is_at_work() -> bool:
            return bool(
                await self.rows(
                    "SELECT 1 FROM tasks.tasks WHERE task_id = %s AND state = 'RUNNING'"
                    " AND progress IS NOT NULL",
                    task_id,
                )
            )

        await until(is_at_work, f"task {task_id} is at work", within_s)

    async def is_in_outbox(self, task_id: str) -> bool:
        return bool(await self.rows("SELECT 1 FROM tasks.outbox WHERE key = %s", task_id))

    async def tasks_of(self, key: str) -> list[str]:
        """The tasks that are committed under an idempotency key."""
        rows = await self.rows(
            "SELECT task_id::text FROM tasks.tasks WHERE label = %s"
            " UNION SELECT task_id::text FROM tasks.idempotency_keys WHERE idempotency_key = %s",
            key,
            key,
        )
        return [row[0] for row in rows]

    @asynccontextmanager
    async def locked(self, *tables: str) -> AsyncIterator[None]:
        """Nobody else writes to the tables while entered; who wants to waits."""
        connection = await self._connect(autocommit=False)
        try:
            for table in tables:
                await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE".encode())
            yield
        finally:
            with suppress(psycopg.OperationalError):
                await connection.rollback()
            await connection.close()

    async def until_waiting(self, words: str) -> list[int]:
        """Returns when a statement of the platform with these words waits for a lock: whose."""

        async def waiting() -> list[int]:
            rows = await self.rows(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'gridpact'"
                " AND wait_event_type = 'Lock' AND position(%s in query) > 0",
                words,
            )
            return [row[0] for row in rows]

        return await until(waiting, f"a statement waits: {words}")

    @asynccontextmanager
    async def clock_set_by(self, shift: timedelta) -> AsyncIterator[None]:
        """The database tells another time while entered, to every session of the platform.

        A function of the same name stands before PostgreSQL's own. The sessions end, because only
        new ones look there.
        """
        seconds = shift.total_seconds()
        await self._rule(
            "CREATE SCHEMA IF NOT EXISTS faults",
            "CREATE OR REPLACE FUNCTION faults.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
            f" AS $$ SELECT pg_catalog.clock_timestamp() + interval '{seconds} s' $$",
            f"ALTER DATABASE {DATABASE} SET search_path = faults, pg_catalog",
            _END_SESSIONS,
        )
        try:
            yield
        finally:
            await self._rule(f"ALTER DATABASE {DATABASE} RESET search_path", _END_SESSIONS)

    async def _rule(self, *statements: str) -> None:
        connection = await self._connect(autocommit=True)
        try:
            for statement in statements:
                await connection.execute(statement.encode())
        finally:
            await connection.close()

    # The disk

    @contextmanager
    def disk_full(self) -> Iterator[None]:
        """Nothing can be written into the state folder while entered. Only on a disk of its own."""
        ballast = self.running.folder.path / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                for size in (2**20, 2**12, 1):
                    with suppress(OSError):
                        while True:
                            file.write(bytes(size))
                yield
            finally:
                ballast.unlink()

    async def _connect(self, *, autocommit: bool) -> psycopg.AsyncConnection[Any]:
        url = self.running.environment["GRIDPACT_DATABASE_URL"]
        return await psycopg.AsyncConnection.connect(
            url, autocommit=autocommit, connect_timeout=5, application_name="faults"
        )

    # The queue

    @asynccontextmanager
    async def broker(self) -> AsyncIterator[Broker]:
        """A connection of our own to the queue."""
        settings = read_settings(RelaySettings, self.running.environment)
        async with connected_broker(settings) as broker:
            yield broker

    @asynccontextmanager
    async def consumer(self) -> AsyncIterator[Consumer]:
        """A consumer of the topic of the stage's engine."""
        async with self.broker() as broker:
            yield broker.consumer(self.topic)

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        client = Redis.from_url(self.running.environment["GRIDPACT_REDIS_URL"])
        try:
            yield client
        finally:
            await client.aclose()

    async def until_queue_is_empty(self, within_s: float = 60.0) -> bool:
        """Whether every message was acknowledged or is a dead letter in time."""
        async with self.broker() as broker:

            async def is_empty() -> bool:
                for engine, kind in product(("auto", self.engine), ("probe", "dispatch")):
                    topic = QUEUE_ADDRESS.format(engine=engine, kind=kind)
                    backlog = await broker.consumer(topic).backlog()
                    if backlog.visible_count or backlog.invisible_count:
                        return False
                return True

            try:
                return await until(is_empty, "the queue is empty", within_s, 0.1)
            except NotInjected:
                return False

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


@contextmanager
def stopped(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """The processes stand still while entered (SIGSTOP)."""
    try:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@asynccontextmanager
async def staged(
    folder: Path, broker: BrokerName, engine: Engine, *, workers: int = 2, small_disk: bool = False
) -> AsyncIterator[Stage]:
    """A platform of its own, with a wire wherever a fault of the network is wanted.

    ``small_disk``: on a disk of its own that can be filled up; PlatformError without root's rights.
    """
    state = StateFolder(folder)
    async with AsyncExitStack() as stack:
        if small_disk:
            stack.enter_context(_mounted(folder, _SMALL_DISK_MIB))
        wires: dict[str, Wire] = {}
        detours: dict[str, dict[str, str]] = {}
        for client, server in (("bridge", f"compute-{engine}"), ("services", "postgres")):
            wire = await stack.enter_async_context(Wire(_finder(state, server)).laid())
            wires[server] = wire
            detours.setdefault(client, {})[server] = str(wire.address)
        options = PlatformOptions(
            state_dir=folder, broker=broker, engine=engine, workers=workers, detours=detours
        )
        running = await stack.enter_async_context(running_platform(options))
        stage = Stage(running, engine, wires)
        stack.push_async_callback(stage.close)
        yield stage


@contextmanager
def _mounted(folder: Path, mib: int) -> Iterator[None]:
    """A disk in memory."""
    folder.mkdir(parents=True)
    options = f"size={mib}m,mode=0700"
    mounting = subprocess.run(
        ("mount", "-t", "tmpfs", "-o", options, "faults", str(folder)),
        capture_output=True,
        text=True,
    )
    if mounting.returncode != 0:
        raise PlatformError(f"no disk of its own: {mounting.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)


def _finder(state: StateFolder, server: str) -> Callable[[], Address | None]:
    def find() -> Address | None:
        record = state.read_run()
        return None if record is None else record.address(server)

    return find


class MemoryWatch:
    """The resident memory of the platform, and that of its bridge, looked at twice a second."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.peak_mib = 0.0
        self.bridge_peak_mib = 0.0

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(0.5)

    def _look(self) -> None:
        record = self._stage.running.record()
        keeper = record and record.keeper.process()
        if keeper is None:
            return
        # Pages that processes share count each time.
        self.peak_mib = max(self.peak_mib, sum(map(rss_mib, keeper.children(recursive=True))))
        with suppress(NotInjected):
            self.bridge_peak_mib = max(self.bridge_peak_mib, rss_mib(self._stage.process("bridge")))


def _calls(process: psutil.Process) -> tuple[int, int]:
    """How often a process has read, and written."""
    try:
        counters = process.io_counters()
    except psutil.NoSuchProcess:
        return 0, 0
    return counters.read_count, counters.write_count


def rss_mib(process: psutil.Process) -> float:
    """What a process holds in memory; nothing once it is gone."""
    try:
        return process.memory_info().rss / 2**20
    except psutil.NoSuchProcess:
        return 0.0
