"""The systems that are compared, each with a Redis of its own, one worker, and a client.

Each starts with empty stores in a folder, and runs for the length of a block. Entering the block
raises PlatformError where something that the system needs is missing.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
import psycopg

from bench.machine import PEER_PYTHON, ROOT
from bench.process import Side
from gridpact.kit.settings import Address
from gridpact.platform.error import PlatformError
from gridpact.platform.lineage import dies_with_parent
from gridpact.platform.options import Broker, PlatformOptions
from gridpact.platform.redis import prepare_redis, redis_url
from gridpact.platform.running import RunningPlatform, running_platform

# What a no-op task of ours leaves behind: nothing else of the platform writes to these tables.
_COUNTS = """
SELECT count(*), count(*) FILTER (WHERE state = 'SUCCEEDED' AND result.task_id IS NOT NULL),
       coalesce(sum(attempt_count - 1) FILTER (WHERE attempt_count > 1), 0)
FROM tasks.tasks LEFT JOIN tasks.results AS result USING (task_id)
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a system's own books say of all tasks: submitted, ended with a stored result, and how
    many attempts there were beyond one a task."""

    submitted: int
    succeeded: int
    repeated: int


@dataclass(slots=True)
class System:
    """A system that runs. ``pids`` are its processes by name, their children included."""

    name: str
    client: Side
    pids: Mapping[str, int]
    # Clients that enter elsewhere, and submit tasks singly only.
    other_clients: Mapping[str, Side] = field(default_factory=dict[str, Side])
    platform: RunningPlatform | None = None

    def cpu_s(self) -> dict[str, float]:
        """The CPU seconds that each process has used so far, with all that it started."""
        pids = {**self.pids, "client": self.client.pid()}
        used = {name: _cpu_s(pid) for name, pid in pids.items()}
        if self.platform is not None:
            # The node's front and the process that computes are two different stories.
            node = self.pids["compute-python"]
            used["compute-python front"] = _own_cpu_s(psutil.Process(node))
            used["compute-python workers"] = (
                used.pop("compute-python") - used["compute-python front"]
            )
        return used

    def stored(self) -> Stored | None:
        """None where the system keeps no books."""
        if self.platform is None:
            return None
        with psycopg.connect(self.platform.environment["GRIDPACT_DATABASE_URL"]) as connection:
            row = connection.execute(_COUNTS).fetchone()
        assert row is not None
        return Stored(*map(int, row))


@asynccontextmanager
async def gridpact(broker: Broker, folder: Path) -> AsyncIterator[System]:
    """The whole platform as `gridpact up` starts it, with one worker on the Python node alone."""
    options = PlatformOptions(state_dir=folder, broker=broker, engine="python", workers=1)
    async with running_platform(options) as platform:
        record = platform.record()
        assert record is not None
        pids = {
            process.name: process.identity.pid
            for process in record.processes
            if process.identity is not None and process.identity.process() is not None
        }
        environment = {
            **platform.environment,
            "PYTHONPATH": str(ROOT),
            "BENCH_ADMIN_EMAIL": platform.secrets.admin_email,
            "BENCH_ADMIN_PASSWORD": platform.secrets.admin_password,
        }
        command = (sys.executable, "-m", "bench.queue.gridpact_client")
        client, rest = Side(command, environment), Side((*command, "rest"), environment)
        try:
            yield System(f"gridpact-{broker}", client, pids, {"rest": rest}, platform)
        finally:
            client.stop()
            rest.stop()


@asynccontextmanager
async def celery(folder: Path) -> AsyncIterator[System]:
    module = "bench.queue.peers.celery_app"
    # Without what only several workers need. `solo` computes in the process that receives: with
    # one worker the fastest pool.
    alone = ("--pool=solo", "--without-gossip", "--without-mingle", "--without-heartbeat")
    worker = ("-m", "celery", "-A", module, "worker", "--loglevel=WARNING", *alone)
    with _peer("celery", folder, module, worker) as system:
        yield system


@asynccontextmanager
async def taskiq(folder: Path) -> AsyncIterator[System]:
    module = "bench.queue.peers.taskiq_app"
    worker = ("-m", "taskiq", "worker", f"{module}:broker", "--workers=1", "--log-level=WARNING")
    with _peer("taskiq", folder, module, worker) as system:
        yield system


# How a system starts, its stores in the folder.
Start = Callable[[Path], AbstractAsyncContextManager[System]]

SYSTEMS: Mapping[str, Start] = {
    "gridpact-redis": partial(gridpact, "redis"),
    "gridpact-rocketmq": partial(gridpact, "rocketmq"),
    "celery": celery,
    "taskiq": taskiq,
}


@contextmanager
def _peer(name: str, folder: Path, module: str, worker: Sequence[str]) -> Iterator[System]:
    if not PEER_PYTHON.exists():
        raise PlatformError("bench/.venv is not here (scripts/setup-bench)")
    address, password = _free_address(), secrets.token_hex(16)
    environment = {"PYTHONPATH": str(ROOT), "BENCH_REDIS_URL": redis_url(address, password)}
    python = str(PEER_PYTHON)
    redis = prepare_redis(folder / f"redis-{name}", address, password)
    with (
        (folder / f"{name}.log").open("wb") as log,
        _process(redis, {}, log.fileno()) as server,
        _process((python, *worker), environment, log.fileno()) as working,
    ):
        client = Side((python, "-m", module), environment)
        try:
            yield System(name, client, {"redis": server.pid, "worker": working.pid})
        finally:
            client.stop()


@contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str], log: int
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        # Nothing stays behind when the benchmark is killed.
        dies_with_parent(tuple(command)),
        env={**os.environ, **environment},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_address() -> Address:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", probe.getsockname()[1])


def _cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    return _own_cpu_s(process) + sum(
        _own_cpu_s(child) for child in process.children(recursive=True)
    )


def _own_cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system + times.children_user + times.children_system


def settled(seconds: float = 0.5) -> None:
    """Lets what a system has left to do (acknowledging, deleting) be done."""
    time.sleep(seconds)
