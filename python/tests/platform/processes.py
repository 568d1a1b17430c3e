"""What the platform's tests wait for: the end of processes, without asking in a loop."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable

import psutil


def family(pid: int) -> list[psutil.Process]:
    """The process and all that came from it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def still_alive(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that have not ended after ``seconds``; returns as soon as all have."""
    deadline = time.monotonic() + seconds
    return [process for process in processes if not _ends(process, deadline)]


def _ends(process: psutil.Process, deadline: float) -> bool:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        # Another process may have got the pid in the meantime; a zombie has ended.
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        return bool(readable)
    except psutil.NoSuchProcess:
        return True
    finally:
        os.close(descriptor)
