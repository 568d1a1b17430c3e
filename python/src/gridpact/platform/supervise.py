"""The supervising process of a platform: from options to a running table, and its run.json.

python -m gridpact.platform.supervise ORDERS     started by the keeper, see there
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import UTC, datetime

from gridpact.platform.addresses import PortClaims
from gridpact.platform.compute import compute_nodes
from gridpact.platform.error import PlatformError
from gridpact.platform.lineage import (
    adopt_orphans,
    kill_children,
    stop_process_tree,
)
from gridpact.platform.orders import Orders
from gridpact.platform.output import Output
from gridpact.platform.report import Report, Reporter
from gridpact.platform.state import Identity, RunRecord, StateFolder
from gridpact.platform.steps import Steps
from gridpact.platform.supervisor import Supervisor
from gridpact.platform.table import database_folder, listeners, process_table

LEFTOVER_GRACE_SECONDS = 5.0
WRITE_AGAIN_SECONDS = 1.0


class Supervision:
    """One run of the platform. Raises PlatformError when the options cannot be met."""

    def __init__(self, orders: Orders, claims: PortClaims) -> None:
        options = orders.options
        self._start_instant = time.monotonic()
        self._start_time = time.time()
        self._options = options
        self._state = "starting"
        self._reporter = Reporter(orders.report_descriptor)
        self._reported: set[str] = set()
        self._overdue: asyncio.TimerHandle | None = None
        self._folder = StateFolder(options.state_dir)
        stop_leftovers(self._folder)
        notes: list[str] = []
        computes = compute_nodes(options, notes.append)
        self._addresses = claims.claim(listeners(computes, options.broker))
        secrets = self._folder.secrets()
        self._steps = Steps(database_folder(self._folder.path), secrets)
        table = process_table(options, secrets, self._addresses, computes, self._steps)
        self._output = Output(
            self._folder.logs,
            ("platform", *(spec.name for spec in table)),
            sys.stdout if orders.show_logs else None,
        )
        self._supervisor = Supervisor(
            table,
            write=self._output.write,
            say=self._say,
            changed=self._record,
            end_orphans=kill_children,
        )
        for note in notes:
            self._say(note)

    async def run(self) -> int:
        """Runs until SIGTERM, SIGINT or SIGHUP; 1 when it failed before it was ever ready.

        A second signal does not wait for anybody's orderly end.
        """
        running = asyncio.ensure_future(self._supervisor.run(self._on_ready))

        def stop() -> None:
            if self._state == "stopping":
                self._supervisor.hurry()
                return
            self._state = "stopping"
            self._say("stopping")
            running.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        try:
            await running
        except asyncio.CancelledError:
            self._say("stopped")
        except PlatformError as error:
            self._say(str(error))
            self._report("platform", "failed", str(error))
            return 1
        finally:
            if self._overdue is not None:
                self._overdue.cancel()
            self._folder.remove_run()
            self._output.close()
        return 0

    def _on_ready(self) -> None:
        self._state = "ready"
        self._record()
        elapsed = time.monotonic() - self._start_instant
        url = f"http://{self._addresses['api']}"
        self._say(f"ready in {elapsed:.1f} s, API at {url}, documented at {url}/docs")
        self._say(f"the administrator's e-mail and password: {self._folder.path}/secrets.json")
        self._report("platform", "ready")

    def _record(self) -> None:
        """Writes run.json, and tells of who became ready for the first time."""
        processes = self._supervisor.records()
        mine = Identity.of(os.getpid())
        keeper = Identity.of(os.getppid())
        assert mine is not None
        record = RunRecord(
            state=self._state,
            # The keeper may just have died; this process then stops in a moment.
            keeper=keeper or mine,
            supervisor=mine,
            start_time=self._start_time,
            broker=self._options.broker,
            addresses={name: str(address) for name, address in self._addresses.items()},
            processes=processes,
        )
        self._write(record)
        for process in processes:
            if process.state in ("ready", "done") and process.name not in self._reported:
                self._reported.add(process.name)
                if process.state == "done":
                    self._steps.note(process.name)
                self._report(process.name, process.state)

    def _write(self, record: RunRecord) -> None:
        """Writes run.json, later if the disk is full: the processes must not suffer from that."""
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        try:
            self._folder.write_run(record)
        except OSError as error:
            self._say(f"run.json is out of date: {error}")
            loop = asyncio.get_running_loop()
            self._overdue = loop.call_later(WRITE_AGAIN_SECONDS, self._record)

    def _report(self, process: str, state: str, detail: str = "") -> None:
        elapsed_ms = round(1000 * (time.monotonic() - self._start_instant))
        self._reporter.write(Report(process, state, elapsed_ms, detail))

    def _say(self, text: str) -> None:
        instant = datetime.now(UTC).strftime("%H:%M:%S")
        for line in text.splitlines():
            self._output.write("platform", f"{instant} {line}")


def stop_leftovers(folder: StateFolder) -> None:
    """Ends what a platform left behind that was killed together with its keeper.

    To be called by who holds the lock of the folder.
    """
    record = folder.read_run()
    if record is None:
        return
    for process in record.processes:
        running = process.identity.process() if process.identity else None
        if running is not None:
            stop_process_tree(running, LEFTOVER_GRACE_SECONDS)
    folder.remove_run()


def main() -> int:
    orders = Orders.decode(sys.argv[1])
    adopt_orphans()
    claims = PortClaims()
    try:
        supervision = Supervision(orders, claims)
    except PlatformError as error:
        print(error, file=sys.stderr)
        Reporter(orders.report_descriptor).write(Report("platform", "failed", 0, str(error)))
        return 1
    return asyncio.run(supervision.run())


if __name__ == "__main__":
    raise SystemExit(main())
