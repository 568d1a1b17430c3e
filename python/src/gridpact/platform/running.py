"""A platform for Python code: find the one that runs, or run one for the length of a block."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gridpact.kit.settings import Address
from gridpact.platform.error import PlatformError
from gridpact.platform.lineage import dies_with_parent
from gridpact.platform.options import PlatformOptions, default_state_dir
from gridpact.platform.orders import Orders
from gridpact.platform.report import Report, decode_report
from gridpact.platform.state import RunRecord, Secrets, StateFolder
from gridpact.platform.table import platform_environment


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    """The addresses and secrets of a platform that runs."""

    folder: StateFolder
    secrets: Secrets
    addresses: dict[str, Address]
    broker: str

    @property
    def api_url(self) -> str:
        return f"http://{self.addresses['api']}"

    @property
    def environment(self) -> dict[str, str]:
        """The GRIDPACT_ variables of this platform's processes, secrets included."""
        return platform_environment(self.folder.path, self.broker, self.secrets, self.addresses)

    def record(self) -> RunRecord | None:
        """How the processes stand now; None once the platform is gone."""
        return self.folder.read_run()


class NotReadyYetError(PlatformError):
    """A platform runs on the folder, but it is still starting, or already stopping."""


def find_platform(state_dir: Path | None = None) -> RunningPlatform | None:
    """The platform that runs on the folder; None when there is none.

    Raises NotReadyYetError while it starts or stops.
    """
    folder = StateFolder(state_dir or default_state_dir())
    record = folder.read_run()
    if not folder.is_locked():
        return None
    if record is None or record.state != "ready":
        raise NotReadyYetError(_why_not_ready(record))
    addresses = {name: Address.parse(text) for name, text in record.addresses.items()}
    return RunningPlatform(folder, folder.secrets(), addresses, record.broker)


def _why_not_ready(record: RunRecord | None) -> str:
    if record is not None and record.state == "stopping":
        return "the platform here is stopping: `gridpact status` shows what still runs"
    waiting = [
        process.name
        for process in (record.processes if record else ())
        if process.state not in ("ready", "done")
    ]
    missing = f" ({', '.join(waiting)} not ready yet)" if waiting else ""
    return f"the platform here is starting{missing}: `gridpact status` shows how far it is"


@asynccontextmanager
async def running_platform(
    options: PlatformOptions, on_report: Callable[[Report], None] = lambda report: None
) -> AsyncGenerator[RunningPlatform]:
    """Runs a platform of its own processes for the length of the block.

    Entering waits until everything is ready; ``on_report`` hears of each process. Leaving waits
    until nothing runs any more; should this process be killed, or the thread that enters the block
    end, the platform ends too. Raises PlatformError when it cannot start or the folder is taken.
    """
    keeper, reports = start_keeper(options, detached=False)
    try:
        while True:
            report = read_report(await asyncio.to_thread(reports.readline), options)
            on_report(report)
            if report.process == "platform":
                break
        platform = find_platform(options.state_dir)
        if platform is None:
            raise PlatformError("the platform ended as soon as it was ready")
        yield platform
    finally:
        keeper.terminate()
        await asyncio.shield(asyncio.to_thread(keeper.wait))
        # Not before: a thread may still be reading, and closing would wait for it.
        reports.close()


def start_keeper(
    options: PlatformOptions, *, detached: bool
) -> tuple[subprocess.Popen[bytes], BinaryIO]:
    """Starts a keeper in a process of its own; the second value is where its reports come from.

    Unless ``detached``, it ends with this process.
    """
    folder = StateFolder(options.state_dir)
    folder.create()
    reader, writer = os.pipe()
    orders = Orders(options, show_logs=False, report_descriptor=writer)
    command = (
        sys.executable,
        "-m",
        "gridpact.platform.keeper",
        orders.encode(),
    )
    with (folder.logs / "keeper.log").open("ab") as log:
        keeper = subprocess.Popen(
            command if detached else dies_with_parent(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(writer,),
            start_new_session=True,
        )
    os.close(writer)
    return keeper, os.fdopen(reader, "rb")


def read_report(line: bytes, options: PlatformOptions) -> Report:
    """The report on a line. Raises PlatformError when it says, or its absence does, 'failed'."""
    if not line:
        log = StateFolder(options.state_dir).logs / "keeper.log"
        raise PlatformError(f"the platform ended before it was ready: see {log}")
    report = decode_report(line)
    if report.state == "failed":
        raise PlatformError(report.detail)
    return report
