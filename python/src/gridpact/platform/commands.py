"""The commands of the command line that run, end and show the embedded platform.

Each prints for a person and returns the exit code.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ParamSpec

import msgspec
import psutil

from gridpact.platform.error import PlatformError
from gridpact.platform.keeper import keep
from gridpact.platform.options import PlatformOptions, default_state_dir
from gridpact.platform.orders import Orders
from gridpact.platform.running import read_report, start_keeper
from gridpact.platform.state import Identity, ProcessRecord, RunRecord, StateFolder
from gridpact.platform.supervise import stop_leftovers

STOP_SECONDS = 60.0

Arguments = ParamSpec("Arguments")


def _told(command: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """The command, with a PlatformError as a line for the person and exit code 1."""

    @functools.wraps(command)
    def telling(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
        try:
            return command(*args, **kwargs)
        except PlatformError as error:
            print(f"gridpact {command.__name__}: {error}", file=sys.stderr)
            return 1

    return telling


@_told
def up(options: PlatformOptions, *, detach: bool = False) -> int:
    """Runs the platform until Ctrl-C, showing its logs; or, detached, returns when it is ready.

    1 when it cannot start, or when one already runs on the folder.
    """
    if detach:
        return _up_detached(options)
    return keep(Orders(options, show_logs=True, report_descriptor=None))


@_told
def down(state_dir: Path | None = None) -> int:
    """Stops the platform on the folder and waits until nothing of it runs; 0 if none did.

    1 when it still runs after a minute.
    """
    folder = StateFolder(state_dir or default_state_dir())
    record = folder.read_run()
    if not folder.is_locked():
        if record is not None:
            stop_leftovers(folder)
            print("stopped what a killed platform had left behind")
        else:
            print("not running")
        return 0
    for identity in (record.keeper, record.supervisor) if record else ():
        if process := identity.process():
            process.terminate()
            break
    deadline = time.monotonic() + STOP_SECONDS
    while folder.is_locked():
        if time.monotonic() > deadline:
            print(f"still running after {STOP_SECONDS:.0f} s", file=sys.stderr)
            return 1
        time.sleep(0.05)
    print("stopped")
    return 0


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process as `gridpact status` shows it."""

    name: str
    state: str
    pid: int | None
    address: str | None
    restarts: int
    uptime_seconds: float | None
    rss_bytes: int | None


@dataclass(frozen=True, slots=True)
class PlatformStatus:
    """``state``: stopped, starting, ready, degraded (a process is down) or stopping."""

    state: str
    state_dir: str
    pid: int | None = None
    uptime_seconds: float | None = None
    api_url: str | None = None
    processes: tuple[ProcessStatus, ...] = ()


@_told
def status(state_dir: Path | None = None, *, as_json: bool = False) -> int:
    """Shows how the platform and its processes stand; 0 when it is ready, else 1."""
    folder = StateFolder(state_dir or default_state_dir())
    record = folder.read_run() if folder.is_locked() else None
    current = _platform_status(folder, record)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(asdict(current))).decode())
    else:
        _print_status(current)
    return 0 if current.state == "ready" else 1


def _up_detached(options: PlatformOptions) -> int:
    keeper, reports = start_keeper(options, detached=True)
    try:
        with reports:
            while True:
                report = read_report(reports.readline(), options)
                seconds = report.elapsed_ms / 1000
                print(f"{report.process:<16} {report.state:<6} {seconds:6.2f} s", flush=True)
                if report.process == "platform":
                    break
    except (PlatformError, KeyboardInterrupt):
        keeper.terminate()
        keeper.wait()
        raise
    print(f"running (pid {keeper.pid}); `gridpact status` shows it, `gridpact down` stops it")
    return 0


def _platform_status(folder: StateFolder, record: RunRecord | None) -> PlatformStatus:
    if record is None:
        state = "starting" if folder.is_locked() else "stopped"
        return PlatformStatus(state, str(folder.path))
    processes = tuple(_process_status(process) for process in record.processes)
    healthy = all(process.state in ("ready", "done") for process in processes)
    return PlatformStatus(
        state="degraded" if record.state == "ready" and not healthy else record.state,
        state_dir=str(folder.path),
        pid=record.keeper.pid,
        uptime_seconds=round(time.time() - record.start_time, 1),
        api_url=f"http://{record.addresses['api']}",
        processes=processes,
    )


def _process_status(record: ProcessRecord) -> ProcessStatus:
    identity = record.identity
    return ProcessStatus(
        name=record.name,
        state=record.state,
        pid=identity.pid if identity else None,
        address=record.address,
        restarts=record.restarts,
        uptime_seconds=round(time.time() - identity.start_time, 1) if identity else None,
        rss_bytes=_rss_bytes(identity) if identity else None,
    )


def _rss_bytes(identity: Identity) -> int | None:
    """What the process and everything it started hold in memory; shared pages count each time."""
    root = identity.process()
    if root is None:
        return None
    try:
        tree = (root, *root.children(recursive=True))
    except psutil.NoSuchProcess:
        return None
    return sum(_own_rss_bytes(process) for process in tree)


def _own_rss_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _print_status(current: PlatformStatus) -> None:
    print(f"platform {current.state}  {current.state_dir}")
    if current.pid is None:
        return
    print(f"pid {current.pid}  up {current.uptime_seconds} s")
    print(f"API {current.api_url}  documented at {current.api_url}/docs")
    print(_row("process", "state", "pid", "address", "restarts", "up", "rss"))
    for process in current.processes:
        uptime = "" if process.uptime_seconds is None else f"{process.uptime_seconds:.0f} s"
        rss = "" if process.rss_bytes is None else f"{process.rss_bytes / 2**20:.0f} MiB"
        pid = "" if process.pid is None else str(process.pid)
        restarts = str(process.restarts)
        print(_row(process.name, process.state, pid, process.address or "", restarts, uptime, rss))


def _row(name: str, state: str, pid: str, address: str, restarts: str, up: str, rss: str) -> str:
    return f"{name:<16}{state:<12}{pid:>8}  {address:<18}{restarts:>8}{up:>10}{rss:>10}"
