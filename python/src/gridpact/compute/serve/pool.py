"""The front's side of the workers: as many as there is capacity, and a warm spare."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import cast

from gridpact.compute.serve.frames import HEADER, Tag, frame, read_header
from gridpact.compute.serve.memory import (
    CHECK_INTERVAL_S,
    OUT_OF_MEMORY_EXIT,
    out_of_memory,
    private_mib,
)
from gridpact.compute.solve.warm_models import MOST_MODELS
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import Log

log = Log(__name__)

RESTART_PAUSE_SECONDS = 1.0

# A worker that is through with a task at once has the next ones at hand.
QUEUE_OF_WORKER = 128
MOST_QUEUED = 1024


class WorkerLostError(Exception):
    """The worker process ended in the middle of something."""


class Worker:
    """One worker process."""

    def __init__(self, process: Process, memory_mib: int) -> None:
        self._process = process
        self._memory_mib = memory_mib
        self._uses_too_much = False
        self._tasks = cast("asyncio.StreamWriter", process.stdin)
        self._answers = cast("asyncio.StreamReader", process.stdout)
        # Of the models that it may have kept, the newest last.
        self._keys: deque[str] = deque(maxlen=MOST_MODELS)

    @classmethod
    async def start(cls, memory_mib: int) -> Worker:
        """A worker that is warmed up and may use so much memory.

        Raises WorkerLostError, or GridpactError OUT_OF_MEMORY, when it ends before that.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gridpact.compute.serve.worker",
            str(memory_mib),
            stdin=PIPE,
            stdout=PIPE,
            env=_environment(),
        )
        worker = cls(process, memory_mib)
        try:
            await worker.receive()
        except BaseException:
            worker.kill()
            await worker.gone()
            raise
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    def note(self, key: str) -> None:
        """A task that builds on the model of this key comes to the worker."""
        if key in self._keys:
            self._keys.remove(key)
        self._keys.append(key)

    def has_served(self, key: str) -> bool:
        return key in self._keys

    @property
    def key_count(self) -> int:
        return len(self._keys)

    async def send(self, task: bytes) -> None:
        """Hands over a `task` message. Raises WorkerLostError."""
        try:
            self._tasks.write(frame(Tag.TASK, task))
            await self._tasks.drain()
        except ConnectionError as error:
            raise WorkerLostError from error

    async def receive(self) -> tuple[Tag, bytes]:
        """The next frame. Raises WorkerLostError, or GridpactError OUT_OF_MEMORY."""
        try:
            tag, size = read_header(await self._answers.readexactly(HEADER.size))
            return tag, await self._answers.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.gone()
            if self._uses_too_much or self._process.returncode == OUT_OF_MEMORY_EXIT:
                raise out_of_memory(self._memory_mib) from error
            raise WorkerLostError from error

    def check_memory(self) -> None:
        """Kills a worker that uses more than it may; `receive` says so."""
        if self.is_alive and private_mib(self.pid) > self._memory_mib:
            self._uses_too_much = True
            self.kill()

    def kill(self) -> None:
        """Ends the process, whatever it is doing."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def gone(self) -> None:
        """Returns when the process has ended and its memory is free."""
        await self._process.wait()


class Pool:
    """Hands out warm workers and replaces those that do not come back alive.

    ``queue`` is how many may wait for one, first come, first served.
    """

    def __init__(self, capacity: int, memory_mib: int) -> None:
        self.capacity = capacity
        self.queue = min(QUEUE_OF_WORKER * capacity, MOST_QUEUED)
        self._turn = asyncio.Semaphore(capacity)
        self._memory_mib = memory_mib
        self._at_work: set[Worker] = set()
        self._watch: asyncio.Task[None] | None = None
        self._warm: list[Worker] = []  # the one used last at the end
        self._warm_changed = asyncio.Event()
        self._starting: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._held_count = 0

    async def run(self) -> None:
        """Starts the workers and the spare; returns when as many as the capacity are warm."""
        ready = [self._start_one() for _ in range(self.capacity)]
        await asyncio.gather(*ready)
        self._start_one()
        self._watch = asyncio.create_task(self._watch_memory())

    @asynccontextmanager
    async def worker(self, affinity_key: str | None = None) -> AsyncGenerator[Worker]:
        """A warm worker. Leaving with an exception, cancellation included, kills it.

        Of the idle ones it is the one that served ``affinity_key`` last, or else one that has
        served fewest keys, so that models spread over the workers.

        Raises GridpactError NODE_BUSY when as many are held, or wait, as there is room for.
        """
        if self._held_count >= self.capacity + self.queue:
            raise GridpactError(Reason.NODE_BUSY, "this node has all the tasks that it takes")
        self._held_count += 1
        try:
            await self._turn.acquire()
        except BaseException:
            self._held_count -= 1
            raise
        try:
            worker = await self._next_alive(affinity_key)
            if affinity_key is not None:
                worker.note(affinity_key)
            self._at_work.add(worker)
            try:
                yield worker
            except BaseException:
                # Whoever waits for the answer does not wait for gigabytes to be given back. The
                # replacement starts at once; the spare bridges the time.
                worker.kill()
                self._await_end_of(worker)
                self._start_one()
                raise
            finally:
                self._at_work.remove(worker)
            self._put_back(worker)
        finally:
            self._turn.release()
            self._held_count -= 1

    async def close(self) -> None:
        """Kills every worker that nobody holds; returns when all that were killed have ended."""
        if self._watch is not None:
            self._watch.cancel()
        while self._warm:
            worker = self._warm.pop()
            worker.kill()
            self._await_end_of(worker)
        for start in self._starting:
            start.cancel()
        await asyncio.gather(*self._starting, *self._ending, return_exceptions=True)

    async def _next_alive(self, affinity_key: str | None) -> Worker:
        while True:
            while not self._warm:
                self._warm_changed.clear()
                await self._warm_changed.wait()
            worker = self._choose(affinity_key)
            self._warm.remove(worker)
            if worker.is_alive:
                return worker
            log.warning("worker-lost", pid=worker.pid)
            self._start_one()

    def _choose(self, affinity_key: str | None) -> Worker:
        newest_first = self._warm[::-1]
        if affinity_key is None:
            return newest_first[0]
        for worker in newest_first:
            if worker.has_served(affinity_key):
                return worker
        return min(newest_first, key=lambda worker: worker.key_count)

    def _put_back(self, worker: Worker) -> None:
        self._warm.append(worker)
        self._warm_changed.set()

    def _start_one(self) -> asyncio.Task[None]:
        start = asyncio.create_task(self._keep_starting())
        self._starting.add(start)
        start.add_done_callback(self._starting.discard)
        return start

    def _await_end_of(self, worker: Worker) -> None:
        end = asyncio.create_task(worker.gone())
        self._ending.add(end)
        end.add_done_callback(self._ending.discard)

    async def _watch_memory(self) -> None:
        """For what is allocated bit by bit; an allocation beyond the limit fails in the worker."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            for worker in self._at_work:
                worker.check_memory()

    async def _keep_starting(self) -> None:
        while True:
            try:
                worker = await Worker.start(self._memory_mib)
            except (WorkerLostError, GridpactError):
                log.error("worker-not-started", retry_s=RESTART_PAUSE_SECONDS)
                await asyncio.sleep(RESTART_PAUSE_SECONDS)
            else:
                log.debug("worker-warm", pid=worker.pid)
                self._put_back(worker)
                return


def _environment() -> dict[str, str]:
    """The front's environment without its secrets; libraries get one core a worker."""
    shared = {name: text for name, text in os.environ.items() if not name.endswith("_SECRET")}
    return shared | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
