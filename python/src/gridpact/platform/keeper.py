"""The keeper: the parent of the supervisor, there so that nothing outlives the platform.

It holds the state folder's lock, starts the supervisor, passes signals on, and waits. It adopts
the orphans of everything below it; when the supervisor is gone, however it went, the keeper ends
what is left. When the keeper itself is killed, the kernel tells the supervisor, which stops in
order. `gridpact up` is a keeper; elsewhere one runs as

    python -m gridpact.platform.keeper ORDERS
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

from gridpact.platform.error import PlatformError
from gridpact.platform.lineage import (
    adopt_orphans,
    dies_with_parent,
    kill_children,
    wait_for_children,
)
from gridpact.platform.orders import Orders
from gridpact.platform.report import Report, Reporter
from gridpact.platform.state import StateFolder

# What the processes get to stop in order after the supervisor was killed.
GRACE_SECONDS = 6.0


def keep(orders: Orders) -> int:
    """Runs a platform until it ends; returns its exit code. Raises PlatformError if it cannot.

    Takes over the signal handlers of this process, which must have no other children.
    """
    folder = StateFolder(orders.options.state_dir)
    folder.create()
    lock = folder.lock()
    if lock is None:
        record = folder.read_run()
        pid = f" (pid {record.keeper.pid})" if record else ""
        raise PlatformError(f"already running{pid} in {folder.path}")
    adopt_orphans()
    inherited = [lock]
    if orders.report_descriptor is not None:
        inherited.append(orders.report_descriptor)
    supervisor = subprocess.Popen(
        dies_with_parent(
            (
                sys.executable,
                "-m",
                "gridpact.platform.supervise",
                orders.encode(),
            )
        ),
        stdin=subprocess.DEVNULL,
        pass_fds=inherited,
        # A Ctrl-C at the terminal goes to this process alone, which passes it on.
        start_new_session=True,
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: supervisor.send_signal(number))
    if orders.report_descriptor is not None:
        # Only the supervisor writes, so that its end is the end of the reports.
        os.close(orders.report_descriptor)
    code = supervisor.wait()
    if code < 0:
        print(f"the supervisor was killed by {signal.Signals(-code).name}", file=sys.stderr)
        wait_for_children(GRACE_SECONDS)
        folder.remove_run()
    kill_children()
    return code if code >= 0 else 1


def main() -> int:
    orders = Orders.decode(sys.argv[1])
    try:
        return keep(orders)
    except PlatformError as error:
        print(error, file=sys.stderr)
        with suppress(OSError):
            Reporter(orders.report_descriptor).write(Report("platform", "failed", 0, str(error)))
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
